import { UsageError } from './connect-failure.ts'

/** Where to connect to. */
export interface Address {
  /** The address itself: ws or wss, with a path and the channel. */
  url: URL
  /** How it is shown to people: without a password or tokens. */
  shown: string
  /** Whether one's own messages may come back: not with `?echo=false`. */
  echoes: boolean
}

const SECRET_PARAMETERS = ['token', 'subscriptionToken']

const SCHEMES: Record<string, string> = { 'ws:': 'ws:', 'wss:': 'wss:', 'http:': 'ws:', 'https:': 'wss:' }

/**
 * Understands an address as people type or paste it: http and https mean ws and wss, no path means /ws.
 *
 * @param text The address.
 * @param channel The channel to join; none by default, which leaves the address's own.
 * @throws {UsageError} When it is no WebSocket address.
 */
export function parseAddress (text: string, channel?: string): Address {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const scheme = SCHEMES[url?.protocol ?? '']
  if (url === undefined || scheme === undefined) {
    throw new UsageError(`Not a WebSocket address: "${asTyped(text)}". Give one such as ws://localhost:8000/ws.`)
  }
  if (url.hash !== '') {
    throw new UsageError(`A WebSocket address cannot have a part after "#": "${asTyped(text)}". Write "%23" for the character itself.`)
  }
  url.protocol = scheme
  if (url.pathname === '/') url.pathname = '/ws'
  if (channel !== undefined) url.searchParams.set('channel', channel)
  return { url, shown: withoutSecrets(url), echoes: url.searchParams.get('echo') !== 'false' }
}

// What is no address has no parts that could be taken out of it.
function asTyped (text: string): string {
  return text.replace(/\/\/.*@/, '//').replace(new RegExp(`([?&](?:${SECRET_PARAMETERS.join('|')})=)[^&#]*`, 'g'), '$1…')
}

function withoutSecrets (url: URL): string {
  const shown = new URL(url)
  shown.username = ''
  shown.password = ''
  for (const name of SECRET_PARAMETERS) if (shown.searchParams.has(name)) shown.searchParams.set(name, '…')
  return shown.href
}
