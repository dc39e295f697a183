import type { Test } from 'tap'
import { RedisBroker } from '../../src/brokers/redis.ts'
import { FaultProxy } from '../fault-proxy.ts'
import { stopwatch, until } from '../helper.ts'
import { startRedis, type RedisServer } from '../redis.ts'
import { Node } from './contract.ts'

export const quiet = { info: () => {}, warn: () => {} }

export async function nodeAt (t: Test, port: number): Promise<Node> {
  return new Node(new RedisBroker({ redisUrl: `redis://127.0.0.1:${port}`, redisPrefix: 'faults', redisShardedPubsub: 'auto' }, quiet)).start(t)
}

/** A node that is in channel `x`, behind a proxy, and one that has a way of its own. */
export async function setUp (t: Test, args: string[] = []): Promise<{ redis: RedisServer, proxy: FaultProxy, node: Node, other: Node }> {
  const redis = await startRedis(t, args)
  const proxy = await new FaultProxy(redis.port).start(t)
  const [node, other] = [await nodeAt(t, proxy.port), await nodeAt(t, redis.port)]
  await node.broker.subscribe('x')
  return { redis, proxy, node, other }
}

export const since = (started: number): number => Math.round(performance.now() - started)
export const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_none, index) => `m${from + index}`)

/** Publishes; returns how long it took, in milliseconds, and the code with which it failed, if so. */
export async function attempt (node: Node, text: string): Promise<{ ms: number, code?: string }> {
  const sinceCall = stopwatch()
  try {
    await node.publish('x', text)
    return { ms: Math.round(sinceCall()) }
  } catch (error) {
    return { ms: Math.round(sinceCall()), code: (error as { code: string }).code }
  }
}

/** Tries until something can be published again; returns after how long. */
export async function untilPublished (node: Node, text: string, started: number): Promise<number> {
  await until(async () => (await attempt(node, text)).code === undefined)
  return since(started)
}
