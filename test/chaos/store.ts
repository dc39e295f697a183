import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { FaultProxy } from '../fault-proxy.ts'
import { until } from '../helper.ts'
import { startRedis, type RedisServer } from '../redis.ts'
import type { Fault, RedisFault, Storage } from './plan.ts'
import type { Recorder } from './recorder.ts'

const ARGS: Readonly<{ [storage in Storage]: readonly string[] }> = {
  snapshot: [],
  log: ['--appendonly', 'yes', '--appendfsync', 'always'],
  replica: ['--repl-diskless-sync-delay', '0']
}

/** The Redis of a round, with a replica in some, and what can be done to it. */
export class Store {
  readonly #storage: Storage
  readonly #recorder: Recorder
  readonly #links: FaultProxy[] = []
  readonly #replication: FaultProxy
  #master: RedisServer
  #replica: RedisServer | undefined

  private constructor (storage: Storage, recorder: Recorder, master: RedisServer, replication: FaultProxy) {
    this.#storage = storage
    this.#recorder = recorder
    this.#master = master
    this.#replication = replication
  }

  static async start (t: Test, storage: Storage, recorder: Recorder): Promise<Store> {
    const master = await startRedis(t, ARGS[storage])
    const store = new Store(storage, recorder, master, await new FaultProxy(master.port).start(t))
    if (storage === 'replica') {
      store.#replica = await startRedis(t, ARGS.replica)
      await store.#replicate()
    }
    const end = (): void => store.#end()
    process.once('exit', end)
    t.teardown(() => process.off('exit', end))
    return store
  }

  /** Makes a way to Redis for one node. */
  async link (t: Test): Promise<FaultProxy> {
    const link = await new FaultProxy(this.#master.port).start(t)
    this.#links.push(link)
    return link
  }

  /** Does something to Redis, and resolves when it is over and Redis answers again. */
  async suffer ({ kind, ms, degree }: Fault<RedisFault>): Promise<void> {
    const master = this.#master
    switch (kind) {
      case 'freeze':
        master.signal('SIGSTOP')
        await pause(ms)
        master.signal('SIGCONT')
        break
      case 'cut':
        master.cli('client', 'kill', 'type', degree > 50 ? 'pubsub' : 'normal')
        break
      case 'flush':
        master.cli('flushall')
        this.#recorder.lost()
        break
      case 'rollback':
        master.cli('save')
        await pause(ms)
        await this.#restart(degree)
        break
      case 'restart':
        await this.#restart(ms)
        break
      case 'failover':
        await this.#failOver(ms, degree)
    }
  }

  // Nobody else would, when the process is interrupted.
  #end (): void {
    this.#master.signal('SIGKILL')
    this.#replica?.signal('SIGKILL')
  }

  async #restart (ms: number): Promise<void> {
    await this.#master.kill()
    await pause(ms)
    if (this.#storage !== 'log') this.#recorder.lost()
    await this.#master.restart()
  }

  // The replica lags for some time before it takes over, and the old master still answers for a moment after.
  async #failOver (lagMs: number, overlapMs: number): Promise<void> {
    const [old, next] = [this.#master, this.#replica as RedisServer]
    this.#replication.swallowing = true
    await pause(lagMs)
    next.cli('replicaof', 'no', 'one')
    await pause(overlapMs)
    for (const link of this.#links) link.target = next.port
    await old.kill()
    for (const link of this.#links) link.reset()
    this.#recorder.lost()
    this.#master = next
    this.#replica = old
    this.#replication.reset()
    this.#replication.swallowing = false
    this.#replication.target = next.port
    await old.restart()
    await this.#replicate()
  }

  async #replicate (): Promise<void> {
    const replica = this.#replica as RedisServer
    replica.cli('replicaof', '127.0.0.1', String(this.#replication.port))
    await until(async () => {
      await pause(50)
      return replica.cli('info', 'replication').includes('master_link_status:up')
    })
  }
}
