import { createHmac } from 'node:crypto'
import type { FastifyServerOptions } from 'fastify'
import { SignJWT, type JWTPayload } from 'jose'
import type { Test } from 'tap'
import type { FanfareOptions } from '../src/app.ts'
import { start, type Running } from './helper.ts'

/** What servers that are tested verify tokens with. */
export const SECRET = 'the secret of these tests has more than 32 bytes'

/** What they do not know. */
export const ANOTHER_SECRET = 'another secret of the same length, or so'

/** A time by the wall clock as claims say it. */
export function secondsFromNow (seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds
}

/** A token as a back end makes it, good for an hour unless the claims say otherwise. */
export async function tokenOf (claims: JWTPayload, secret = SECRET): Promise<string> {
  return new SignJWT({ exp: secondsFromNow(3600), ...claims }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(secret))
}

/** A token such as no library makes: any header, any text as payload, signed with HMAC. */
export function handmade (header: object, payload: object | string, secret: string | Buffer = SECRET): string {
  const signed = `${encoded(JSON.stringify(header))}.${encoded(typeof payload === 'string' ? payload : JSON.stringify(payload))}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

/** Text as it stands in a token. */
export function encoded (text: string): string {
  return Buffer.from(text).toString('base64url')
}

/** The header that a token travels in. */
export function bearer (token: string): { headers: { authorization: string } } {
  return { headers: { authorization: `Bearer ${token}` } }
}

/** The same for a user of whom nothing else is said. */
export async function as (user: string, claims: JWTPayload = {}): Promise<{ headers: { authorization: string } }> {
  return bearer(await tokenOf({ sub: user, ...claims }))
}

/** Starts an app that wants tokens. */
export async function startSecure (t: Test, options: FanfareOptions = {}, server: FastifyServerOptions = {}): Promise<Running> {
  return start(t, { tokenHmacSecret: SECRET, ...options }, server)
}

/** What a server answers to a request that opens no connection. */
export async function answerOf (url: string, headers: Record<string, string> = {}): Promise<{ status: number, text: string, json: Record<string, unknown> }> {
  const answer = await fetch(url, { headers, signal: AbortSignal.timeout(10_000) })
  // A stream that was let in has no end.
  if (answer.headers.get('content-type')?.startsWith('text/event-stream')) {
    await answer.body?.cancel()
    return { status: answer.status, text: '', json: {} }
  }
  const text = await answer.text()
  return { status: answer.status, text, get json () { return JSON.parse(text) as Record<string, unknown> } }
}
