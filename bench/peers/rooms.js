/** The channels a client asks for: `/ws?channel=a&channel=b`. @param {string | undefined} url */
export const channelsOf = (url) => new URL(url ?? '/', 'ws://server').searchParams.getAll('channel')

/**
 * Rooms as everyone writes them: a Map of Sets.
 * @template Client
 */
export class Rooms {
  /** @type {Map<string, Set<Client>>} */
  #rooms = new Map()

  /**
   * @param {string} name
   * @param {Client} client
   */
  join (name, client) {
    const room = this.#rooms.get(name) ?? new Set()
    this.#rooms.set(name, room.add(client))
  }

  /**
   * @param {string} name
   * @param {Client} client
   */
  leave (name, client) {
    const room = this.#rooms.get(name)
    room?.delete(client)
    if (room?.size === 0) this.#rooms.delete(name)
  }

  /** @param {string} name */
  of (name) {
    return this.#rooms.get(name) ?? new Set()
  }
}
