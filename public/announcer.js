import { plural } from './format.js'

/** A screen reader hears of new messages this often at most; the list itself is silent. */
const PAUSE = 2_000
/** And the first of many waits this long for the others. */
const LULL = 300
/** Characters of a message that are read out. */
const SPOKEN = 120

/** Sums up what came for people who hear the page: one message in its words, many as a number and the last one. */
export class Announcer {
  #region
  #timer
  #count = 0
  #last = ''

  /** @param {HTMLElement} region the visually hidden live region */
  constructor (region) {
    this.#region = region
  }

  /** @param {string | ArrayBuffer} data a message from somebody else */
  heard (data) {
    this.#count += 1
    this.#last = data
    this.#timer ??= setTimeout(() => this.#speak(), LULL)
  }

  #speak () {
    const words = typeof this.#last === 'string' ? this.#last.slice(0, SPOKEN) : `binary, ${plural(this.#last.byteLength, 'byte')}`
    this.#region.textContent = this.#count === 1 ? `Received: ${words}` : `${plural(this.#count, 'new message')}, the last one: ${words}`
    this.#count = 0
    // The region empties itself, so that the same words twice are two announcements.
    this.#timer = setTimeout(() => {
      this.#region.textContent = ''
      this.#timer = this.#count > 0 ? setTimeout(() => this.#speak(), LULL) : undefined
    }, PAUSE)
  }
}
