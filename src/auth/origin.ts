import picomatch from 'picomatch'
import { fanfareError, type FanfareError } from '../errors.ts'
import { GLOB, globRefusal } from '../hub/glob.ts'

// What browsers send: scheme, host and perhaps port, in lower case and nothing else. All other shapes are made up to
// get past a pattern.
const MAX_ORIGIN_LENGTH = 300
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[^\s/\\?#@,]+$/

/** Whether this may be an origin, or a glob of origins: with a scheme, without a path, and not dear to look at. */
export function isOriginPattern (text: string): boolean {
  if (text === '*') return true
  const [, host = ''] = /^[^\s/]+:\/\/([^\s/?#]+)$/.exec(text) ?? []
  return host !== '' && !globRefusal(text)
}

/**
 * Makes the function that says whether a page of some origin may connect.
 *
 * @param allowed origins, exact or as globs; none: only our own; `*`: all
 * @returns a function of the request's origin and of our own, undefined where that is not known
 */
export function originChecker (allowed: readonly string[]): (origin: string, own: string | undefined) => boolean {
  if (allowed.includes('*')) return () => true
  if (allowed.length === 0) return (origin, own) => origin === own
  const matches = picomatch(allowed.map((pattern) => pattern.toLowerCase()), { ...GLOB, dot: true })
  return (origin) => origin.length <= MAX_ORIGIN_LENGTH && ORIGIN.test(origin) && !origin.includes('..') && matches(origin)
}

/** What of a request says which page it comes from. */
interface Request {
  readonly headers: { readonly origin?: string | undefined }
  readonly protocol: string
  readonly host: string
}

/**
 * Makes the function that says why a request may not come from the page that it comes from, if so. One without Origin may.
 *
 * @param allowed as for `originChecker`
 * @returns a function that returns FANFARE_ORIGIN_REFUSED, or nothing
 */
export function originGuard (allowed: readonly string[]): (request: Request) => FanfareError | undefined {
  const isAllowed = originChecker(allowed)
  return (request) => {
    const { origin } = request.headers
    if (origin !== undefined && !isAllowed(origin, ownOrigin(request))) return fanfareError('FANFARE_ORIGIN_REFUSED', JSON.stringify(origin))
  }
}

// As the browser sees us: protocol and host are those of X-Forwarded-* if a trusted proxy says so.
function ownOrigin ({ protocol, host }: Request): string | undefined {
  const url = `${protocol}://${host}`
  return URL.canParse(url) ? new URL(url).origin : undefined
}
