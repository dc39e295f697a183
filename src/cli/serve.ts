import { Command, Option } from 'commander'
import type { TSchema } from 'typebox'
import { pluginSettings, processSettings, variableOf } from '../config.ts'

/** `fanfare serve`: runs the server, with a flag for each setting. */
export function serveCommand (): Command {
  const command = new Command('serve').description('run the server; each flag can be set as an environment variable or in .env too')
  for (const [name, schema] of Object.entries({ ...processSettings, ...pluginSettings })) command.addOption(optionFor(name, schema))
  return command.action(async (flags: Record<string, unknown>) => {
    const { serve } = await import('../server.ts')
    await serve(flags)
  })
}

// Values stay text here: src/config.ts reads and checks those of all sources alike.
function optionFor (name: string, schema: TSchema): Option {
  const { description, default: standard, unit } = schema as { description?: string, default?: unknown, unit?: string }
  const flag = variableOf(name).toLowerCase().replaceAll('_', '-')
  const value = typeof standard === 'boolean' ? 'on|off' : (unit ?? 'value').replaceAll(' ', '-')
  const note = standard === '' || (Array.isArray(standard) && standard.length === 0) ? 'none' : typeof standard === 'boolean' ? (standard ? 'on' : 'off') : String(standard)
  return new Option(`--${flag} <${value}>`, `${description} (default: ${note}, env: ${variableOf(name)})`)
}
