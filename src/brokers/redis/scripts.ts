import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RedisOptions } from 'ioredis'

const SCRIPTS = { publish: 'channel', history: 'channel', 'update-presence': undefined, presence: undefined } as const
export type ScriptName = keyof typeof SCRIPTS

/** What the command is called that a script is run with. */
export function commandOf (name: ScriptName): string {
  return `fanfare_${name.replace('-', '_')}`
}

/** All scripts, as ioredis takes them. */
export function scripts (): NonNullable<RedisOptions['scripts']> {
  return Object.fromEntries(Object.entries(SCRIPTS).map(([name, beginning]) =>
    [commandOf(name as ScriptName), { lua: [beginning, name].filter((part) => part !== undefined).map(luaOf).join('\n') }]
  ))
}

function luaOf (name: string): string {
  return readFileSync(join(import.meta.dirname, `${name}.lua`), 'utf8')
}
