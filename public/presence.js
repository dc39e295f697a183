import { count, plural } from './format.js'
import { Poll } from './poll.js'
import { headers } from './token.js'

const EVERY = 3_000
/** Who is in a large channel is asked less often: milliseconds for each who is there. */
const EVERY_PER_CLIENT = 10
/** Characters of an id that are shown: the beginning of a UUID. */
const ID_SHOWN = 8
/** A screen reader hears how many there are this often at most. */
const PAUSE = 20_000

/**
 * @typedef {{ client: string, user: string }} Member
 * @typedef {{ channel: string, clients: number, users: number, members: Member[] }} Answer `members` are a part of many
 */

/** Shows who is in the channel. Where the server does not know it, there is nothing to see. */
export class Presence {
  #poll = new Poll(EVERY, (timeout) => this.#look(timeout))
  #parts
  #say
  #channel = ''
  #shown = ''
  #spokenAt = -Infinity
  #spoken = 0

  /**
   * @param {Record<'panel' | 'count' | 'note' | 'members', HTMLElement>} parts
   * @param {(words: string) => void} say tells those who hear the page
   */
  constructor (parts, say) {
    this.#parts = parts
    this.#say = say
  }

  /** Shows nobody until a channel is watched again. */
  leave () {
    this.#channel = ''
    this.#poll.stop()
    this.#show(undefined)
  }

  /** Shows a channel, and asks again where the server did not know it before. */
  watch (channel) {
    if (channel !== this.#channel) {
      this.#channel = channel
      this.#spoken = 0
      this.#spokenAt = -Infinity
      this.#show(undefined)
    }
    this.#poll.now()
  }

  async #look (timeout) {
    const channel = this.#channel
    const url = new URL('presence', document.baseURI)
    url.searchParams.set('channel', channel)
    const response = await fetch(url, { cache: 'no-store', signal: timeout, headers: headers() }).catch(() => undefined)
    const answer = response?.ok ? await response.json().catch(() => undefined) : undefined
    if (channel !== this.#channel) return
    const hidden = response?.status === 404 || response?.status === 403
    this.#parts.panel.hidden = hidden
    // Until there is a token, or another channel.
    if (hidden || response?.status === 401) this.#poll.stop()
    this.#poll.every = Math.max(EVERY, (answer?.clients ?? 0) * EVERY_PER_CLIENT)
    this.#show(answer)
    if (answer) this.#tell(answer.clients)
  }

  /** @param {Answer | undefined} answer */
  #show (answer) {
    // Most answers are like the one before, and a list that is made anew loses its place.
    const text = JSON.stringify(answer)
    if (text === this.#shown) return
    this.#shown = text
    const { count: number, note, members } = this.#parts
    number.textContent = answer ? count(answer.clients) : '–'
    number.dataset.clients = answer?.clients ?? ''
    note.textContent = answer?.members.some(({ user }) => user !== '') ? plural(answer.users, 'user') : ''
    members.replaceChildren(...answer ? itemsOf(answer) : [])
  }

  #tell (clients) {
    if (clients === this.#spoken || performance.now() - this.#spokenAt < PAUSE) return
    this.#spoken = clients
    this.#spokenAt = performance.now()
    this.#say(`${count(clients)} in this channel`)
  }
}

/** Users and ids are what others made them: they go through `textContent`, and cannot become markup. */
function itemsOf ({ clients, members }) {
  const items = members.map(({ client, user }) => {
    const item = document.createElement('li')
    item.className = user ? 'member' : 'member member-id'
    item.textContent = user || client.slice(0, ID_SHOWN)
    item.title = `Connection ${client}`
    // Its own direction: right-to-left text must not turn its neighbours around.
    item.dir = 'auto'
    return item
  })
  if (clients > members.length) {
    const rest = document.createElement('li')
    rest.className = 'member-rest'
    rest.textContent = `and ${count(clients - members.length)} more`
    items.push(rest)
  }
  return items
}
