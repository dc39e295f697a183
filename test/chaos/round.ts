import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { ChaosNode } from './chaos-node.ts'
import type { Fault, Plan } from './plan.ts'
import { Publisher } from './publisher.ts'
import { Recorder, type ChannelFacts, type Sent } from './recorder.ts'
import { Store } from './store.ts'
import { Subscriber } from './subscriber.ts'

interface ChaosChannel extends ChannelFacts { readonly gapMs: number, readonly subscribers: number }

const LARGE = 10_000
const CHANNELS: readonly ChaosChannel[] = [
  { name: 'red', historySize: LARGE, gapMs: 10, subscribers: 8 },
  { name: 'blue', historySize: LARGE, gapMs: 20, subscribers: 8 },
  // Who is away for long cannot get everything here.
  { name: 'short', historySize: 20, gapMs: 60, subscribers: 6 }
]
const LOOK_EVERY_MS = 20
// A node finds a silent link within 5 s, and looks at a quiet channel after 15.
const SETTLED_WITHIN_MS = 30_000

/** Lets everything happen that a plan says, and returns what happened. */
export async function playRound (t: Test, plan: Plan): Promise<Recorder> {
  const recorder = new Recorder(CHANNELS)
  const { dice, storage } = plan
  const store = await Store.start(t, storage, recorder)
  const settings = settingsOf(t, plan)
  const nodes: ChaosNode[] = []
  for (const number of plan.nodes.keys()) nodes.push(new ChaosNode(t, number, await store.link(t), settings, recorder, dice.fork()))
  await Promise.all(nodes.map((node) => node.start()))
  const publishers = CHANNELS.map(({ name, gapMs }) => new Publisher(name, gapMs, nodes, recorder, dice.fork()))
  const subscribers = CHANNELS.flatMap(({ name, subscribers }) => Array.from({ length: subscribers }, (_none, index) =>
    new Subscriber(`${name} ${index}`, name, index % 2 === 0 ? 'live' : 'history', nodes, recorder, dice.fork())
  ))
  t.teardown(() => { for (const subscriber of subscribers) subscriber.stop() })
  const lives = [...publishers, ...subscribers].map((one) => one.run())
  await inflict(plan, nodes, store, recorder)
  await Promise.all(publishers.map((publisher) => publisher.stop()))
  for (const subscriber of subscribers) subscriber.calm()
  for (const { name } of CHANNELS) {
    for (const node of nodes) {
      const late = new Subscriber(`${name}, late on node ${node.number}`, name, 'history', [node], recorder, dice.fork())
      late.calm()
      subscribers.push(late)
      lives.push(late.run())
    }
  }
  await settle(plan, nodes, publishers, subscribers, recorder)
  for (const subscriber of subscribers) subscriber.stop()
  await Promise.all(lives)
  return recorder
}

function settingsOf (t: Test, { sharded }: Plan): NodeJS.ProcessEnv {
  const dir = mkdtempSync(join(tmpdir(), 'fanfare-chaos-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const file = join(dir, 'channels.json')
  writeFileSync(file, JSON.stringify(CHANNELS.map(({ name, historySize }) => ({ match: name, historySize }))))
  return {
    CHANNELS_FILE: file,
    ROUTES_DIR: 'test/chaos/routes',
    REDIS_SHARDED_PUBSUB: sharded ? 'on' : 'off',
    LOG_LEVEL: 'error',
    DRAIN_TIMEOUT: '1'
  }
}

async function inflict ({ nodes: plans, redis, seconds }: Plan, nodes: readonly ChaosNode[], store: Store, recorder: Recorder): Promise<void> {
  const begin = recorder.now
  const each = async <Kind extends string>(target: string, faults: readonly Fault<Kind>[], suffer: (fault: Fault<Kind>) => Promise<void>): Promise<void> => {
    for (const fault of faults) {
      const wait = begin + fault.at - recorder.now
      // What took longer than planned must not let the round go on for ever.
      if (wait < -1000 * seconds) return
      await pause(Math.max(wait, 0))
      await recorder.during(target, fault.kind, () => suffer(fault))
    }
  }
  await Promise.all([
    pause(seconds * 1000),
    each('Redis', redis, (fault) => store.suffer(fault)),
    ...nodes.flatMap((node, index) => [
      each(`node ${index}`, plans[index]?.faults ?? [], (fault) => node.suffer(fault)),
      each(`link of node ${index}`, plans[index]?.link ?? [], (fault) => node.sufferLink(fault))
    ])
  ])
}

// Publishes to every channel once more, when everybody is there: with that, everybody has everything.
async function settle (plan: Plan, nodes: readonly ChaosNode[], publishers: readonly Publisher[], subscribers: readonly Subscriber[], recorder: Recorder): Promise<void> {
  const begin = recorder.now
  await waitFor(subscribers, (subscriber) => subscriber.connected, SETTLED_WITHIN_MS)
  const lasts = new Map<string, Sent>()
  const publish = async (): Promise<void> => {
    for (const last of await Promise.all(publishers.map((publisher) => publisher.publishLast()))) lasts.set(last.channel, last)
  }
  const [deaf] = nodes
  if (plan.lastUnheard && deaf) await recorder.during('link of node 0', 'deaf', () => deaf.deafDuring(publish))
  else await publish()
  const without = await waitFor(subscribers, (subscriber) => subscriber.hasHeard(lasts.get(subscriber.channel) as Sent), SETTLED_WITHIN_MS)
  recorder.settledAfter = recorder.now - begin
  for (const { state } of without) recorder.failures.push(`not served ${SETTLED_WITHIN_MS} ms after all was whole again: ${state}`)
}

/** Waits until something holds for all of them, or time is over; returns for whom it does not. */
async function waitFor (subscribers: readonly Subscriber[], holds: (subscriber: Subscriber) => boolean, ms: number): Promise<ReadonlySet<Subscriber>> {
  const waiting = new Set(subscribers)
  for (const end = performance.now() + ms; waiting.size > 0 && performance.now() < end;) {
    for (const subscriber of waiting) if (holds(subscriber)) waiting.delete(subscriber)
    await pause(LOOK_EVERY_MS)
  }
  return waiting
}
