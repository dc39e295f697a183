import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose'
import t, { type Test } from 'tap'
import { refusal, start, until } from '../helper.ts'
import { greet } from '../protocols/centrifuge/client.ts'
import { bearer, encoded, handmade, secondsFromNow } from '../tokens.ts'

/** An issuer in the manner of Keycloak: it publishes the keys that it signs with, and changes them. */
class Issuer {
  url = ''
  fetches = 0
  keys: JWK[] = []
  /** Answers in its own way, if it is set. */
  answer: ((response: ServerResponse) => void) | undefined
  readonly #signers = new Map<string, (claims: object) => Promise<string>>()

  static async start (t: Test): Promise<Issuer> {
    const issuer = new Issuer()
    const server = createServer((_request, response) => {
      issuer.fetches++
      if (issuer.answer) issuer.answer(response)
      else response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: issuer.keys }))
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      server.closeAllConnections()
      server.close()
    })
    issuer.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/realms/test/protocol/openid-connect/certs`
    return issuer
  }

  /** Makes a key, and publishes it. */
  async add (kid: string, alg = 'RS256'): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
    this.keys.push({ ...await exportJWK(publicKey), kid, alg, use: 'sig' })
    this.#signers.set(kid, (claims) => new SignJWT({ sub: 'ada', exp: secondsFromNow(600), ...claims }).setProtectedHeader({ alg, kid }).sign(privateKey))
  }

  withdraw (kid: string): void {
    this.keys = this.keys.filter((key) => key.kid !== kid)
  }

  async tokenBy (kid: string, claims: object = {}): Promise<string> {
    return this.#signers.get(kid)!(claims)
  }
}

const unknown = (kid: string): string => `${encoded(JSON.stringify({ alg: 'RS256', kid }))}.${encoded(JSON.stringify({ sub: 'ada' }))}.${'A'.repeat(342)}`
const statusOf = async (wsUrl: string, token: string): Promise<number> => (await refusal(wsUrl, bearer(token))).status

t.test('keys rotate without a restart: the new one is found by its kid, the one that was withdrawn is refused', async (t) => {
  const issuer = await Issuer.start(t)
  await issuer.add('one')
  const { wsUrl } = await start(t, { tokenJwksUrl: issuer.url })
  t.equal(await statusOf(wsUrl, await issuer.tokenBy('one')), 101)
  t.equal(await statusOf(wsUrl, await issuer.tokenBy('one')), 101)
  t.equal(issuer.fetches, 1, 'keys are kept')
  await issuer.add('two', 'ES256')
  await issuer.add('three', 'EdDSA')
  issuer.withdraw('one')
  for (const kid of ['two', 'three']) t.equal(await statusOf(wsUrl, await issuer.tokenBy(kid)), 101, kid)
  t.equal(issuer.fetches, 2)
  const { status, body } = await refusal(wsUrl, bearer(await issuer.tokenBy('one')))
  t.match({ status, body }, { status: 401, body: /FANFARE_TOKEN_INVALID.*no such key \(kid\)/ })
})

t.test('an unknown kid is refused, and a flood of them causes few fetches while known keys go on working', async (t) => {
  const issuer = await Issuer.start(t)
  await issuer.add('one')
  const { wsUrl } = await start(t, { tokenJwksUrl: issuer.url })
  t.equal(await statusOf(wsUrl, await issuer.tokenBy('one')), 101)
  let refused = 0
  for (let round = 0; round < 10; round++) {
    const statuses = await Promise.all(Array.from({ length: 30 }, (_, number) => statusOf(wsUrl, unknown(`kid ${round} ${number}`))))
    refused += statuses.filter((status) => status === 401).length
    t.equal(await statusOf(wsUrl, await issuer.tokenBy('one')), 101)
  }
  t.comment(`300 tokens with unknown kids: ${refused} refused, ${issuer.fetches} fetches`)
  t.equal(refused, 300)
  t.ok(issuer.fetches <= 6, `${issuer.fetches} fetches`)
})

t.test('the endpoint is down, broken or slow: known keys go on working at once', async (t) => {
  const issuer = await Issuer.start(t)
  await issuer.add('one')
  const { wsUrl } = await start(t, { tokenJwksUrl: issuer.url })
  t.equal(await statusOf(wsUrl, await issuer.tokenBy('one')), 101)
  const troubles: Record<string, (response: ServerResponse) => void> = {
    'cut off': (response) => response.destroy(),
    500: (response) => response.writeHead(500).end('{"keys":[]}'),
    'no keys': (response) => response.end('{"error":"no"}')
  }
  for (const [trouble, answer] of Object.entries(troubles)) {
    issuer.answer = answer
    t.equal(await statusOf(wsUrl, unknown(trouble)), 503, `${trouble}: one that its issuer may have by now`)
    t.equal(await statusOf(wsUrl, await issuer.tokenBy('one')), 101, `${trouble}: a known one`)
  }
  t.equal(issuer.fetches, 4)
  let hanging: ServerResponse | undefined
  issuer.answer = (response) => { hanging = response }
  const waiting = statusOf(wsUrl, unknown('slow'))
  await until(() => hanging !== undefined)
  const from = performance.now()
  t.equal(await statusOf(wsUrl, await issuer.tokenBy('one')), 101)
  t.ok(performance.now() - from < 1000, 'it does not wait for the fetch that hangs')
  hanging?.end('{"keys":[]}')
  t.equal(await waiting, 401)
  t.equal(await statusOf(wsUrl, await issuer.tokenBy('one')), 401, 'an issuer that withdraws all keys is believed')
})

t.test('a token with a new key, while the issuer cannot be asked for it, was called invalid for good: it may be tried again', async (t) => {
  const issuer = await Issuer.start(t)
  await issuer.add('one')
  const { wsUrl } = await start(t, { tokenJwksUrl: issuer.url })
  t.equal(await statusOf(wsUrl, await issuer.tokenBy('one')), 101)
  await issuer.add('two')
  const token = await issuer.tokenBy('two')
  issuer.answer = (response) => response.destroy()
  t.equal(await statusOf(wsUrl, token), 503)
  const { greeting } = await greet(t, wsUrl, { token })
  t.match(greeting, { error: { code: 100, temporary: true } })
  issuer.answer = undefined
  t.equal(await statusOf(wsUrl, token), 101)

  issuer.answer = (response) => response.destroy()
  for (let number = 0; number < 5; number++) t.equal(await statusOf(wsUrl, unknown(`kid ${number}`)), 503, 'also when it may not be asked so often')
  t.ok(issuer.fetches <= 6, `${issuer.fetches} fetches`)
})

t.test('while there are no keys yet the answer is 503, and tokens are taken as soon as the issuer is there', async (t) => {
  const issuer = await Issuer.start(t)
  await issuer.add('one')
  issuer.answer = (response) => response.destroy()
  const { wsUrl } = await start(t, { tokenJwksUrl: issuer.url })
  const { status, body } = await refusal(wsUrl, bearer(await issuer.tokenBy('one')))
  t.match({ status, body }, { status: 503, body: /FANFARE_KEYS_UNAVAILABLE/ })
  t.notMatch(body, issuer.url)
  issuer.answer = undefined
  t.equal(await statusOf(wsUrl, await issuer.tokenBy('one')), 101)
})

t.test('a redirect to other keys is not followed', async (t) => {
  const [issuer, thief] = [await Issuer.start(t), await Issuer.start(t)]
  await thief.add('one')
  issuer.answer = (response) => response.writeHead(302, { location: thief.url }).end()
  const { wsUrl } = await start(t, { tokenJwksUrl: issuer.url })
  t.equal(await statusOf(wsUrl, await thief.tokenBy('one')), 503)
  t.equal(thief.fetches, 0)
})

t.test('two issuers that use the same kid are kept apart', async (t) => {
  const [ours, theirs] = [await Issuer.start(t), await Issuer.start(t)]
  for (const issuer of [ours, theirs]) await issuer.add('same')
  const [one, two] = [await start(t, { tokenJwksUrl: ours.url }), await start(t, { tokenJwksUrl: theirs.url })]
  t.equal(await statusOf(one.wsUrl, await ours.tokenBy('same')), 101)
  t.equal(await statusOf(two.wsUrl, await theirs.tokenBy('same')), 101)
  t.equal(await statusOf(one.wsUrl, await theirs.tokenBy('same')), 401)
  t.equal(await statusOf(two.wsUrl, await ours.tokenBy('same')), 401)
})

t.test('a symmetric key in the set signs nothing, and a key is used for its own algorithm only', async (t) => {
  const issuer = await Issuer.start(t)
  await issuer.add('rsa')
  issuer.keys.push({ kty: 'oct', kid: 'shared', k: encoded('secret'), alg: 'HS256' })
  const { wsUrl } = await start(t, { tokenJwksUrl: issuer.url })
  t.equal(await statusOf(wsUrl, handmade({ alg: 'HS256', kid: 'shared' }, { sub: 'ada' }, 'secret')), 401)
  t.equal(await statusOf(wsUrl, (await issuer.tokenBy('rsa')).replace(/^[^.]+/, encoded('{"alg":"PS256","kid":"rsa"}'))), 401)
  t.equal(await statusOf(wsUrl, await issuer.tokenBy('rsa')), 101)
})

t.test('a key that is published broken is answered with 401, not with an error of the crypto library', async (t) => {
  const issuer = await Issuer.start(t)
  await issuer.add('good', 'ES256')
  issuer.keys.push({ ...issuer.keys[0]!, kid: 'broken', y: issuer.keys[0]!.x! })
  const { wsUrl } = await start(t, { tokenJwksUrl: issuer.url })
  const token = `${encoded('{"alg":"ES256","kid":"broken"}')}.${encoded('{"sub":"ada"}')}.${'A'.repeat(86)}`
  const { status, body } = await refusal(wsUrl, bearer(token))
  t.match({ status, body }, { status: 401, body: /FANFARE_TOKEN_INVALID/ })
  t.equal(await statusOf(wsUrl, await issuer.tokenBy('good')), 101)
})
