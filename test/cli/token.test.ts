import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import t from 'tap'
import { refusal } from '../helper.ts'
import { bearer, encoded, handmade, SECRET, secondsFromNow, startSecure, tokenOf } from '../tokens.ts'

const settings = { TOKEN_HMAC_SECRET: SECRET }

/** Runs `fanfare token` of the built package. */
async function token (args: string[], env: NodeJS.ProcessEnv = settings): Promise<{ code: number, out: string, err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['dist/src/cli/main.js', 'token', ...args], { env: { ...process.env, ...env } }, (error, out, err) => resolve({ code: Number(error?.code ?? 0), out, err }))
  })
}

t.jobs = 4

t.test('--user makes a token for an hour that the server takes', async (t) => {
  const { code, out, err } = await token(['--user', 'ada'])
  t.strictSame([code, err], [0, ''])
  t.match(out, /^[\w-]+\.[\w-]+\.[\w-]+\n$/, 'and nothing else, so that $(…) is enough')
  const { payload } = await jwtVerify(out.trim(), Buffer.from(SECRET))
  t.match(payload, { sub: 'ada' })
  t.equal(payload.exp! - payload.iat!, 3600)
  t.equal(decodeProtectedHeader(out.trim()).alg, 'HS256')
  const { wsUrl } = await startSecure(t)
  t.equal((await refusal(wsUrl, bearer(out.trim()))).status, 101)
})

t.test('--channels, --expires, issuer and audience', async (t) => {
  const { out } = await token(['--user', 'ada', '--channels', 'news, orders:42,$room', '--expires', '7d'], { ...settings, TOKEN_ISSUER: 'us', TOKEN_AUDIENCE: 'fanfare' })
  const claims = decodeJwt(out.trim())
  t.match(claims, { sub: 'ada', channels: ['news', 'orders:42', '$room'], iss: 'us', aud: 'fanfare' })
  t.equal(claims.exp! - claims.iat!, 7 * 86_400)
  const { wsUrl } = await startSecure(t, { tokenIssuer: 'us', tokenAudience: 'fanfare' })
  t.equal((await refusal(`${wsUrl}?channel=$room`, bearer(out.trim()))).status, 101)
})

t.test('--channel makes a subscription token', async (t) => {
  const { out } = await token(['--user', 'ada', '--channel', '$room', '--expires', '90s'])
  t.match(decodeJwt(out.trim()), { sub: 'ada', channel: '$room' })
  const { wsUrl } = await startSecure(t)
  t.equal((await refusal(`${wsUrl}?channel=$room&subscriptionToken=${out.trim()}`, bearer(await tokenOf({ sub: 'ada' })))).status, 101)
})

t.test('whoever reads the output may go: it was a stack trace', async (t) => {
  const child = spawn('bash', ['-o', 'pipefail', '-c', `node dist/src/cli/main.js token --check ${await tokenOf({ sub: 'ada' })} | true`], { env: { ...process.env, ...settings }, stdio: ['ignore', 'pipe', 'pipe'] })
  const said = text(child.stderr)
  t.equal((await once(child, 'exit'))[0], 0)
  t.equal(await said, '')
})

t.test('what is missing or wrong is said in one line', async (t) => {
  for (const [args, env, line] of [
    [[], settings, /--user ID/],
    [['--user', 'ada'], { ...settings, TOKEN_HMAC_SECRET: '' }, /Set TOKEN_HMAC_SECRET/],
    [['--user', 'ada', '--expires', 'soon'], settings, /It takes a time such as 90s, 15m, 1h or 7d\./],
    [['--user', 'ada', '--expires', '3600'], settings, /It takes a time such as/],
    [['--user', 'ada', '--expires', '9000y'], settings, /It takes a time such as/],
    [['--user', 'ada', '--channels', 'a', '--channel', 'b'], settings, /--channel .*cannot be used with .*--channels/],
    [['--user', ''], settings, /It takes a name\./],
    [['--user', 'ada', '--channel', ''], settings, /It takes a name\./],
    [['--user', 'ada', '--channels', 'a,,b'], settings, /It takes a name\./],
    [['--user', 'ada'], { ...settings, PORT: 'nonsense' }, /^PORT takes/]
  ] as const) {
    const { code, out, err } = await token([...args], env)
    t.strictSame([code, out], [1, ''], args.join(' '))
    t.match(err, line)
    t.match(err, /^[^\n]+\n$/)
    t.notMatch(err, SECRET)
  }
})

t.test('--check says what a token holds, and whether the server takes it', async (t) => {
  const exp = secondsFromNow(3600)
  const good = await token(['--check', await tokenOf({ sub: 'ada', exp, iat: secondsFromNow(-120) })])
  t.equal(good.code, 0)
  t.match(good.out, /^header: {4}\{"alg":"HS256"\}\nclaims: {4}\{.*"sub":"ada".*\}\niat: {7}\d{4}-.*Z, 2 minutes ago\nexp: {7}.*, in (1 hour|60 minutes)\nThe server takes it, as a connection token\.\n$/)
  t.match(await token(['--check', await tokenOf({ sub: 'ada', channel: '$room' })]), { code: 0, out: /The server takes it, as a subscription token\.\n$/ })
  t.match(await token(['--check', await tokenOf({ sub: 'ada', exp: secondsFromNow(-7200) })]), { code: 1, out: /exp: .* ago\nThe server refuses it: The token has expired; get a new one\n$/ })
  t.match(await token(['--check', await tokenOf({ sub: 'ada' }, 'another secret, also 32 bytes long')]), { code: 1, out: /The server refuses it: The token is refused: its signature fits no key\n$/ })
  t.match(await token(['--check', await tokenOf({ sub: 'ada' })], { ...settings, TOKEN_ISSUER: 'us' }), { code: 1, out: /\(iss\)/ })
  t.match(await token(['--check', await tokenOf({ sub: 'ada' })], { ...settings, TOKEN_HMAC_SECRET: '' }), { code: 0, out: /No key is set .* cannot be verified\.\n$/ })
  for (const { out, err } of [good]) t.notMatch(out + err, SECRET)
})

t.test('--check of what is no JWT', async (t) => {
  for (const text of ['abc', `${encoded('[]')}.x.y`]) t.match(await token(['--check', text]), { code: 1, out: /This is not a JWT/, err: '' }, text)
})

t.test('--check called a token with a time that is out of range no JWT', async (t) => {
  const { code, out } = await token(['--check', handmade({ alg: 'HS256' }, '{"sub":"ada","exp":1e300}')])
  t.equal(code, 1)
  t.notMatch(out, /This is not a JWT/)
  t.match(out, /claims: .*"sub":"ada".*\n[^]*The server refuses it: .*exp/)
})

t.test('--check shows what could move the cursor of a terminal as text', async (t) => {
  const { out } = await token(['--check', await tokenOf({ sub: '\u001b[2J\u009b31m\u202e' })])
  t.notMatch(out.replaceAll('\n', ''), /[\p{Cc}\u202e]/u)
})
