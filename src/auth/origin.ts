import picomatch from 'picomatch'

// What browsers send: scheme, host and perhaps port, in lower case and nothing else. All other shapes are made up to
// get past a pattern.
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[^\s/\\?#@,]+$/

/**
 * Makes the function that says whether a page of some origin may connect.
 *
 * @param allowed origins, exact or as globs; none: only our own; `*`: all
 * @returns a function of the request's origin and of our own, undefined where that is not known
 */
export function originChecker (allowed: readonly string[]): (origin: string, own: string | undefined) => boolean {
  if (allowed.includes('*')) return () => true
  if (allowed.length === 0) return (origin, own) => origin === own
  const matches = picomatch(allowed.map((pattern) => pattern.toLowerCase()), { nonegate: true, dot: true })
  return (origin) => ORIGIN.test(origin) && !origin.includes('..') && matches(origin)
}
