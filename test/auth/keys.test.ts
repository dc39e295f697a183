import { createHmac } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportPKCS8, exportSPKI, generateKeyPair, SignJWT, type CryptoKey } from 'jose'
import t, { type Test } from 'tap'
import { refusal, start } from '../helper.ts'
import { bearer, encoded, SECRET, secondsFromNow, tokenOf } from '../tokens.ts'

async function signed (alg: string, key: CryptoKey | Buffer): Promise<string> {
  return new SignJWT({ sub: 'ada', exp: secondsFromNow(60) }).setProtectedHeader({ alg }).sign(key)
}

async function takes (t: Test, wsUrl: string, token: string, what: string): Promise<void> {
  t.match(await refusal(wsUrl, bearer(token)), { status: 101 }, what)
}

async function refuses (t: Test, wsUrl: string, token: string, says: RegExp, what: string): Promise<void> {
  const { status, body } = await refusal(wsUrl, bearer(token))
  t.match({ status, body }, { status: 401, body: says }, what)
}

t.test('HMAC: HS256, HS384 and HS512, with the secret and the one before it', async (t) => {
  const previous = 'the secret before the last rotation, also long'
  const rotating = await start(t, { tokenHmacSecret: SECRET, tokenHmacPreviousSecret: previous })
  for (const alg of ['HS256', 'HS384', 'HS512']) {
    for (const secret of [SECRET, previous]) await takes(t, rotating.wsUrl, await signed(alg, Buffer.from(secret)), `${alg} with ${secret}`)
  }
  const rotated = await start(t, { tokenHmacSecret: SECRET })
  await refuses(t, rotated.wsUrl, await tokenOf({ sub: 'ada' }, previous), /signature/, 'when the rotation is over, the one before is nothing any more')
  await takes(t, rotated.wsUrl, await tokenOf({ sub: 'ada' }), 'and the secret itself is')
})

t.test('an expired token of the previous secret is called expired', async (t) => {
  const { wsUrl } = await start(t, { tokenHmacSecret: SECRET, tokenHmacPreviousSecret: 'another secret that is long enough' })
  await refuses(t, wsUrl, await tokenOf({ sub: 'ada', exp: secondsFromNow(-60) }, 'another secret that is long enough'), /FANFARE_TOKEN_EXPIRED/, 'expired')
})

for (const [name, algorithms] of Object.entries({
  RSA: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  'EC P-256': ['ES256'],
  'EC P-384': ['ES384'],
  'EC P-521': ['ES512'],
  Ed25519: ['EdDSA']
})) {
  t.test(`${name}: ${algorithms.join(', ')}`, async (t) => {
    const { publicKey, privateKey } = await generateKeyPair(algorithms[0]!, { extractable: true })
    const other = await generateKeyPair(algorithms[0]!, { extractable: true })
    const pem = await exportSPKI(publicKey)
    const { wsUrl } = await start(t, { tokenPublicKey: pem })
    for (const alg of algorithms) {
      // A key of Web Crypto is for one algorithm: for the others it is read again.
      const key = algorithms.length === 6 ? await asFor(privateKey, alg) : privateKey
      await takes(t, wsUrl, await signed(alg, key), alg)
    }
    await refuses(t, wsUrl, await signed(algorithms[0]!, other.privateKey), /signature/, 'of another key')
    await refuses(t, wsUrl, await tokenOf({ sub: 'ada' }, pem), /no key is set for its algorithm HS256/, 'HS256 with the public key as secret')
    const strange = algorithms[0] === 'ES256' ? 'ES384' : 'ES256'
    await refuses(t, wsUrl, await signed(strange, (await generateKeyPair(strange)).privateKey), new RegExp(`no key is set for its algorithm ${strange}`), strange)
  })
}

async function asFor (key: CryptoKey, alg: string): Promise<CryptoKey> {
  const { importPKCS8, exportPKCS8 } = await import('jose')
  return importPKCS8(await exportPKCS8(key), alg)
}

t.test('ES256 with r = s = 0 is no signature (psychic signatures)', async (t) => {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const { wsUrl } = await start(t, { tokenPublicKey: await exportSPKI(publicKey) })
  const [header, payload] = (await signed('ES256', privateKey)).split('.')
  for (const signature of [Buffer.alloc(64), Buffer.alloc(0), Buffer.alloc(63), Buffer.alloc(64, 0xff)]) {
    await refuses(t, wsUrl, `${header}.${payload}.${signature.toString('base64url')}`, /signature/, `${signature.length} bytes`)
  }
})

t.test('HMAC and a public key beside each other: each has its own algorithms', async (t) => {
  const { publicKey, privateKey } = await generateKeyPair('Ed25519', { extractable: true })
  const pem = await exportSPKI(publicKey)
  const { wsUrl } = await start(t, { tokenHmacSecret: SECRET, tokenPublicKey: pem })
  await takes(t, wsUrl, await signed('EdDSA', privateKey), 'EdDSA')
  await takes(t, wsUrl, await tokenOf({ sub: 'ada' }), 'HS256')
  const claims = `${encoded('{"alg":"EdDSA"}')}.${encoded(JSON.stringify({ sub: 'ada' }))}`
  await refuses(t, wsUrl, `${claims}.${createHmac('sha256', SECRET).update(claims).digest('base64url')}`, /signature/, 'EdDSA signed with the secret')
})

t.test('a public key: PEM, PEM in one line, or the path of a file; anything else stops the start', async (t) => {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const pem = await exportSPKI(publicKey)
  const dir = mkdtempSync(join(tmpdir(), 'fanfare-key-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'key.pem')
  writeFileSync(file, pem)
  for (const tokenPublicKey of [pem, pem.replaceAll('\n', '\\n'), file]) {
    const { wsUrl } = await start(t, { tokenPublicKey })
    await takes(t, wsUrl, await signed('ES256', privateKey), tokenPublicKey.slice(0, 30))
  }
  writeFileSync(join(dir, 'no-key.pem'), 'nothing')
  for (const tokenPublicKey of ['nonsense', join(dir, 'nowhere.pem'), join(dir, 'no-key.pem'), '-----BEGIN PUBLIC KEY-----\\nabc\\n-----END PUBLIC KEY-----', await exportPKCS8(privateKey)]) {
    await t.rejects(start(t, { tokenPublicKey }), { message: /^tokenPublicKey takes a public key in PEM.*but got something else$/ }, 'and what it was is not said')
  }
})

t.test('an RSA key that is too short to verify anything stops the start', async (t) => {
  const { generateKeyPairSync } = await import('node:crypto')
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
  await t.rejects(start(t, { tokenPublicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString() }), { message: /^tokenPublicKey takes/ })
})

t.test('issuer and audience: what is named must be in the token; a list of audiences may hold it', async (t) => {
  const { wsUrl } = await start(t, { tokenHmacSecret: SECRET, tokenIssuer: 'us', tokenAudience: 'fanfare' })
  await takes(t, wsUrl, await tokenOf({ sub: 'ada', iss: 'us', aud: 'fanfare' }), 'both')
  await takes(t, wsUrl, await tokenOf({ sub: 'ada', iss: 'us', aud: ['account', 'fanfare'] }), 'a list')
  await refuses(t, wsUrl, await tokenOf({ sub: 'ada', aud: 'fanfare' }), /\(iss\)/, 'no issuer')
  await refuses(t, wsUrl, await tokenOf({ sub: 'ada', iss: 'us' }), /\(aud\)/, 'no audience')
  await refuses(t, wsUrl, await tokenOf({ sub: 'ada', iss: 'US', aud: 'fanfare' }), /another issuer/, 'upper case')
  await refuses(t, wsUrl, await tokenOf({ sub: 'ada', iss: 'us', aud: [] }), /another audience/, 'an empty list')
})
