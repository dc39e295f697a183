import { plural } from './format.js'

/** A screen reader hears of new messages this often at most; the list itself is silent. */
const PAUSE = 2_000
/** And the first of many waits this long for the others. */
const LULL = 300
/** Characters of a message that are read out. */
const SPOKEN = 120

/**
 * Sums up what came for people who hear the page: one message in its words, many as a number and the last one, those
 * from the history as a number.
 */
export class Announcer {
  #region
  #timer
  #count = 0
  #last = ''
  #earlier = 0
  #aside = ''

  /** @param {HTMLElement} region the visually hidden live region */
  constructor (region) {
    this.#region = region
  }

  /** @param {string | ArrayBuffer} data a message from somebody else */
  heard (data) {
    this.#count += 1
    this.#last = data
    this.#soon()
  }

  /** Counts a message from the history. */
  earlier () {
    this.#earlier += 1
    this.#soon()
  }

  /** @param {string} words to be said beside the messages; only the latest are */
  say (words) {
    this.#aside = words
    this.#soon()
  }

  #soon () {
    this.#timer ??= setTimeout(() => this.#speak(), LULL)
  }

  #speak () {
    this.#region.textContent = this.#words().join('. ')
    this.#count = this.#earlier = 0
    this.#aside = ''
    // The region empties itself, so that the same words twice are two announcements.
    this.#timer = setTimeout(() => {
      this.#region.textContent = ''
      this.#timer = this.#words().length > 0 ? setTimeout(() => this.#speak(), LULL) : undefined
    }, PAUSE)
  }

  #words () {
    const words = []
    if (this.#aside) words.push(this.#aside)
    if (this.#earlier > 0) words.push(plural(this.#earlier, 'earlier message'))
    const last = typeof this.#last === 'string' ? this.#last.slice(0, SPOKEN) : `binary, ${plural(this.#last.byteLength, 'byte')}`
    if (this.#count > 0) words.push(this.#count === 1 ? `Received: ${last}` : `${plural(this.#count, 'new message')}, the last one: ${last}`)
    return words
  }
}
