/** Installs Centrifugo with Go's own tool, into bench/.cache. CENTRIFUGO names a binary to use instead. */

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { run, versionOf } from './tool.js'

const CACHE = fileURLToPath(new URL('../../.cache/', import.meta.url))
const MODULE = 'github.com/centrifugal/centrifugo/v6@latest'
const BUILD_WITHIN = 900

export const centrifugoFile = process.env.CENTRIFUGO ?? `${CACHE}centrifugo`

/** @returns {Promise<string>} its version */
export async function prepareCentrifugo () {
  if (!existsSync(centrifugoFile)) {
    await versionOf('go', ['version'])
    await run({ file: 'go', args: ['install', MODULE], env: { GOBIN: CACHE, GOFLAGS: '' } }, BUILD_WITHIN)
  }
  return (await versionOf(centrifugoFile, ['version'])).replace(/^Centrifugo v?| .*$/g, '')
}
