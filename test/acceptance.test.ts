import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { openBrowser, openPage, state } from './browser.ts'
import { until } from './helper.ts'
import { bare, startProcess } from './process.ts'

// A foreign client, as somebody else would write it.
const PYTHON_CLIENT = `
import asyncio, sys, websockets

async def main():
    async with websockets.connect(sys.argv[1]) as ws:
        async def send():
            loop = asyncio.get_running_loop()
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                await ws.send(line.rstrip("\\n"))
        asyncio.create_task(send())
        async for message in ws:
            print(message, flush=True)

asyncio.run(main())
`

/** A client process that sends what it is told, and keeps the lines that it prints. */
function clientProcess (t: Test, command: string, args: string[]): { heard: string[], say: (line: string) => void } {
  const child = spawn(...bare(command, args), { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const heard: string[] = []
  createInterface(child.stdout as Readable).on('line', (line) => heard.push(line))
  return { heard, say: (line) => { child.stdin.write(`${line}\n`) } }
}

t.test('a page, the command-line client and a foreign client: each message of each reaches all three', async (t) => {
  const { url, wsUrl } = await startProcess(t)
  const connections = async (): Promise<number> => (await (await fetch(`${url}/health/ready`)).json() as { connections: number }).connections
  const { page } = await openPage(t, await openBrowser(t), url)
  const terminal = clientProcess(t, process.execPath, ['dist/src/cli/main.js', 'connect', wsUrl])
  const python = clientProcess(t, '/usr/bin/python3', ['-c', PYTHON_CLIENT, wsUrl])
  await until(async () => await connections() === 3)
  await state(page, 'open')

  await page.getByRole('textbox', { name: 'Message' }).fill('from the page')
  await page.getByRole('textbox', { name: 'Message' }).press('Enter')
  await until(() => terminal.heard.length === 1)
  terminal.say('from the terminal')
  await until(() => python.heard.length === 2)
  python.say('from python')
  const all = ['from the page', 'from the terminal', 'from python']
  await until(() => terminal.heard.length === 3 && python.heard.length === 3)
  t.strictSame(terminal.heard, all)
  t.strictSame(python.heard, all)
  await page.locator('#rows', { hasText: 'from python' }).waitFor()
  t.strictSame(await page.locator('#rows [data-direction] .row-text').allTextContents(), all)
})
