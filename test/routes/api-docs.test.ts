import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import t from 'tap'
import { replyCodes, replyErrorTable } from '../../src/reply-errors.ts'
import { methods } from '../../src/api/methods.ts'
import { start } from '../helper.ts'
import { KEY } from './api-client.ts'

const run = promisify(execFile)
const guide = readFileSync('docs/api.md', 'utf8')

t.test('docs/api.md: every command prints what is shown below it', async (t) => {
  const { url } = await start(t, { apiKey: KEY })
  const lines = guide.split('\n').filter((line) => line.startsWith('    ')).map((line) => line.trim())
  const commands = lines.flatMap((line, index) => line.startsWith('curl') ? [[line, lines[index + 1] ?? ''] as const] : [])
  t.ok(commands.length >= 11)
  for (const [command, reply] of commands) {
    const { stdout } = await run('bash', ['-c', command.replace('http://127.0.0.1:8000', url).replace('curl', 'curl -sS')], { env: { ...process.env, API_KEY: KEY } })
    const pattern = reply.split('…').map((part) => part.replace(/[[\]{}()+*?.\\^$|]/g, '\\$&')).join('.+')
    t.match(stdout, new RegExp(`^${pattern}$`), command)
  }
})

t.test('docs/api.md lists every error of the server API, and every method', async (t) => {
  const rows = guide.split('\n## Errors\n')[1]?.split('\n## ')[0]?.split('\n').filter((line) => /^\| \d/.test(line))
  t.same(rows, Object.entries(replyErrorTable).map(([code, [sentence, status]]) => {
    const ours = Object.entries(replyCodes).filter(([, apiCode]) => String(apiCode) === code).map(([name]) => `\`${name}\``).join(', ')
    return `| ${code} | ${sentence} | ${status} |${ours && ` ${ours}`} |`
  }))
  for (const name of [...methods.keys(), 'batch']) t.match(guide, `\`/api/${name}\``)
})
