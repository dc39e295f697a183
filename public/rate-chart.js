/* global ResizeObserver, getComputedStyle, matchMedia */
import { count } from './format.js'

/** Seconds that the line shows. */
const SPAN = 60

/**
 * Counts messages in seconds of the clock. A second belongs to a message by when it came, not by when a timer
 * ran: timers of a hidden page come late, the counts are right all the same.
 */
export class RateMeter {
  /** Counts of the last seconds, by second modulo their number; the spare one is the second that still runs. */
  #counts = new Array(SPAN + 1).fill(0)
  #second = Math.floor(performance.now() / 1000)

  count () {
    this.#moveTo(Math.floor(performance.now() / 1000))
    this.#counts[this.#second % this.#counts.length] += 1
  }

  /** Counts of the last 60 whole seconds, oldest first. */
  read () {
    this.#moveTo(Math.floor(performance.now() / 1000))
    return Array.from({ length: SPAN }, (_, n) => this.#counts[(this.#second + 1 + n) % this.#counts.length])
  }

  #moveTo (second) {
    if (second - this.#second > SPAN) this.#counts.fill(0)
    else for (let s = this.#second + 1; s <= second; s++) this.#counts[s % this.#counts.length] = 0
    this.#second = second
  }
}

/**
 * The small live line of messages per second. It says the same as a text for those who do not see it, and the
 * page works without it: should the chart library not load, the number still moves.
 */
export class RateChart {
  #seconds = Array.from({ length: SPAN }, (_, n) => n + 1 - SPAN)
  #counts = new Array(SPAN).fill(0)
  #place
  #uPlot
  #plot

  /** @param {HTMLElement} place */
  constructor (place) {
    this.#place = place
    this.#load()
  }

  /** @param {number[]} counts of the last 60 seconds, oldest first */
  show (counts) {
    this.#counts = counts
    this.#plot?.setData([this.#seconds, counts])
    this.#place.ariaLabel = `Messages per second over the last minute: now ${count(counts.at(-1))}, at most ${count(Math.max(...counts))}`
  }

  async #load () {
    try {
      this.#uPlot = (await import('./vendor/uplot/uPlot.esm.js')).default
    } catch {
      this.#place.textContent = 'The chart could not be loaded.'
      return
    }
    this.#make()
    new ResizeObserver(() => this.#plot.setSize(this.#size())).observe(this.#place)
    // A canvas does not follow the style sheet: it is made anew in the other colours.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#make())
  }

  #make () {
    this.#plot?.destroy()
    const style = getComputedStyle(this.#place)
    const colour = (name) => style.getPropertyValue(name).trim()
    const axis = {
      stroke: colour('--ink-soft'),
      font: `11px ${style.fontFamily}`,
      ticks: { show: false },
      grid: { stroke: colour('--line'), width: 1 }
    }
    this.#plot = new this.#uPlot({
      ...this.#size(),
      padding: [8, 16, 0, 0],
      cursor: { show: false },
      legend: { show: false },
      scales: {
        x: { time: false, range: [1 - SPAN, 0] },
        y: { range: (_, least, most) => [0, Math.max(4, most * 1.15)] }
      },
      axes: [
        { ...axis, size: 22, gap: 5, splits: [-45, -30, -15, 0], values: (_, splits) => splits.map((second) => second === 0 ? 'now' : `−${-second} s`), grid: { show: false } },
        { ...axis, size: 42, gap: 4, space: 28, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6], values: (_, splits) => splits.map(count) }
      ],
      series: [{}, { stroke: colour('--accent'), fill: colour('--accent-wash'), width: 1.5, points: { show: false } }]
    }, [this.#seconds, this.#counts], this.#place)
  }

  #size () {
    return { width: this.#place.clientWidth, height: this.#place.clientHeight }
  }
}
