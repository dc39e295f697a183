import type { Subscription } from './channel.ts'

const NONE: readonly Buffer[] = []

/** What a subscriber is told once it has been brought to a number of its channel's log. */
export interface WaitingAnswer {
  readonly bytes: Buffer
  /** That number; of those that wait, none is smaller than the one before. */
  readonly after: number
}

/** Lets an answer wait for all that its channel has for the subscriber so far; false if that is nothing. */
export function letWait (subscription: Subscription, bytes: Buffer): boolean {
  const { channel: { end }, next } = subscription
  if (next >= end) return false
  subscription.answers ??= []
  subscription.answers.push({ bytes, after: end })
  return true
}

/** Takes the answers that wait for nothing more. */
export function takeAnswers (subscription: Subscription): readonly Buffer[] {
  const { next, answers } = subscription
  if (!answers) return NONE
  const later = answers.findIndex(({ after }) => after > next)
  const ready = later < 0 ? answers : answers.splice(0, later)
  if (ready === answers) subscription.answers = undefined
  return ready.map(({ bytes }) => bytes)
}
