import { Type } from 'typebox'
import { clientInfo, positionFields, restText, valueText } from '../../centrifugo/values.ts'
import type { Publication } from '../../hub/publication.ts'
import { depthRefusal } from '../../json-depth.ts'
import { compile, firstError } from '../../json-schema.ts'
import type { Message } from '../protocol.ts'
import type { Codec, Emulated, Result } from './codec.ts'
import { commandIn, type Command } from './commands.ts'

const PING = '{}'

/** The protocol in JSON: a message holds commands, one in each line. */
export const json: Codec<string> = {
  name: 'json',
  protocol: {
    name: 'centrifuge in JSON',
    encode: (channel, publication) => push(channel, 'pub', publicationText(publication)),
    encodeEnd: (channel, end) => push(channel, 'unsubscribe', JSON.stringify(end)),
    encodePlaced: (channel, position, recoverable, data) => push(channel, 'subscribe', JSON.stringify({ ...positionFields(position, recoverable), data }))
  },
  ping: messageOf(PING),
  split: ({ data, binary }) => binary ? [] : data.toString().split('\n').map((line) => line.trim()).filter(Boolean),
  isPong: (line) => line === PING,
  read: commandOf,
  reply: (id, name, result) => messageOf(`{"id":${id},"${name}":${resultText(result)}}`),
  refuse: (id, error) => messageOf(JSON.stringify({ id, error })),
  disconnect: (disconnect) => messageOf(JSON.stringify({ push: { disconnect } })),
  readEmulated
}

const checkEmulated = compile(Type.Object({ node: Type.String(), session: Type.String(), data: Type.String() }))

function readEmulated (body: Buffer): Emulated | string {
  try {
    const emulated = JSON.parse(body.toString()) as { node: string, session: string, data: string }
    return checkEmulated(emulated) ? { ...emulated, data: Buffer.from(emulated.data) } : firstError(checkEmulated).trim()
  } catch {
    return 'it is not JSON'
  }
}

function commandOf (line: string): Command | string {
  const refusal = depthRefusal(line)
  if (refusal !== undefined) return refusal
  try {
    const command = JSON.parse(line) as Record<string, unknown> | null
    return typeof command === 'object' && command !== null ? commandIn(command) : 'a command is an object'
  } catch {
    return 'it is not JSON'
  }
}

function resultText ({ subs, publications, presence, data, ...rest }: Result): string {
  const fields = [JSON.stringify(rest).slice(1, -1)]
  const text = JSON.stringify(data instanceof Uint8Array ? Buffer.from(data).toString('base64') : data)
  if (text !== undefined) fields.push(`"data":${text}`)
  if (subs) fields.push(`"subs":{${Object.entries(subs).map(([channel, sub]) => `${JSON.stringify(channel)}:${resultText(sub)}`).join(',')}}`)
  if (publications) fields.push(`"publications":[${publications.map(publicationText).join(',')}]`)
  if (presence) fields.push(`"presence":${JSON.stringify(Object.fromEntries(presence.map((member) => [member.client, clientInfo(member)])))}`)
  return `{${fields.filter(Boolean).join(',')}}`
}

// JSON has no bytes: they are base64.
function publicationText (publication: Publication): string {
  const { kind, data } = publication
  return `{"data":${kind === 'binary' ? `"${data.toString('base64')}"` : valueText(publication)}${restText(publication)}}`
}

function push (channel: string, kind: string, text: string): Message {
  return messageOf(`{"push":{"channel":${JSON.stringify(channel)},"${kind}":${text}}}`)
}

function messageOf (text: string): Message {
  return { data: Buffer.from(text), binary: false }
}
