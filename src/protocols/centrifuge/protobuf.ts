import { Reader } from 'protobufjs'
import type { Member } from '../../brokers/broker.ts'
import { jsonIn, positionFields, publisherOf } from '../../centrifugo/values.ts'
import type { Publication } from '../../hub/publication.ts'
import type { Message } from '../protocol.ts'
import type { Codec, Emulated, Result } from './codec.ts'
import { commandIn, commandNames, type Command } from './commands.ts'
import { commandType, emulationType, replyType } from './schema.ts'

/** The protocol in Protobuf: a message holds commands, each after its length. */
export const protobuf: Codec<Uint8Array> = {
  name: 'protobuf',
  protocol: {
    name: 'centrifuge in Protobuf',
    encode: (channel, publication) => messageOf({ push: { channel, pub: publicationOf(publication) } }),
    encodeEnd: (channel, unsubscribe) => messageOf({ push: { channel, unsubscribe } }),
    encodePlaced: (channel, position, recoverable, data) => messageOf({ push: { channel, subscribe: resultOf({ ...positionFields(position, recoverable), data }) } })
  },
  ping: messageOf({}),
  split,
  isPong: ({ length }) => length === 0,
  read,
  reply: (id, name, result) => messageOf({ id, [name]: resultOf(result) }),
  refuse: (id, error) => messageOf({ id, error }),
  disconnect: (disconnect) => messageOf({ push: { disconnect } }),
  readEmulated
}

function readEmulated (body: Buffer): Emulated | string {
  try {
    const { node, session, data } = emulationType.toObject(emulationType.decode(body), { defaults: true, bytes: Buffer })
    return { node, session, data }
  } catch {
    return 'it is not Protobuf'
  }
}

function split ({ data, binary }: Message): readonly Uint8Array[] {
  if (!binary) return []
  const pieces: Uint8Array[] = []
  try {
    const reader = Reader.create(data)
    while (reader.pos < reader.len) {
      const length = reader.uint32()
      const start = reader.pos
      reader.skip(length)
      pieces.push(data.subarray(start, start + length))
    }
    return pieces
  } catch {
    return []
  }
}

function read (piece: Uint8Array): Command | string {
  let command: Record<string, unknown>
  try {
    command = commandType.toObject(commandType.decode(piece), { longs: Number })
  } catch {
    return 'it is not Protobuf'
  }
  for (const name of commandNames) {
    const params = command[name] as { data?: unknown } | undefined
    // What is published stays as it is.
    if (params?.data instanceof Uint8Array && name !== 'publish') params.data = valueIn(params.data)
  }
  return commandIn(command)
}

function valueIn (bytes: Uint8Array): unknown {
  const text = jsonIn(bytes)
  return text === undefined ? bytes : JSON.parse(text)
}

function resultOf ({ subs, publications, presence, data, ...rest }: Result): object {
  return {
    ...rest,
    ...subs && { subs: Object.fromEntries(Object.entries(subs).map(([channel, sub]) => [channel, resultOf(sub)])) },
    ...publications && { publications: publications.map(publicationOf) },
    ...presence && { presence: Object.fromEntries(presence.map((member) => [member.client, infoOf(member)])) },
    ...data !== undefined && { data: bytesOf(data) }
  }
}

function publicationOf (publication: Publication): object {
  const { data, position, tags } = publication
  const info = publisherOf(publication)
  return { data, ...info && { info: infoOf(info) }, ...position && { offset: position.offset }, ...tags && { tags } }
}

function infoOf ({ user, client, info, channelInfo }: Member): object {
  return { user, client, ...info !== undefined && { conn_info: bytesOf(info) }, ...channelInfo !== undefined && { chan_info: bytesOf(channelInfo) } }
}

// Values travel as JSON, bytes as they are.
function bytesOf (value: unknown): Uint8Array {
  return value instanceof Uint8Array ? value : Buffer.from(JSON.stringify(value) ?? '')
}

function messageOf (reply: object): Message {
  return { data: replyType.encodeDelimited(reply).finish() as Buffer, binary: true }
}
