/** What the tables show of each kind of case. */

import { figure, mebibytes, notes, percent } from './words.js'

/**
 * @typedef {[string, (result: any, first: any) => string]} Column
 */

/** @type {Column} */
export const NOTE = ['notes', (result) => result.failures.length > 0 ? `WRONG: ${result.failures[0]}` : notes(result).join(', ')]

/** @param {string} metric */
const relative = (metric) => (/** @type {any} */ result, /** @type {any} */ own) =>
  own === undefined || own === result ? '' : `${figure(result[metric] / own[metric])} x`

/**
 * A number that not every result has.
 * @param {string} title
 * @param {string} metric
 * @param {(value: number) => string} write
 * @returns {Column}
 */
const optional = (title, metric, write = figure) => [title, (result) => result[metric] === undefined ? '' : write(result[metric])]

/** @type {Column[]} */
const SHARES = [
  ['server', (result) => percent(result.serverShare)],
  optional('Redis', 'redisShare', percent),
  ['load', (result) => percent(result.loaderShare)]
]
/** @type {Column[]} */
const COMMANDS = [
  optional('commands/publication', 'commandsPerPublication'),
  optional('of them scripts', 'scriptsPerPublication'),
  optional('run inside scripts', 'insidePerPublication')
]

/** @type {Record<string, Column[]>} */
const columns = {
  fanout: [
    ['CPU us/delivery', (result) => figure(result.cpuPerDelivery)],
    ['to fanfare', relative('cpuPerDelivery')],
    optional('Redis us', 'redisPerDelivery'),
    ['deliveries/s', (result) => figure(result.deliveriesPerSecond)],
    ['p50 ms', (result) => figure(result.p50)],
    ['p99 ms', (result) => figure(result.p99)],
    ['p99.9 ms', (result) => figure(result.p999)],
    ['peak MiB', (result) => mebibytes(result.peakMemory)],
    ...SHARES,
    NOTE
  ],
  stalled: [
    ['p99 ms before', (result) => figure(result.p99)],
    ['p99 ms of the others', (result) => figure(result.p99Stalled)],
    ['to before', (result) => `${figure(result.p99Ratio)} x`],
    ['grown by MiB', (result) => figure(result.grownMiB)],
    ['deliveries/s before', (result) => figure(result.deliveriesPerSecond)],
    ...SHARES,
    NOTE
  ],
  cluster: [
    ['CPU us/delivery, all nodes', (result) => figure(result.cpuPerDelivery)],
    ['senders\' node', (result) => figure(result.publishingPerDelivery)],
    ['receivers\' node', (result) => figure(result.receivingPerDelivery)],
    ['Redis', (result) => figure(result.redisPerDelivery)],
    ['deliveries/s', (result) => figure(result.deliveriesPerSecond)],
    ['p50 ms', (result) => figure(result.p50)],
    ['p99 ms', (result) => figure(result.p99)],
    COMMANDS[0],
    ...SHARES,
    NOTE
  ],
  publish: [
    ['publications/s', (result) => figure(result.messagesPerSecond)],
    ['CPU us/publication', (result) => figure(result.cpuPerPublication)],
    ['to fanfare', relative('cpuPerPublication')],
    optional('Redis us', 'redisPerPublication'),
    ...COMMANDS,
    ['p50 ms', (result) => figure(result.p50)],
    ['p99 ms', (result) => figure(result.p99)],
    ...SHARES,
    NOTE
  ],
  idle: [
    ['kB/connection', (result) => figure(result.memoryPerConnection / 1000)],
    ['to fanfare', relative('memoryPerConnection')],
    ['resident MiB', (result) => mebibytes(result.memory)],
    ['CPU while idle', (result) => `${figure(result.idleShare * 100)} %`],
    NOTE
  ],
  connects: [
    ['CPU us/connect', (result) => figure(result.cpuPerConnection)],
    ['to fanfare', relative('cpuPerConnection')],
    ['connects/s', (result) => figure(result.connectsPerSecond)],
    ...SHARES,
    NOTE
  ]
}

/**
 * @param {Column} column
 * @param {any} result
 * @param {any} own
 */
export const cell = (column, result, own) => result.failures.length > 0 && column !== NOTE ? '' : column[1](result, own)

/**
 * The columns of a case, without those that none of its results fills.
 * @param {import('./scenarios.js').Case} what
 * @param {any[]} results
 * @param {any} own fanfare's
 */
export const columnsOf = ({ job, table }, results, own) =>
  columns[table ?? job.kind].filter((column) => column === NOTE || results.some((result) => cell(column, result, own) !== ''))
