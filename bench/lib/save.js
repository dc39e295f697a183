/** The JSON file: complete runs replace results/latest.json, others go where --out says. */

import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const LATEST = fileURLToPath(new URL('../results/latest.json', import.meta.url))

/**
 * @param {object} report
 * @param {{ whole: boolean, out?: string }} options
 * @param {(line: string) => void} say
 */
export function save (report, { whole, out }, say) {
  const file = out === undefined ? whole ? LATEST : undefined : resolve(process.env.INIT_CWD ?? '.', out)
  if (file === undefined) return
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(`${file}.tmp`, JSON.stringify(report, null, 2) + '\n')
  renameSync(`${file}.tmp`, file)
  say(`written: ${file}`)
}
