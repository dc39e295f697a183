import { MemoryBroker } from '../../src/brokers/memory.ts'
import type { Broker } from '../../src/brokers/broker.ts'
import { ConnectionManager } from '../../src/hub/connection-manager.ts'
import { ChannelRules, type ChannelBehaviour } from '../../src/hub/channel-rules.ts'
import type { Encoding } from '../../src/hub/encoding.ts'
import type { ManagerSettings } from '../../src/hub/manager-settings.ts'
import { openPermissions } from '../../src/hub/permissions.ts'
import type { Transport } from '../../src/hub/transport.ts'

// The hub alone, with transports that can be stalled and killed at will: what a real network does only by chance.

const SETTINGS: ManagerSettings = {
  maxBufferedBytes: 200, presenceTtl: 60, maxConnections: 1000, maxConnectionsPerIp: 0, maxChannels: 10, messageRate: 0, userMessageRate: 0, hookTimeout: 5, openToAll: true, pingInterval: 25, pongTimeout: 8
}

export class TestTransport implements Transport {
  readonly lines: string[] = []
  readonly answersPings = true
  closedWith: number | undefined
  stalled = false
  bufferedBytes = 0
  onWrite = (): void => {}
  #onDrained: (() => void)[] = []

  write (bytes: Buffer): void {
    if (this.closedWith !== undefined) throw new Error('written to after the close')
    if (this.stalled) this.bufferedBytes += bytes.length
    this.lines.push(...String(bytes).trimEnd().split('\n'))
    this.onWrite()
  }

  drain (): void {
    this.stalled = false
    this.bufferedBytes = 0
    for (const callback of this.#onDrained.splice(0)) callback()
  }

  writeAll (pieces: readonly Buffer[]): void { this.write(Buffer.concat(pieces)) }
  ping (): void {}
  pause (): void {}
  resume (): void {}
  onceDrained (callback: () => void): void { this.#onDrained.push(callback) }
  close (code: number): void { this.closedWith = code }
}

/** An encoding in lines; `slow` ones prepare each publication for some turns of the loop. */
export const linesEncoding = (slow: boolean): Encoding => ({
  encode: (channel, publications) => Buffer.from(publications.map(({ data }) => `${channel} ${String(data)}\n`).join('')),
  encodeSkipped: (channel, count) => Buffer.from(`${channel} skipped ${count}\n`),
  ...(slow && { prepare: async () => { for (let turn = 0; turn < 3; turn++) await nextTurn() } })
})

export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const BEHAVIOUR: ChannelBehaviour = { historySize: 10, historyTtl: 60, presence: true, slowReceiver: 'close', allow: openPermissions }

export function managerOf (settings: Partial<ManagerSettings> = {}, behaviour: Partial<ChannelBehaviour> = {}, broker: Broker = new MemoryBroker(1e6)): ConnectionManager {
  const rules = new ChannelRules({ ...BEHAVIOUR, ...behaviour })
  const manager = new ConnectionManager(broker, rules, { ...SETTINGS, ...settings }, { warn: () => {}, info: () => {}, debug: () => {} }, { name: 'test', version: '0' })
  manager.start()
  return manager
}
