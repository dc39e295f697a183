import { createHmac } from 'node:crypto'
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type CryptoKey, type JWTPayload } from 'jose'
import { encoded, handmade, SECRET, secondsFromNow, tokenOf } from '../tokens.ts'

export const ISSUER = 'https://issuer.example/realm'
export const AUDIENCE = 'the-audience-that-is-expected'

/** A token that must be refused, and what is said of it. */
export interface BadToken { readonly token: string, readonly code?: string, readonly says: RegExp }

/** The settings of a server that takes HMAC and RSA, and bad tokens of every kind for it. */
export async function badTokensFor (thief: string): Promise<{ settings: { tokenHmacSecret: string, tokenPublicKey: string, tokenIssuer: string, tokenAudience: string }, good: string[], bad: Record<string, BadToken> }> {
  const rsa = await generateKeyPair('RS256', { extractable: true })
  const foreign = await generateKeyPair('RS256', { extractable: true })
  const pem = await exportSPKI(rsa.publicKey)
  const jwk = { ...await exportJWK(foreign.publicKey), kid: 'theirs', alg: 'RS256' }
  const claims = { sub: 'ada', iss: ISSUER, aud: AUDIENCE, exp: secondsFromNow(3600) }
  const hmac = (changes: object | string, secret?: string | Buffer): string => handmade({ alg: 'HS256' }, typeof changes === 'string' ? changes : { ...claims, ...changes }, secret)
  const rs256 = async (key: CryptoKey, header: object = {}): Promise<string> => new SignJWT(claims as JWTPayload).setProtectedHeader({ alg: 'RS256', ...header }).sign(key)
  const text = (more: string): string => JSON.stringify(claims).replace(/}$/, `,${more}}`)
  const good = [hmac({}), await rs256(rsa.privateKey)]
  const [header, payload, signature] = good[0]!.split('.') as [string, string, string]
  const unsigned = (alg: string, end = ''): string => `${encoded(JSON.stringify({ alg }))}.${payload}.${end}`

  const bad: Record<string, BadToken> = {}
  for (const alg of ['none', 'None', 'NONE', 'nOnE']) bad[`alg ${alg}`] = { token: unsigned(alg), says: /no key is set for its algorithm/ }
  Object.assign(bad, {
    'alg none with a signature': { token: unsigned('none', signature), says: /no key is set for its algorithm none/ },
    'no alg': { token: handmade({ typ: 'JWT' }, claims), says: /algorithm/ },
    'HS256 signed with the public key': { token: hmac({}, pem), says: /signature/ },
    'HS256 signed with the public key, trimmed': { token: hmac({}, pem.trim()), says: /signature/ },
    'HS256 signed with nothing': { token: hmac({}, ''), says: /signature/ },
    'another secret': { token: hmac({}, `${SECRET}!`), says: /signature/ },
    'another RSA key': { token: await rs256(foreign.privateKey), says: /signature/ },
    'no issuer': { token: hmac({ iss: undefined }), says: /\(iss\)/ },
    'another issuer': { token: hmac({ iss: `${ISSUER}/` }), says: /another issuer \(iss\)/ },
    'a list of issuers': { token: hmac({ iss: ['https://evil.example', ISSUER] }), says: /\(iss\)/ },
    'another audience': { token: hmac({ aud: ['others'] }), says: /another audience \(aud\)/ },
    expired: { token: hmac({ exp: secondsFromNow(-10) }), code: 'FANFARE_TOKEN_EXPIRED', says: /expired/ },
    'not valid yet': { token: hmac({ nbf: secondsFromNow(60) }), says: /\(nbf\)/ },
    'exp as text': { token: hmac({ exp: String(claims.exp) }), says: /\(exp\)/ },
    'exp with a fraction': { token: hmac({ exp: claims.exp + 0.5 }), says: /exp must be integer/ },
    'exp that is null': { token: hmac({ exp: null }), says: /exp/ },
    'nbf that is null': { token: hmac({ nbf: null }), says: /nbf/ },
    'exp below 0': { token: hmac({ exp: -1 }), code: 'FANFARE_TOKEN_EXPIRED', says: /expired/ },
    'exp of 1e308': { token: hmac(JSON.stringify(claims).replace(/"exp":\d+/, '"exp":1e308')), says: /exp must be/ },
    'nbf as text': { token: hmac({ nbf: '0' }), says: /\(nbf\)/ },
    'kid that is a path': { token: handmade({ alg: 'HS256', kid: '../../../../../dev/null' }, claims, ''), says: /signature/ },
    'kid that is SQL': { token: handmade({ alg: 'HS256', kid: "x' UNION SELECT 'stolen" }, claims, 'stolen'), says: /signature/ },
    jku: { token: await rs256(foreign.privateKey, { jku: thief, kid: 'theirs' }), says: /signature/ },
    jwk: { token: await rs256(foreign.privateKey, { jwk }), says: /signature/ },
    x5u: { token: await rs256(foreign.privateKey, { x5u: thief }), says: /signature/ },
    'crit that nobody knows': { token: handmade({ alg: 'HS256', crit: ['unknown'], unknown: true }, claims), says: /demands an extension/ },
    'b64 false': { token: handmade({ alg: 'HS256', crit: ['b64'], b64: false }, claims), says: /demands an extension/ },
    'a word': { token: 'abc', says: /not a JWT/ },
    'two parts': { token: `${header}.${payload}`, says: /not a JWT/ },
    'three empty parts': { token: '..', says: /not a JWT/ },
    'five parts (JWE)': { token: `${encoded('{"alg":"dir","enc":"A256GCM"}')}..${payload}.${payload}.${signature}`, says: /not a JWT/ },
    'a header that is null': { token: `${encoded('null')}.${payload}.${signature}`, says: /not a JWT/ },
    'claims that are no JSON': { token: hmac('{"sub":"ada"'), says: /not a JWT/ },
    'claims that are a list': { token: hmac('[1]'), says: /not a JWT/ },
    'claims with __proto__': { token: hmac(text('"__proto__":{"sub":"root"}')), says: /a name that no claim may have/ },
    'claims with constructor.prototype': { token: hmac(text('"constructor":{"prototype":{"sub":"root"}}')), says: /a name that no claim may have/ },
    'sub that is a number': { token: hmac({ sub: 1 }), says: /sub must be string/ },
    'channels that are text': { token: hmac({ channels: 'news' }), says: /channels must be array/ },
    'a token for a subscription': { token: hmac({ channel: 'news' }), says: /subscription/ },
    'a signature cut short': { token: good[0]!.slice(0, -4), says: /signature/ },
    'no signature': { token: `${header}.${payload}.`, says: /signature/ },
    'other claims than were signed': { token: `${header}.${encoded(JSON.stringify({ ...claims, sub: 'root' }))}.${signature}`, says: /signature/ },
    'HS512 named, HS256 used': { token: mismatched(payload), says: /signature/ },
    '9 KiB long': { token: await tokenOf({ ...claims, info: 'x'.repeat(6500) }), says: /more than 8192 bytes/ }
  })
  return { settings: { tokenHmacSecret: SECRET, tokenPublicKey: pem, tokenIssuer: ISSUER, tokenAudience: AUDIENCE }, good, bad }
}

function mismatched (payload: string): string {
  const signed = `${encoded('{"alg":"HS512"}')}.${payload}`
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`
}
