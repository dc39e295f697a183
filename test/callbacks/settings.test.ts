import t from 'tap'
import { isOpen, pluginSettingsFrom, serverSettingsFrom } from '../../src/config.ts'

const URL = 'https://app.example/hooks'
const VARIABLES = { CALLBACK_URL: URL, CALLBACK_EVENTS: 'connect, channel' }

t.test('the settings of callbacks', async (t) => {
  const settings = serverSettingsFrom({}, { ...VARIABLES, CALLBACK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`, CALLBACK_HEADERS: 'X-One,x-two' })
  t.match(settings, { callbackUrl: URL, callbackEvents: ['connect', 'channel'], callbackHeaders: ['X-One', 'x-two'] })
  t.equal(isOpen(settings), false)
  t.equal(isOpen(pluginSettingsFrom({ callbackUrl: URL, callbackEvents: ['publish'] })), true)
  t.same(pluginSettingsFrom({}).callbackHeaders, ['cookie', 'authorization', 'origin', 'user-agent', 'x-real-ip'])
})

t.test('a wrong one stops the start with a sentence', async (t) => {
  for (const [variables, sentence] of [
    [{ CALLBACK_URL: 'ftp://x' }, /^CALLBACK_URL takes a URL that begins/],
    [{ CALLBACK_URL: 'app' }, /^CALLBACK_URL takes/],
    [{ CALLBACK_URL: 'http://a:b@x/' }, /^CALLBACK_URL takes .* without user/],
    [{ CALLBACK_URL: 'http://x/?a=1' }, /^CALLBACK_URL takes/],
    [{ CALLBACK_URL: '' }, /^CALLBACK_EVENTS needs CALLBACK_URL beside it$/],
    [{ CALLBACK_EVENTS: '' }, /^CALLBACK_URL needs CALLBACK_EVENTS beside it$/],
    [{ CALLBACK_EVENTS: 'connect,hello' }, /^CALLBACK_EVENTS takes beside CALLBACK_URL a comma-separated list of connect, /],
    [{ CALLBACK_SECRET: 'secret' }, /^CALLBACK_SECRET takes whsec_ .* but got something else$/],
    [{ CALLBACK_SECRET: `whsec_${Buffer.alloc(23).toString('base64')}` }, /^CALLBACK_SECRET takes/],
    [{ CALLBACK_SECRET: `whsec_${Buffer.alloc(65).toString('base64')}` }, /^CALLBACK_SECRET takes/],
    [{ CALLBACK_HEADERS: 'cookie,Host' }, /^CALLBACK_HEADERS takes/],
    [{ CALLBACK_HEADERS: 'webhook-signature' }, /^CALLBACK_HEADERS takes/],
    [{ CALLBACK_HEADERS: 'a b' }, /^CALLBACK_HEADERS takes/]
  ] as const) {
    t.throws(() => serverSettingsFrom({}, { ...VARIABLES, ...variables }), { message: sentence }, JSON.stringify(variables))
  }
})
