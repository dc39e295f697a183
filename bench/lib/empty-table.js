import Table from 'cli-table3'

/**
 * A table in the style of all.
 * @param {string[]} head
 * @param {('left' | 'right')[]} colAligns
 */
export const emptyTable = (head, colAligns) => new Table({ head, colAligns, style: { head: [], border: [], compact: true } })
