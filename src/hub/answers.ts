import type { Subscription } from './channel.ts'

const NONE: readonly Buffer[] = []

/** What a subscriber is told once it has been brought to that number of its channel's log. */
export interface WaitingAnswer {
  readonly bytes: Buffer
  readonly after: number
}

/** Lets an answer wait for what its channel has for the subscriber so far; false if that is nothing. */
export function letWait (subscription: Subscription, bytes: Buffer): boolean {
  const { channel: { end }, next } = subscription
  if (next >= end) return false
  subscription.answers ??= []
  subscription.answers.push({ bytes, after: end })
  return true
}

/** Takes the answers that nothing is to come before any more: those that wait for a number up to this. */
export function takeAnswers (subscription: Subscription, to = subscription.next): readonly Buffer[] {
  const { answers } = subscription
  if (!answers) return NONE
  const later = answers.filter(({ after }) => after > to)
  subscription.answers = later.length > 0 ? later : undefined
  return answers.slice(0, answers.length - later.length).map(({ bytes }) => bytes)
}
