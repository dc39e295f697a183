import { patience } from '../../patience.ts'

/**
 * Waits for a promise, but not for ever.
 *
 * @param ms how long
 * @throws {Error} when that time is over; what the promise comes to afterwards is ignored
 */
export async function within<Result> (ms: number, promise: Promise<Result>): Promise<Result> {
  const { over, end } = patience(ms)
  const late = over.then(() => { throw new Error(`no answer within ${Math.round(ms)} ms`) })
  promise.catch(() => {})
  return Promise.race([promise, late]).finally(end)
}
