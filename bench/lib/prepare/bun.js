/** npm's package `bun` brings the binary, in one of two places: its install script moves it, where scripts may run. */

import { readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { versionOf } from './tool.js'

const MODULES = fileURLToPath(new URL('../../node_modules/', import.meta.url))
/** The package's placeholder is a few hundred bytes. */
const A_BINARY = 1e6

const platformPackages = () => {
  try {
    return readdirSync(`${MODULES}@oven`)
  } catch {
    return []
  }
}

const candidates = () => [`${MODULES}bun/bin/bun.exe`, ...platformPackages().map((name) => `${MODULES}@oven/${name}/bin/bun`)]

export function bunFile () {
  const file = candidates().find((path) => (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > A_BINARY)
  if (file === undefined) throw new Error('the npm package bun brought no binary for this platform')
  return file
}

/** @returns {Promise<string>} */
export const prepareBun = () => versionOf(bunFile(), ['--version'])
