/** Runs the tools that build peers, with an end to their time and a short word when they fail. */

import { start } from '../children.js'

/** The end of what a tool printed says why it failed; so many letters of it are shown. */
const REASON = 120
const ending = (/** @type {string} */ text) => text.length > REASON ? `…${text.slice(-REASON)}` : text

/**
 * @param {import('../children.js').Command} command
 * @param {number} seconds
 * @returns {Promise<string>} what it printed
 */
export async function run (command, seconds) {
  const process = start(command, null)
  const well = await process.end(seconds * 1000)
  if (well) return process.output().trim()
  const lines = process.errors().split('\n').map((line) => line.trim()).filter((line) => line !== '')
  throw new Error(`${[command.file, ...command.args.slice(0, 2)].join(' ')}: ${ending(lines.slice(-2).join(' ')) || 'it did not end in time'}`)
}

/**
 * @param {string} file
 * @param {string[]} args
 * @returns {Promise<string>} the first line of the answer to "which version?"
 */
export async function versionOf (file, args) {
  try {
    return (await run({ file, args }, 20)).split('\n', 1)[0]
  } catch {
    throw new Error(`${file} is not installed`)
  }
}
