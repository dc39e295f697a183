/* global ResizeObserver, requestAnimationFrame */
import { plural } from './format.js'
import { rowOf } from './message-row.js'

/** Rows in the list, and entries that wait to become rows. What is older falls out; it is counted all the same. */
const LIMIT = 500
/** How near to its end (pixels) the list counts as being at its end. */
const NEAR = 24

/**
 * The list of messages. `add` only queues: the DOM is touched once per frame, and never for more than the last
 * 500, however many came. Whoever scrolls up to read is left in peace: the list then grows up to its limit and
 * after that new entries wait, behind a button that says how many they are, until it is at its end again.
 */
export class MessageList {
  /** @type {import('./message-row.js').Entry[]} */
  #queue = []
  /** Entries since the list was left, for the button. */
  #unseen = 0
  #atEnd = true
  /** Whether a message is in the list; notices alone leave it empty. */
  #used = false
  #frame = 0
  #log
  #rows
  #latest
  #empty
  #onFrame

  /** @param {{ log: HTMLElement, rows: HTMLElement, latest: HTMLElement, empty: HTMLElement, onFrame: () => void }} parts */
  constructor ({ log, rows, latest, empty, onFrame }) {
    this.#log = log
    this.#rows = rows
    this.#latest = latest
    this.#empty = empty
    this.#onFrame = onFrame
    log.addEventListener('scroll', () => this.#scrolled(), { passive: true })
    latest.addEventListener('click', () => {
      this.toEnd()
      log.focus({ preventScroll: true })
    })
    // The keyboard of a phone, a taller message box: the end stays in view when the list's own height changes.
    new ResizeObserver(() => { if (this.#atEnd) this.#scrollToEnd() }).observe(log)
  }

  /** @param {import('./message-row.js').Entry} entry */
  add (entry) {
    this.#queue.push(entry)
    // Cut rarely, not at every entry: a hidden page gets no frames and its queue is always full.
    if (this.#queue.length >= LIMIT * 2) this.#queue.splice(0, this.#queue.length - LIMIT)
    if (!this.#atEnd) this.#unseen += 1
    this.schedule()
  }

  /** Asks for one drawing in the next frame, whoever else asks too. */
  schedule () {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0
      this.#draw()
      this.#onFrame()
      // Last, because it makes the browser lay out the page: once, with all changes of this frame.
      if (this.#atEnd) this.#scrollToEnd()
    })
  }

  /** Shows the newest entry and follows from there. */
  toEnd () {
    if (this.#atEnd) return
    this.#atEnd = true
    this.#unseen = 0
    this.#draw()
    this.#scrollToEnd()
  }

  clear () {
    this.#queue = []
    this.#used = false
    this.#rows.replaceChildren()
    this.toEnd()
    this.schedule()
  }

  get length () {
    return this.#rows.childElementCount
  }

  /** Whether older rows fall out now. */
  get full () {
    return this.length >= LIMIT
  }

  #draw () {
    const room = this.#atEnd ? LIMIT : LIMIT - this.length
    const entries = this.#atEnd ? this.#queue.slice(-LIMIT) : this.#queue.slice(0, room)
    this.#queue = this.#atEnd ? [] : this.#queue.slice(entries.length)
    if (entries.length > 0) this.#append(entries)
    this.#empty.hidden = this.#used
    this.#latest.hidden = this.#atEnd
    if (!this.#atEnd) this.#latest.textContent = this.#unseen > 0 ? `↓ ${plural(this.#unseen, 'new message')}` : '↓ To the latest'
  }

  #append (entries) {
    const surplus = this.length + entries.length - LIMIT
    if (surplus >= this.length) this.#rows.replaceChildren()
    else for (let n = 0; n < surplus; n++) this.#rows.firstElementChild.remove()
    const fragment = document.createDocumentFragment()
    for (const entry of entries) fragment.append(rowOf(entry))
    this.#rows.append(fragment)
    this.#used ||= entries.some(({ kind }) => kind !== 'notice')
  }

  #scrolled () {
    const { scrollHeight, scrollTop, clientHeight } = this.#log
    const atEnd = scrollHeight - scrollTop - clientHeight < NEAR
    if (atEnd === this.#atEnd) return
    this.#atEnd = atEnd
    this.#unseen = 0
    this.schedule()
  }

  #scrollToEnd () {
    this.#log.scrollTop = this.#log.scrollHeight
  }
}
