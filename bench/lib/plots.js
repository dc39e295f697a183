/** The plots that docs/performance.md shows, as SVG files in docs/plots/. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as echarts from 'echarts'
import { figure } from './words.js'

const FOLDER = fileURLToPath(new URL('../../docs/plots/', import.meta.url))
const WIDTH = 1100
const TEXT = '#24292f'
const FAINT = '#d8dee4'

/** Fanfare stands out, the others are told apart. */
const COLOURS = {
  fanfare: '#d1242f',
  'fanfare-redis': '#fa8072',
  'fanfare-tokens': '#f4a8ae',
  'fanfare-centrifuge': '#ff6f91',
  'fastify-websocket': '#57606a',
  ws: '#9aa4af',
  floor: '#c9d1d9',
  'socket.io': '#1f6feb',
  bun: '#e3a008',
  rocket: '#8250df',
  centrifugo: '#1a7f37'
}
const MARKS = ['circle', 'emptyTriangle', 'pin', 'rect', 'triangle', 'diamond', 'roundRect', 'emptyCircle', 'emptyRect']

const DELIVERIES = { a: 'a: 1 sender', b: 'b: 10 senders', c: 'c: 100 senders\nx 10 in flight', d: 'd: 10 of 100\nchannels', e: 'e: 200 msg/s', f: 'f: 1 KiB JSON,\ncompressed', i: 'i: 16 KiB' }

/**
 * @param {number} height
 * @param {any} option
 */
function svg (height, option) {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height })
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    textStyle: { fontFamily: 'system-ui, sans-serif', color: TEXT },
    ...option,
    title: { left: 'center', top: 12, textStyle: { fontSize: 18, fontWeight: 600, color: TEXT }, subtextStyle: { fontSize: 13, color: '#57606a' }, ...option.title }
  })
  const text = chart.renderToSVGString()
  chart.dispose()
  return text + '\n'
}

const axisStyle = {
  axisLabel: { color: TEXT, fontSize: 13 },
  nameTextStyle: { color: TEXT, fontSize: 13 },
  splitLine: { lineStyle: { color: FAINT } },
  axisLine: { lineStyle: { color: TEXT } }
}
const legend = { bottom: 10, itemGap: 30, textStyle: { color: TEXT, fontSize: 13 } }

/**
 * A range for a logarithmic axis, from one power of ten to another.
 * @param {number[]} values
 */
const decades = (values) => ({ min: 10 ** Math.floor(Math.log10(Math.min(...values))), max: 10 ** Math.ceil(Math.log10(Math.max(...values))) })

/** @param {any[]} results */
function cpuPlot (results) {
  const shown = results.filter((result) => result.case in DELIVERIES && result.cpuPerDelivery !== undefined)
  const cases = Object.keys(DELIVERIES).filter((name) => shown.some((result) => result.case === name))
  const names = Object.keys(COLOURS).filter((name) => shown.some(({ peer }) => peer === name))
  const range = decades(shown.map(({ cpuPerDelivery }) => cpuPerDelivery))
  const valueOf = (/** @type {string} */ what, /** @type {string} */ peer) => shown.find((result) => result.case === what && result.peer === peer)?.cpuPerDelivery
  return svg(560, {
    title: { text: 'Server CPU time per delivered message', subtext: 'microseconds, logarithmic: less is better' },
    legend: { ...legend, data: names },
    grid: { left: 60, right: 20, top: 90, bottom: 130 },
    xAxis: { type: 'category', data: cases.map((name) => DELIVERIES[name]), ...axisStyle, axisTick: { show: false } },
    yAxis: { type: 'log', ...range, startValue: range.min, name: 'µs', ...axisStyle },
    series: names.map((peer) => ({
      name: peer,
      type: 'bar',
      barGap: '8%',
      barCategoryGap: '16%',
      itemStyle: { color: COLOURS[peer] },
      label: { show: true, position: 'top', rotate: 90, align: 'left', verticalAlign: 'middle', distance: 8, fontSize: 11, color: TEXT, formatter: ({ value }) => value === undefined ? '' : figure(value) },
      data: cases.map((what) => valueOf(what, peer))
    }))
  })
}

/** @param {any[]} results */
function growthPlot (results) {
  const shown = results.filter((result) => /^j\d+$/.test(result.case) && result.cpuPerDelivery !== undefined)
  const names = Object.keys(COLOURS).filter((name) => shown.some(({ peer }) => peer === name))
  const points = (/** @type {string} */ name) => shown.filter(({ peer }) => peer === name).map((result) => [Number(result.case.slice(1)), result.cpuPerDelivery])
  return svg(520, {
    title: { text: 'How the cost grows with the number of receivers', subtext: 'server CPU time per delivered message, microseconds, 10 senders in lockstep: less is better' },
    legend: { ...legend, data: names },
    grid: { left: 60, right: 40, top: 90, bottom: 100 },
    xAxis: { type: 'log', min: 10, max: 20_000, name: 'receivers', nameLocation: 'middle', nameGap: 30, ...axisStyle },
    yAxis: { type: 'log', ...decades(shown.map(({ cpuPerDelivery }) => cpuPerDelivery)), name: 'µs', ...axisStyle },
    series: names.map((peer, index) => ({
      name: peer,
      type: 'line',
      symbol: MARKS[index],
      symbolSize: 9,
      itemStyle: { color: COLOURS[peer] },
      lineStyle: { width: peer === 'fanfare' ? 4 : 2 },
      data: points(peer)
    }))
  })
}

/** @param {any[]} results */
function memoryPlot (results) {
  const shown = results.filter((result) => result.case === 'g' && result.memoryPerConnection !== undefined)
    .toSorted((one, other) => other.memoryPerConnection - one.memoryPerConnection)
  return svg(130 + 44 * shown.length, {
    title: { text: 'Resident memory per idle connection', subtext: 'kB, of 15,000 connections: less is better' },
    grid: { left: 150, right: 80, top: 80, bottom: 40 },
    xAxis: { type: 'value', ...axisStyle },
    yAxis: { type: 'category', data: shown.map(({ peer }) => peer), ...axisStyle, axisTick: { show: false } },
    series: [{
      type: 'bar',
      barWidth: '60%',
      label: { show: true, position: 'right', color: TEXT, fontSize: 13, formatter: ({ value }) => figure(value) },
      data: shown.map(({ peer, memoryPerConnection }) => ({ value: memoryPerConnection / 1000, itemStyle: { color: COLOURS[peer] } }))
    }]
  })
}

/**
 * @param {{ results: any[] }} report
 * @param {(line: string) => void} say
 */
export function drawPlots ({ results }, say) {
  mkdirSync(FOLDER, { recursive: true })
  const good = results.filter(({ failures }) => failures.length === 0)
  for (const [name, plot] of /** @type {const} */ ([['cpu-per-delivery', cpuPlot], ['growth', growthPlot], ['idle-memory', memoryPlot]])) {
    writeFileSync(`${FOLDER}${name}.svg`, plot(good))
    say(`written: ${FOLDER}${name}.svg`)
  }
}
