import { clock, count, duration, plural } from './format.js'

/** Longer texts are cut in the list: laying out 64 KiB of text in every row is what makes a page stall. */
const TEXT_SHOWN = 2_000
/** Bytes of a binary message that are shown. */
const BYTES_SHOWN = 32
/** Texts with more lines scroll inside their row. */
const LINES_SHOWN = 12

/**
 * @typedef {object} Entry one row of the list
 * @property {'text' | 'binary' | 'notice'} kind
 * @property {string | ArrayBuffer} data
 * @property {number} at when it came, as `Date.now()`
 * @property {'new' | 'earlier' | 'missed'} [when] whether that was when it was published too; the history keeps no times
 * @property {boolean} [own] whether this page had sent it
 * @property {number} [roundTrip] milliseconds
 * @property {boolean} [loss] whether a notice says that messages may be missing
 */

const unknownTimes = {
  earlier: ['earlier', 'From the history of the channel: published before this page connected'],
  missed: ['while away', 'Published while this page was not connected']
}

/**
 * Makes the row of an entry. Everything from the network goes through `textContent`: nothing in a message can
 * become markup.
 *
 * @param {Entry} entry
 */
export function rowOf (entry) {
  const row = document.createElement('li')
  row.className = 'row'
  row.dataset.kind = entry.kind
  if (entry.loss) row.dataset.loss = ''
  row.append(timeOf(entry))
  if (entry.kind !== 'notice') {
    const { own, when, roundTrip } = entry
    row.dataset.direction = own ? 'sent' : 'received'
    row.dataset.when = when
    const direction = element('span', 'row-direction')
    const arrow = element('span', 'row-arrow', own ? '↑' : '↓')
    arrow.ariaHidden = 'true'
    direction.append(arrow, own ? 'sent' : 'received')
    row.append(direction)
    if (roundTrip !== undefined) row.append(titled('row-round-trip', duration(roundTrip), 'Round trip: from sending it until it came back'))
  }
  row.append(entry.kind === 'binary' ? binaryBody(entry.data) : textBody(entry.data))
  return row
}

function timeOf ({ at, when }) {
  if (when in unknownTimes) return titled('row-time', ...unknownTimes[when])
  const date = new Date(at)
  const time = element('time', 'row-time', clock(date))
  time.dateTime = date.toISOString()
  return time
}

function textBody (text) {
  const body = element('div', 'row-body')
  const shown = clip(text)
  const content = element('div', 'row-text', shown)
  // Its own direction: right-to-left text must not turn the rest of the row around.
  content.dir = 'auto'
  if (hasManyLines(shown)) content.classList.add('row-tall')
  if (text !== '') body.append(content)
  if (text === '') body.append(element('div', 'row-note', 'empty message'))
  if (shown.length < text.length) {
    body.append(element('div', 'row-note', `first ${count(shown.length)} of ${count(text.length)} characters`))
  }
  return body
}

/** Cuts a long text, never through the middle of a character outside the basic plane. */
function clip (text) {
  if (text.length <= TEXT_SHOWN) return text
  const last = text.charCodeAt(TEXT_SHOWN - 1)
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? TEXT_SHOWN - 1 : TEXT_SHOWN)
}

function hasManyLines (text) {
  let at = -1
  for (let lines = 1; (at = text.indexOf('\n', at + 1)) !== -1; lines++) if (lines >= LINES_SHOWN) return true
  return text.length > 1_000
}

/** The size, then groups of eight bytes in hex and ASCII; groups wrap, so that a phone shows them below each other. */
function binaryBody (data) {
  const body = element('div', 'row-body')
  body.append(element('div', 'row-note', `binary, ${plural(data.byteLength, 'byte')}${data.byteLength > BYTES_SHOWN ? `, first ${BYTES_SHOWN}` : ''}`))
  const dump = element('div', 'dump')
  const bytes = new Uint8Array(data, 0, Math.min(BYTES_SHOWN, data.byteLength))
  for (let at = 0; at < bytes.length; at += 8) {
    const group = element('span', 'dump-group')
    const part = bytes.subarray(at, at + 8)
    group.append(
      element('span', 'dump-hex', Array.from(part, (byte) => byte.toString(16).padStart(2, '0')).join(' ')),
      element('span', 'dump-ascii', Array.from(part, (byte) => byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·').join(''))
    )
    dump.append(group, ' ')
  }
  if (bytes.length > 0) body.append(dump)
  return body
}

function titled (className, text, title) {
  const made = element('span', className, text)
  made.title = title
  return made
}

function element (name, className, text) {
  const made = document.createElement(name)
  made.className = className
  if (text !== undefined) made.textContent = text
  return made
}
