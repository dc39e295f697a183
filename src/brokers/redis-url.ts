/** How to get in to sentinels, which need not be as the servers that they watch. */
export interface SentinelAccess {
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: boolean
}

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
  readonly sentinels: SentinelAccess
}

const FORM = /^(redis|rediss)(?:\+(cluster|sentinel))?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/([^?#]*))?(?:\?(.*))?$/
const SENTINEL_PARAMETERS = new Set(['sentinel_user', 'sentinel_password', 'sentinel_tls'])

/**
 * Reads the address of a Redis: `redis://user:password@host:6379/0`, `rediss://` with TLS; several hosts, with commas
 * between, of a cluster in `redis+cluster://a:6379,b:6379`, of sentinels in `redis+sentinel://a:26379,b:26379/name/0`, which
 * `?sentinel_user=`, `sentinel_password=` and `sentinel_tls=on` let us in to.
 *
 * @returns nothing if it is none
 */
export function parseRedisUrl (url: string): RedisPlace | undefined {
  const [, scheme, kind = 'single', login, hosts = '', path = '', query = ''] = FORM.exec(url) ?? []
  if (!scheme) return
  const parsed = hosts.split(',').map((host) => hostOf(host, kind === 'sentinel' ? 26_379 : 6379))
  const parts = path.split('/').filter(Boolean)
  const master = kind === 'sentinel' ? parts.shift() : undefined
  const db = Number(parts[0] ?? 0)
  const credentials = login === undefined ? [] : splitLogin(login)
  const sentinels = sentinelsIn(query)
  const whole = credentials && sentinels && (query === '' || kind === 'sentinel') && parsed.every((host) => host !== undefined) && parts.length <= 1 && Number.isInteger(db) && db >= 0 &&
    (kind !== 'single' || parsed.length === 1) && (kind !== 'cluster' || db === 0) && (kind !== 'sentinel' || master !== undefined)
  if (!whole) return
  const [username, password] = credentials
  return { kind: kind as RedisPlace['kind'], hosts: parsed, tls: scheme === 'rediss', username, password, db, master, sentinels }
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

// Nothing if it says something else.
function sentinelsIn (query: string): SentinelAccess | undefined {
  const said = new Map<string, string>()
  try {
    for (const pair of query.split('&').filter(Boolean)) {
      const [name = '', ...value] = pair.split('=')
      said.set(name, decodeURIComponent(value.join('=')))
    }
  } catch {
    return
  }
  const tls = said.get('sentinel_tls') ?? 'off'
  if (!['on', 'off'].includes(tls) || Array.from(said.keys()).some((name) => !SENTINEL_PARAMETERS.has(name))) return
  return { username: said.get('sentinel_user') || undefined, password: said.get('sentinel_password') || undefined, tls: tls === 'on' }
}
