import { fanfareError } from '../../errors.ts'
import type { Cluster } from '../../hub/cluster.ts'
import type { Message } from '../protocol.ts'
import type { Emulated } from './codec.ts'
import type { Session } from './session.ts'

// What a message takes in this node beside its data, while it waits.
const OVERHEAD_BYTES = 500

/** What is passed from node to node. */
interface Passed { readonly session: string, readonly data: string, readonly binary: boolean }

/** A session of this node, and how it is held back. */
interface Known {
  readonly session: Session
  readonly transport: { readonly paused: boolean }
  /** Bytes that came since it was held back. */
  waiting: number
}

/** The sessions whose clients send by requests of their own, and the way to those of other nodes. */
export class Sessions {
  readonly #cluster: Cluster
  readonly #maxWaitingBytes: number
  readonly #sessions = new Map<string, Known>()

  /** @param maxWaitingBytes that a client may send while it is held back for its rate, or because it does not take what it is sent */
  constructor (cluster: Cluster, maxWaitingBytes: number) {
    this.#cluster = cluster
    this.#maxWaitingBytes = maxWaitingBytes
    cluster.answer('emulate', ({ session, data, binary }: Passed) => this.#take(session, { data: Buffer.from(data, 'base64'), binary }))
  }

  /** @param id that only its client knows */
  add (id: string, session: Session, transport: Known['transport']): void {
    this.#sessions.set(id, { session, transport, waiting: 0 })
  }

  remove (id: string): void {
    this.#sessions.delete(id)
  }

  /**
   * Hands a client's commands to its session, on whatever node that is.
   *
   * @returns whether they were taken: not those of a client that is held back and has sent very much; nothing if there is no
   * such node. A session that has ended takes everything: its client knows by its stream
   * @throws when the other nodes cannot be asked, or the one that is meant does not answer
   */
  async pass ({ node, session, data }: Emulated, binary: boolean): Promise<boolean | undefined> {
    if (node === this.#cluster.id) return this.#take(session, { data, binary })
    const taken = await this.#cluster.askNode(node, 'emulate', { session, data: data.toString('base64'), binary } satisfies Passed) as boolean | undefined
    if (taken === undefined && this.#cluster.has(node)) throw fanfareError('FANFARE_SILENT_NODE')
    return taken
  }

  #take (id: string, message: Message): boolean {
    const known = this.#sessions.get(id)
    if (!known) return true
    if (known.transport.paused) {
      known.waiting += message.data.length + OVERHEAD_BYTES
      if (known.waiting > this.#maxWaitingBytes) return false
    } else known.waiting = 0
    known.session.receive(message)
    return true
  }
}
