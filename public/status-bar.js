import { sentenceOf } from './close-codes.js'

const words = {
  closed: 'Disconnected.',
  connecting: 'Connecting',
  open: 'Connected',
  closing: 'Disconnecting',
  waiting: 'Not connected.'
}

/**
 * The connection's state, why it closed, and when it comes back. The countdown is outside the status element: a
 * screen reader hears each change of state once, not every second.
 */
export class StatusBar {
  #parts
  #ticker

  /** @param {Record<'bar' | 'word' | 'detail' | 'retry' | 'countdown', HTMLElement>} parts */
  constructor (parts) {
    this.#parts = parts
  }

  /** @param {import('./connection.js').Connection} connection */
  show (connection) {
    const { bar, word, detail, retry } = this.#parts
    const { state, lastClose } = connection
    bar.dataset.state = state
    bar.dataset.code = lastClose && state !== 'open' ? lastClose.code : ''
    word.textContent = words[state]
    detail.textContent = detailOf(connection)
    retry.hidden = state !== 'waiting'
    clearInterval(this.#ticker)
    if (state !== 'waiting') return
    this.#count(connection)
    this.#ticker = setInterval(() => this.#count(connection), 250)
  }

  #count ({ retryAt, attempt }) {
    const seconds = Math.max(0, (retryAt - performance.now()) / 1000)
    this.#parts.countdown.textContent = `Reconnecting in ${Math.ceil(seconds)} s (try ${attempt})`
  }
}

function detailOf ({ state, channel, attempt, lastClose }) {
  if (state === 'open') return `to ${channel}`
  if (state === 'closing') return 'waiting for the server to agree'
  if (state === 'connecting') return attempt === 0 ? `to ${channel}` : `to ${channel}, try ${attempt}`
  return lastClose ? `${explain(lastClose)}.` : ''
}

/**
 * A close in one line: the sentence, the code, and what the server itself said.
 *
 * @param {import('./connection.js').Close} close
 */
export function explain (close) {
  const said = close.reason ? `, the server says “${close.reason}”` : ''
  const hint = close.hint ? `: ${close.hint}` : ''
  return `${sentenceOf(close)}${hint} (code ${close.code}${said})`
}
