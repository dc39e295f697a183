/** Medians over the rounds of a case and peer. */

/** @param {number[]} values */
export function median (values) {
  const sorted = values.toSorted((one, other) => one - other)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/**
 * @param {import('./measure.js').Run[]} runs
 * @returns {any[]} of each case and peer: `case`, `peer`, the median of every number, the spread of the main ones, all failures
 */
export function summarize (runs) {
  /** @type {Map<string, import('./measure.js').Run[]>} */
  const groups = new Map()
  for (const run of runs) {
    const key = `${run.case} ${run.peer}`
    groups.set(key, [...groups.get(key) ?? [], run])
  }
  return [...groups.values()].map((group) => {
    const results = group.map(({ result }) => result)
    const good = results.filter(({ failures }) => failures.length === 0)
    const numbers = Object.keys(good[0] ?? {}).filter((name) => typeof good[0][name] === 'number')
    return {
      case: group[0].case,
      peer: group[0].peer,
      rounds: group.length,
      ...Object.fromEntries(numbers.map((name) => [name, median(good.map((result) => result[name]))])),
      behind: good.some(({ behind }) => behind === true),
      failures: results.flatMap(({ failures }) => failures)
    }
  })
}
