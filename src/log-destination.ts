import pino from 'pino'

// 100,000 lines. Clients make some, and whoever reads them may have stopped.
const MOST_BYTES = 16_777_216

/**
 * Where log lines go that nobody reads on a terminal. What is logged while a write is under way goes with the next: a write for
 * each line took a fifth of what a connect costs. What does not fit is left out, and counted.
 */
export function logDestination (): pino.DestinationStream {
  const destination = pino.destination({ dest: 1, sync: false, maxLength: MOST_BYTES })
  const log = pino(destination)
  let dropped = 0
  destination.on('drop', () => { dropped++ })
  destination.on('drain', () => {
    if (dropped === 0) return
    const count = dropped
    dropped = 0
    log.warn({ lines: count }, 'Log lines are missing here: nobody read them in time')
  })
  return destination
}
