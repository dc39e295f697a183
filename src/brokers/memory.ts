import type { Publication } from '../hub/publication.ts'
import type { Broker } from './broker.ts'

/** The broker of a node that is alone: the order of a channel is the order of the calls. */
export class MemoryBroker implements Broker {
  readonly name = 'memory'
  deliver: Broker['deliver'] = () => {}

  async publish (channel: string, publication: Publication): Promise<void> {
    this.deliver(channel, [publication])
  }
}
