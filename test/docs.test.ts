import { readFileSync } from 'node:fs'
import t from 'tap'
import { closeCodes, endCodes } from '../src/close-codes.ts'
import { pluginSettings, processSettings, variableOf } from '../src/config.ts'
import { errorTable } from '../src/errors.ts'

/** The rows of the table that follows a heading, without its two head lines. */
function rowsAfter (file: string, heading: string): string[] {
  const section = readFileSync(file, 'utf8').split(`\n${heading}\n`)[1]?.split('\n#')[0] ?? ''
  return section.split('\n').filter((line) => line.startsWith('|')).slice(2)
}

t.test('the settings table of the README is that of src/config.ts', async (t) => {
  const expected = Object.entries({ ...processSettings, ...pluginSettings }).map(([name, schema]) => {
    const { description, default: standard, unit } = schema as { description?: string, default?: unknown, unit?: string }
    const value = typeof standard === 'boolean' ? (standard ? 'on' : 'off') : String(standard)
    return `| \`${variableOf(name)}\` | ${value === '' ? 'none' : value}${unit && value !== '' && value !== '0' ? ` ${unit}` : ''} | ${description} |`
  })
  t.same(rowsAfter('README.md', '## Settings'), expected)
})

t.test('docs/errors.md lists every error and every close code, and no other', async (t) => {
  t.same(rowsAfter('docs/errors.md', '## Errors'), Object.entries(errorTable).map(([code, [status, sentence]]) =>
    `| \`${code}\` | ${status} | ${sentence.replaceAll('%s', '…')} |`
  ))
  t.same(rowsAfter('docs/errors.md', '## Close codes'), Object.values(closeCodes).map(({ code, reason, reconnect }) =>
    `| ${code} | ${reason} | ${reconnect ? 'yes' : 'no'} |`
  ))
})

t.test('docs/centrifuge.md lists every code with which a subscription ends', async (t) => {
  t.same(rowsAfter('docs/centrifuge.md', '## Nothing lost in silence'), Object.values(endCodes).map(({ code, reason }) => `| ${code} | ${reason} | ${code < 2500 ? 'no' : 'yes'} |`))
})

t.test('every file and folder that the docs name exists', async (t) => {
  for (const file of ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'docs/architecture.md', 'docs/extending.md', 'docs/settings.md', 'docs/errors.md', 'docs/channels.md', 'docs/api.md', 'docs/sse.md', 'docs/scaling.md', 'docs/workers.md', 'docs/deploying.md', 'docs/security.md', 'docs/callbacks.md', 'docs/centrifuge.md']) {
    const folder = file.includes('/') ? `${file.split('/')[0]}/` : ''
    for (const [, target = ''] of readFileSync(file, 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      t.ok(readFileSync(folder + target), `${file} links to ${target}`)
    }
    for (const [, path = ''] of readFileSync(file, 'utf8').matchAll(/`((?:src|plugins|routes|test|examples|public|bench)\/[\w./-]*\w)`/g)) {
      t.ok((await import('node:fs')).existsSync(path), `${file} names ${path}`)
    }
  }
})
