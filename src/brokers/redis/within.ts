/**
 * Waits for a promise, but not for ever.
 *
 * @param ms how long
 * @throws {Error} when that time is over; what the promise comes to afterwards is ignored
 */
export async function within<Result> (ms: number, promise: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${Math.round(ms)} ms`)), ms)
  })
  promise.catch(() => {})
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
