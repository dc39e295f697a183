import fc from 'fast-check'

const MOST = 2 ** 31 - 1

/** Random choices that a seed determines. */
export class Dice {
  readonly #numbers: Iterator<number>

  /** @param seed a whole number from 0 to 2^31 - 1 */
  constructor (seed: number) {
    const [numbers] = fc.sample(fc.infiniteStream(fc.noBias(fc.nat(MOST)), { noHistory: true }), { seed, numRuns: 1 })
    this.#numbers = numbers as Iterator<number>
  }

  /** A whole number from 0 to `count` - 1. */
  below (count: number): number {
    return (this.#numbers.next().value as number) % count
  }

  /** A whole number of at least `from` and less than `to`. */
  between (from: number, to: number): number {
    return from + this.below(to - from)
  }

  /** True in so many of 100 cases. */
  percent (chance: number): boolean {
    return this.below(100) < chance
  }

  pick<Item> (items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item
  }

  /** One of the names, each as often as its weight says. */
  weighted<Name extends string> (weights: Readonly<Partial<Record<Name, number>>>): Name {
    const names = Object.entries(weights) as [Name, number][]
    let rest = this.below(names.reduce((sum, [, weight]) => sum + weight, 0))
    for (const [name, weight] of names) {
      if (rest < weight) return name
      rest -= weight
    }
    throw new Error('no weights')
  }

  /** Choices of their own for a part of the whole, so that parts do not change each other's. */
  fork (): Dice {
    return new Dice(this.below(MOST))
  }
}
