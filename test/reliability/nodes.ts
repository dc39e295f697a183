import type { Test } from 'tap'
import { formatPosition, type Position } from '../../src/hub/publication.ts'
import { until } from '../helper.ts'
import { startProcess, type ServerProcess } from '../process.ts'
import { startRedis, type RedisServer } from '../redis.ts'
import { apiOf, KEY } from '../routes/api-client.ts'
import { Recorder } from './recorder.ts'

/** Starts a server process that has an API key and keeps much history, unless `settings` say otherwise. */
export async function startNode (t: Test, settings: NodeJS.ProcessEnv = {}): Promise<ServerProcess> {
  return startProcess(t, { API_KEY: KEY, LOG_LEVEL: 'warn', HISTORY_SIZE: '100000', ...settings })
}

/** Starts two of them that share a Redis. */
export async function startTwoNodes (t: Test, settings: NodeJS.ProcessEnv = {}): Promise<{ nodes: [ServerProcess, ServerProcess], redis: RedisServer }> {
  const redis = await startRedis(t)
  const node = async (): Promise<ServerProcess> => startNode(t, { REDIS_URL: redis.url, ...settings })
  return { nodes: await Promise.all([node(), node()]), redis }
}

/** Some nodes, one at least. */
export type Nodes = [ServerProcess, ...ServerProcess[]]

/** Nodes by the name of their broker: one with memory, or two that share a Redis. */
export const brokers = {
  memory: async (t: Test, settings?: NodeJS.ProcessEnv): Promise<Nodes> => [await startNode(t, settings)],
  Redis: async (t: Test, settings?: NodeJS.ProcessEnv): Promise<Nodes> => (await startTwoNodes(t, settings)).nodes
}

/** Where a channel stands. */
export async function positionOf (url: string, channel: string): Promise<Position> {
  const { epoch, offset } = await (await fetch(`${url}/position?channel=${channel}`)).json() as Position
  return { epoch, offset }
}

/** A recorder of a channel that begins where the channel stands. */
export async function recorderOf (url: string, channel: string): Promise<Recorder> {
  return new Recorder(await positionOf(url, channel))
}

/** The address to hear a channel at from a position on. */
export function addressSince (wsUrl: string, channel: string, position: Position): string {
  return `${wsUrl}?channel=${channel}&positions=true&since=${formatPosition(position)}`
}

/** Where they are connected to. */
export function wsUrlsOf (nodes: Nodes): [string, ...string[]] {
  return nodes.map(({ wsUrl }) => wsUrl) as [string, ...string[]]
}

/** Ids of the connections that a node has in a channel, by its log, which must be at level info. */
export function membersOn ({ output }: ServerProcess, channel: string): string[] {
  const open = new Set<string>()
  for (const line of output().split('\n')) {
    if (!line.includes('"msg":"connection ')) continue
    const { msg, connection, channels } = JSON.parse(line) as { msg: string, connection: string, channels?: string[] }
    if (msg === 'connection closed') open.delete(connection)
    else if (channels?.includes(channel)) open.add(connection)
  }
  return Array.from(open).sort()
}

/** Ids of those who are in a channel, as a node says. */
export async function presentBy (url: string, channel: string): Promise<string[]> {
  let presence: object | undefined
  // An error while Redis is late says nothing of who is there.
  await until(async () => (presence = (await apiOf(url)('presence', { channel })).presence as object | undefined) !== undefined)
  return Object.keys(presence as object).sort()
}

/** The same in an order of chance. */
export function shuffled<Items extends readonly unknown[]> (items: Items): Items {
  return items.map((item) => ({ item, place: Math.random() })).sort((a, b) => a.place - b.place).map(({ item }) => item) as unknown as Items
}

/** A whole number from 0 to below this, by chance. */
export function below (limit: number): number {
  return Math.floor(Math.random() * limit)
}
