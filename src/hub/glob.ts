import picomatch from 'picomatch'

const MAX_WILDCARDS = 3
/** How globs are read: `!` and `+` are characters like any other. */
export const GLOB = { nonegate: true, regex: false } as const

/**
 * Makes a function that says whether a name of a channel matches a glob. To a glob `/`, `.` and `!` are characters like
 * any other here.
 */
export function matcherOf (glob: string): (name: string) => boolean {
  const matches = picomatch(withoutPath(glob), GLOB)
  return (name) => matches(withoutPath(name))
}

/**
 * Why a glob is not to be used, if so: it becomes a regular expression, in which groups that repeat take exponential time, and
 * each wildcard multiplies what the worst name of 255 bytes takes: three take 2 ms, and four a second.
 *
 * @returns what it may hold, to go on a sentence
 */
export function globRefusal (glob: string): string | undefined {
  // At the end a wildcard takes whatever is left.
  const wildcards = glob.replace(/\*+$/, '').match(/\*+|\{/g)?.length ?? 0
  if (wildcards > MAX_WILDCARDS || /[()]/.test(glob)) return `may hold ${MAX_WILDCARDS} of * and { before its end, and no parentheses`
}

// Globs are made for paths, in which `.`, `..` and `/` are not like other characters: a name that holds them could get past a
// rule for all. So neither holds a `/` or begins with a dot here; names have no characters for private use, such as these.
function withoutPath (text: string): string {
  return `\ue000${text.replaceAll('/', '\ue001')}`
}
