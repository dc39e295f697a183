import { Dice } from './dice.ts'

export type NodeFault = 'kill' | 'stop' | 'freeze'
export type LinkFault = 'reset' | 'swallow' | 'delay' | 'drop'
export type RedisFault = 'freeze' | 'cut' | 'flush' | 'restart' | 'rollback' | 'failover'

/** What Redis keeps: nothing but what it was once told to save, everything, or what its replica has. */
export type Storage = 'snapshot' | 'log' | 'replica'

/** One fault of one target; those of a target come one after the other. */
export interface Fault<Kind> {
  readonly kind: Kind
  /** When it begins at the earliest, in milliseconds. */
  readonly at: number
  /** How long it lasts, in milliseconds. */
  readonly ms: number
  /** How bad it is, from 1 to 100. */
  readonly degree: number
}

/** All that a seed says about a round. */
export interface Plan {
  readonly seed: number
  readonly seconds: number
  readonly storage: Storage
  readonly sharded: boolean
  /** What is to happen to each node and to its link to Redis. */
  readonly nodes: readonly { readonly faults: readonly Fault<NodeFault>[], readonly link: readonly Fault<LinkFault>[] }[]
  readonly redis: readonly Fault<RedisFault>[]
  /** Whether a node does not hear of the last publications, and has to look by itself. */
  readonly lastUnheard: boolean
  /** For what clients do. */
  readonly dice: Dice
}

type Weights<Kind extends string> = Readonly<Partial<{ [kind in Kind]: number }>>
interface Rhythm { readonly pause: readonly [number, number], readonly ms: readonly [number, number] }

const NODE_FAULTS: Weights<NodeFault> = { kill: 3, stop: 3, freeze: 4 }
const LINK_FAULTS: Weights<LinkFault> = { reset: 4, swallow: 3, delay: 3, drop: 6 }
const REDIS_FAULTS: Readonly<{ [storage in Storage]: Weights<RedisFault> }> = {
  snapshot: { freeze: 5, cut: 8, flush: 1, restart: 1, rollback: 2 },
  log: { freeze: 5, cut: 8, flush: 1, restart: 4 },
  replica: { freeze: 5, cut: 8, flush: 1, failover: 4 }
}
// It takes a node 15 s to look at a channel that has become quiet: too long for a short round.
const LONG_SECONDS = 20
const NODE_RHYTHM: Rhythm = { pause: [1500, 6000], ms: [100, 2000] }
const LINK_RHYTHM: Rhythm = { pause: [800, 4000], ms: [100, 3000] }
const REDIS_RHYTHM: Rhythm = { pause: [800, 5000], ms: [100, 2000] }

/**
 * Makes the plan of a round.
 *
 * @param seconds how long there are faults; a longer plan of the same seed begins like the shorter one
 */
export function planOf (seed: number, seconds: number): Plan {
  const dice = new Dice(seed)
  const storage = dice.pick(['snapshot', 'log', 'replica'] as const)
  const count = dice.between(2, 4)
  const lastUnheard = dice.percent(30) && seconds >= LONG_SECONDS
  return {
    seed,
    seconds,
    storage,
    sharded: dice.percent(30),
    lastUnheard,
    nodes: Array.from({ length: count }, () => ({
      faults: faultsOf(dice.fork(), seconds, NODE_FAULTS, NODE_RHYTHM),
      link: faultsOf(dice.fork(), seconds, LINK_FAULTS, LINK_RHYTHM)
    })),
    redis: faultsOf(dice.fork(), seconds, REDIS_FAULTS[storage], REDIS_RHYTHM),
    dice: dice.fork()
  }
}

function faultsOf<Kind extends string> (dice: Dice, seconds: number, weights: Weights<Kind>, { pause, ms }: Rhythm): Fault<Kind>[] {
  const faults: Fault<Kind>[] = []
  for (let at = dice.between(...pause); at < seconds * 1000;) {
    const fault = { kind: dice.weighted(weights), at, ms: dice.between(...ms), degree: dice.between(1, 101) }
    faults.push(fault)
    at += fault.ms + dice.between(...pause)
  }
  return faults
}
