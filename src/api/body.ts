import { fanfareError } from '../errors.ts'
import { MAX_ENTRIES } from './method.ts'

/** Parses JSON, and throws if it is none or holds keys that must not be. */
type ParseJson = (text: string) => unknown

/**
 * Reads the parameters of a method.
 *
 * @param text empty: none
 * @throws {FanfareError} FANFARE_BAD_JSON
 */
export function paramsIn (text: string | undefined, parse: ParseJson): unknown {
  return parseOrSay(text || '{}', parse)
}

/**
 * Reads commands of the old form: one JSON document, or one in each line.
 *
 * @throws {FanfareError} FANFARE_BAD_JSON
 */
export function commandsIn (text: string | undefined, parse: ParseJson): unknown[] {
  const lines = (text ?? '').split('\n').filter((line) => line.trim() !== '')
  try {
    return [parseOrSay(text ?? '', parse)]
  } catch (error) {
    if (lines.length < 2) throw error
  }
  if (lines.length > MAX_ENTRIES) throw fanfareError('FANFARE_BAD_JSON', `at most ${MAX_ENTRIES} commands at once, got ${lines.length} lines`)
  return lines.map((line) => parseOrSay(line, parse))
}

function parseOrSay (text: string, parse: ParseJson): unknown {
  try {
    return parse(text)
  } catch {
    throw fanfareError('FANFARE_BAD_JSON', whatIsWrong(text))
  }
}

function whatIsWrong (text: string): string {
  try {
    JSON.parse(text)
    return 'a key __proto__, or constructor with prototype, is refused'
  } catch (error) {
    return (error as Error).message
  }
}
