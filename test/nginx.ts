import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { until } from './helper.ts'
import { freePort } from './process.ts'

/**
 * Starts a real nginx on a free port of the loopback address, and ends it with the test.
 *
 * @param inServer what stands in the server block
 * @param inHttp what stands in the http block before that
 * @param ready a path that answers 2xx once all is up
 * @returns where it listens
 */
export async function startNginx (t: Test, inServer: string, inHttp = '', ready = '/health/ready'): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-nginx-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const port = await freePort()
  writeFileSync(join(folder, 'nginx.conf'), `
    daemon off; pid ${folder}/pid; error_log stderr; events {}
    http {
      access_log off;
      ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')}
      ${inHttp}
      server { listen 127.0.0.1:${port}; ${inServer} }
    }`)
  const nginx = spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder], { stdio: ['ignore', 'inherit', 'pipe'] })
  t.teardown(async () => {
    nginx.kill('SIGTERM')
    await once(nginx, 'exit')
  })
  const url = `http://127.0.0.1:${port}`
  await until(() => fetch(`${url}${ready}`).then((answer) => answer.ok, () => false))
  return url
}
