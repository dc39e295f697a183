import { Type } from 'typebox'
import { historyParams, mustKeepHistory, readHistory } from '../centrifugo/history.ts'
import { restText, valueText } from '../centrifugo/values.ts'
import type { Publication } from '../hub/publication.ts'
import { inTurns } from './in-turns.ts'
import { method } from './method.ts'

/** `history`: where a channel stands and, with a limit, what it keeps. */
export const history = method(historyParams, async ({ connections, budget }, params) => {
  const { publications, position: { epoch, offset } } = await readHistory(connections, budget, params)
  const texts = await inTurns(publications, 1, textOf)
  return `{"publications":[${texts.join(',')}],"epoch":${JSON.stringify(epoch)},"offset":${offset}}`
})

/** `history_remove`: forgets what a channel keeps, but not where it stands. */
export const historyRemove = method(Type.Object({ channel: Type.String() }), async ({ connections }, { channel }) => {
  mustKeepHistory(connections, channel)
  await connections.removeHistory(channel)
  return {}
})

function textOf (publication: Publication): string {
  const { kind, data } = publication
  return `{${kind === 'binary' ? `"b64data":"${data.toString('base64')}"` : `"data":${valueText(publication)}`}${restText(publication)}}`
}
