import { createRequire } from 'node:module'

/** What package.json says of this package. */
export const { version, description } = createRequire(import.meta.url)('fanfare/package.json') as { version: string, description: string }
