/** Builds the Rust peer. */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { run, versionOf } from './tool.js'

const PROJECT = fileURLToPath(new URL('../../peers/rocket/', import.meta.url))
const BUILD_WITHIN = 900

export const rocketFile = `${PROJECT}target/release/rocket-peer`

/** @returns {Promise<string>} the version of rocket */
export async function prepareRocket () {
  await versionOf('cargo', ['--version'])
  await run({ file: 'cargo', args: ['build', '--release', '--locked', '--quiet'], cwd: PROJECT }, BUILD_WITHIN)
  return /name = "rocket"\nversion = "([^"]+)"/.exec(readFileSync(`${PROJECT}Cargo.lock`, 'utf8'))?.[1] ?? 'unknown'
}
