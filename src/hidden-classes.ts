import { executionAsyncResource } from 'node:async_hooks'
import { Socket } from 'node:net'

// One place in the code remembers four hidden classes; with more it no longer tries.
const SHAPES = 6
// Before it has run a few times V8 does not remember anything for a function.
const TIMES = 4

const kept: object[] = []

/**
 * Keeps two things of Node 20 from being slow for as long as the process lives; later versions do not need it. To be called once, early.
 *
 * `net.Socket` copies its options and adds to the copy. As long as all options look alike, V8 (11.3) gives every such copy a hidden
 * class of its own, which all that reads them has to look up anew: a connect took 110 us of CPU time, and takes 84. So sockets are
 * made, without connecting them, whose options do not look alike.
 *
 * `process.nextTick` makes an object whose hidden class V8 drops when a garbage collection finds none of them; from then on each takes
 * 400 ns, not 60. So one of them is kept.
 */
export function keepHiddenClasses (): void {
  for (let time = 0; time < TIMES; time++) {
    for (let shape = 0; shape < SHAPES; shape++) new Socket({ [`shape${shape}`]: true } as object).destroy()
  }
  process.nextTick(() => { kept.push(executionAsyncResource()) })
}
