/** Publications of the history that a page begins with. */
const HISTORY = 50
/** Messages that are remembered, to know them again in the history of another epoch. */
const REMEMBERED = 2 * HISTORY

/**
 * Where this page stands in its channel: how a connection begins, so that nothing is missing between two of them, and
 * what is new of what comes.
 *
 * @typedef {import('./positioned.js').Position} Position
 * @typedef {'new' | 'earlier' | 'missed' | 'double'} Kind `earlier`: published before this page looked at the channel;
 *   `missed`: while it was away; `double`: shown already
 */
export class Recovery {
  /** Whether everything from before the connection has come. */
  complete = true

  /** @type {Position | undefined} of the last message */
  #seen
  /** @type {Position | undefined} of the channel, just before the connection was made */
  #start
  /**
   * The last messages: a server that has lost the end of a channel begins another epoch, and what it still has is
   * then of that epoch.
   * @type {{ epoch: string, offset: number, source: string }[]}
   */
  #recent = []
  #lost = false
  #away = false
  #silent = true

  /** Whether the next connection gets all that was missed, or is told that it cannot. */
  get possible () {
    return this.#seen !== undefined && !this.#lost
  }

  /** What the next connection asks for, as parameters of its address. */
  get query () {
    return this.possible ? { since: `${this.#seen.epoch}:${this.#seen.offset}` } : { history: HISTORY }
  }

  /** @param {Position} start where the channel stands, asked just before the connection is made */
  begin (start) {
    this.#start = start
    this.#silent = true
    this.#away = this.#seen !== undefined
    const covered = this.#covers(start.epoch, start.offset)
    this.complete = covered || start.offset === 0
    if (this.complete && !this.possible) this.#reach(covered ? this.#seen : start)
  }

  /**
   * Takes note of a message.
   *
   * @param {import('./positioned.js').Publication} publication
   * @returns {Kind}
   */
  take ({ position, source }) {
    if (!position) return 'new'
    const { epoch, offset } = position
    const kind = this.#kindOf(epoch, offset, source)
    this.#silent = false
    if (epoch === this.#start.epoch && offset >= this.#start.offset) this.complete = true
    if (!this.#covers(epoch, offset)) this.#reach(position)
    if (kind !== 'double' && this.#recent.push({ epoch, offset, source }) > REMEMBERED) this.#recent.shift()
    return kind
  }

  /** The server has said that it cannot bring all. */
  lose () {
    this.#lost = true
  }

  /** Nothing has come on a connection that was good for a while: there was no history, and the next one goes on from its start. */
  settle () {
    if (this.#silent && !this.complete && !this.possible) this.#reach(this.#start)
  }

  #kindOf (epoch, offset, source) {
    if (this.#covers(epoch, offset)) return 'double'
    if (this.complete || epoch !== this.#start.epoch || offset > this.#start.offset) return 'new'
    const known = this.#recent.some((one) => one.offset === offset && one.epoch !== epoch && one.source === source)
    return known ? 'double' : this.#away ? 'missed' : 'earlier'
  }

  #covers (epoch, offset) {
    return epoch === this.#seen?.epoch && offset <= this.#seen.offset
  }

  #reach (position) {
    this.#seen = position
    this.#lost = false
  }
}
