/** Numbers and times as people read them. The page is in English, so its numbers are too. */
const number = new Intl.NumberFormat('en')

/** @param {number} value */
export const count = (value) => number.format(value)

/** `1 message`, `2 messages`. */
export const plural = (value, word) => `${count(value)} ${word}${value === 1 ? '' : 's'}`

/** A size in bytes, in KiB beside it where it is a whole number of them: `65,536 bytes (64 KiB)`. */
export const size = (bytes) => plural(bytes, 'byte') + (bytes > 0 && bytes % 1024 === 0 ? ` (${count(bytes / 1024)} KiB)` : '')

/** Milliseconds with about three digits: `0.42 ms`, `12.3 ms`, `1.20 s`. */
export function duration (milliseconds) {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(2)} s`
  return `${milliseconds.toFixed(milliseconds < 1 ? 2 : milliseconds < 100 ? 1 : 0)} ms`
}

/** Local time of day with milliseconds; by hand because Intl is too slow for a thousand rows a second. */
export function clock (date) {
  const two = (value) => String(value).padStart(2, '0')
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`
}
