/** Where a Redis is, and how to get in. */
export interface RedisPlace {
  /** `cluster`: `hosts` are some of its nodes; `sentinel`: they are sentinels. */
  readonly kind: 'single' | 'cluster' | 'sentinel'
  readonly hosts: readonly { readonly host: string, readonly port: number }[]
  readonly tls: boolean
  readonly username: string | undefined
  readonly password: string | undefined
  readonly db: number
  /** Name of the master that the sentinels watch. */
  readonly master: string | undefined
}

const FORM = /^(redis|rediss)(?:\+(cluster|sentinel))?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/([^?#]*))?$/

/**
 * Reads the address of a Redis: `redis://user:password@host:6379/0`, `rediss://` with TLS; several hosts, with commas
 * between, of a cluster in `redis+cluster://a:6379,b:6379`, of sentinels in `redis+sentinel://a:26379,b:26379/name/0`.
 *
 * @returns nothing if it is none
 */
export function parseRedisUrl (url: string): RedisPlace | undefined {
  const [, scheme, kind = 'single', login, hosts = '', path = ''] = FORM.exec(url) ?? []
  if (!scheme) return
  const parsed = hosts.split(',').map((host) => hostOf(host, kind === 'sentinel' ? 26_379 : 6379))
  const parts = path.split('/').filter(Boolean)
  const master = kind === 'sentinel' ? parts.shift() : undefined
  const db = Number(parts[0] ?? 0)
  const credentials = login === undefined ? [] : splitLogin(login)
  const whole = credentials && parsed.every((host) => host !== undefined) && parts.length <= 1 && Number.isInteger(db) && db >= 0 &&
    (kind !== 'single' || parsed.length === 1) && (kind !== 'cluster' || db === 0) && (kind !== 'sentinel' || master !== undefined)
  if (!whole) return
  const [username, password] = credentials
  return { kind: kind as RedisPlace['kind'], hosts: parsed, tls: scheme === 'rediss', username, password, db, master }
}

/** Whether this is the address of a Redis, or empty. */
export function isRedisUrl (url: string): boolean {
  return url === '' || parseRedisUrl(url) !== undefined
}

function hostOf (text: string, standardPort: number): { host: string, port: number } | undefined {
  const url = URL.canParse(`redis://${text}`) ? new URL(`redis://${text}`) : undefined
  if (!url?.hostname) return
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || standardPort) }
}

// Nothing if there is a % in it that is none of URLs.
function splitLogin (login: string): [username: string | undefined, password: string | undefined] | undefined {
  const at = login.indexOf(':')
  const [username, password] = at === -1 ? [login, ''] : [login.slice(0, at), login.slice(at + 1)]
  try {
    return [decodeURIComponent(username) || undefined, decodeURIComponent(password) || undefined]
  } catch {}
}
