import { readFileSync } from 'node:fs'
import t from 'tap'

/** The first versions without the faults that are known of them. */
const soundFrom = {
  ws: '8.23.0',
  fastify: '5.12.8',
  '@fastify/websocket': '11.3.6',
  '@fastify/proxy-addr': '5.1.1',
  '@fastify/static': '10.1.11',
  'fast-jwt': '6.3.6'
}

t.test('the lock file has no version with a known fault of what clients reach', async (t) => {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, { version?: string }> }
  const byNumber = new Intl.Collator('en', { numeric: true })
  for (const [name, sound] of Object.entries(soundFrom)) {
    const found = Object.entries(packages).filter(([path]) => path.endsWith(`node_modules/${name}`)).map(([, { version = '' }]) => version)
    t.ok(found.length > 0 && found.every((version) => byNumber.compare(version, sound) >= 0), `${name} ${found.join(', ')}, at least ${sound}`)
  }
})
