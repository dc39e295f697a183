import secureParse from 'secure-json-parse'
import { fanfareError } from '../errors.ts'
import { depthRefusal } from '../json-depth.ts'
import { MAX_ENTRIES } from './method.ts'

/**
 * Reads the parameters of a method.
 *
 * @param text empty: none
 * @throws {FanfareError} FANFARE_BAD_JSON
 */
export function paramsIn (text: string | undefined): unknown {
  return parse(text || '{}')
}

/**
 * Reads commands of the old form: one JSON document, or one in each line.
 *
 * @throws {FanfareError} FANFARE_BAD_JSON
 */
export function commandsIn (text: string | undefined): unknown[] {
  const lines = (text ?? '').split('\n').filter((line) => line.trim() !== '')
  try {
    return [parse(text ?? '')]
  } catch (error) {
    if (lines.length < 2) throw error
  }
  if (lines.length > MAX_ENTRIES) throw fanfareError('FANFARE_BAD_JSON', `at most ${MAX_ENTRIES} commands at once, got ${lines.length} lines`)
  return lines.map(parse)
}

function parse (text: string): unknown {
  const refusal = depthRefusal(text)
  if (refusal !== undefined) throw fanfareError('FANFARE_BAD_JSON', refusal)
  try {
    return secureParse(text)
  } catch (error) {
    const { message } = error as Error
    throw fanfareError('FANFARE_BAD_JSON', message === 'Object contains forbidden prototype property' ? 'a key __proto__, or constructor with prototype, is refused' : message)
  }
}
