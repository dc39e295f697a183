import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import type { Test } from 'tap'

const HEAD_END = '\r\n\r\n'
const CLOSE = 8

/** A frame, right or wrong, to be put into bytes. */
export interface FrameToSend {
  readonly opcode: number
  readonly payload?: Buffer
  /** True if left out. */
  readonly fin?: boolean
  /** The three reserved bits; 4 marks a compressed message. */
  readonly rsv?: number
  /** Not masked if false. */
  readonly masked?: boolean
  /** The mask, of 4 bytes; zeros if left out, with which the payload travels as it is. */
  readonly key?: Buffer
  /** What it says of its length, if that is not true. */
  readonly length?: bigint
}

/** A frame that the server has sent. */
export interface Frame { readonly opcode: number, readonly fin: boolean, readonly rsv: number, readonly payload: Buffer }

/** Puts a frame into bytes. */
export function frame ({ opcode, payload = Buffer.alloc(0), fin = true, rsv = 0, masked = true, key = Buffer.alloc(4), length = BigInt(payload.length) }: FrameToSend): Buffer {
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode
  const mask = masked ? 0x80 : 0
  let header: Buffer
  if (length < 126n) header = Buffer.from([first, mask | Number(length)])
  else if (length < 65_536n) header = Buffer.from([first, mask | 126, Number(length >> 8n), Number(length & 255n)])
  else {
    header = Buffer.from([first, mask | 127, 0, 0, 0, 0, 0, 0, 0, 0])
    header.writeBigUInt64BE(length, 2)
  }
  if (!masked) return Buffer.concat([header, payload])
  return Buffer.concat([header, key, payload.map((byte, index) => byte ^ (key[index % 4] as number))])
}

/**
 * Takes apart what a server sent; what has not come whole is left out.
 *
 * @throws {Error} if that is nothing that a server may send
 */
export function framesIn (bytes: Buffer): Frame[] {
  const frames: Frame[] = []
  for (let at = 0; at + 2 <= bytes.length;) {
    const [first, second] = [bytes.readUInt8(at), bytes.readUInt8(at + 1)]
    if (second & 0x80) throw new Error('a server masked a frame')
    const header = second === 127 ? 10 : second === 126 ? 4 : 2
    if (at + header > bytes.length) break
    const length = second === 127 ? Number(bytes.readBigUInt64BE(at + 2)) : second === 126 ? bytes.readUInt16BE(at + 2) : second
    if (at + header + length > bytes.length) break
    const opcode = first & 15
    if (![0, 1, 2, CLOSE, 9, 10].includes(opcode)) throw new Error(`a server sent opcode ${opcode}`)
    frames.push({ opcode, fin: first >= 0x80, rsv: (first >> 4) & 7, payload: bytes.subarray(at + header, at + header + length) })
    at += header + length
  }
  return frames
}

/** A WebSocket of which all bytes are in the hands of the test. It answers nothing by itself. */
export class RawWebSocket {
  readonly socket: Socket
  /** Resolves when its TCP connection has ended, with the code of the close frame, if one came. */
  readonly closed: Promise<number | undefined>
  readonly #pieces: Buffer[] = []

  /** @param rest what came behind the head of the answer */
  constructor (socket: Socket, rest: Buffer) {
    this.socket = socket
    this.#pieces.push(rest)
    socket.on('data', (piece: Buffer) => this.#pieces.push(piece))
    const ended = new Promise((resolve) => socket.on('end', () => socket.end()).on('close', resolve))
    this.closed = ended.then(() => this.closeCode)
  }

  get frames (): Frame[] {
    return framesIn(Buffer.concat(this.#pieces))
  }

  get closeCode (): number | undefined {
    const close = this.frames.find(({ opcode }) => opcode === CLOSE)
    return close && close.payload.length >= 2 ? close.payload.readUInt16BE(0) : undefined
  }

  send (to: FrameToSend): void {
    this.socket.write(frame(to))
  }
}

/** The head of a request for a WebSocket. */
export function upgradeHead (path: string, headers: readonly string[] = []): string {
  const own = ['Host: 127.0.0.1', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==']
  return [`GET ${path} HTTP/1.1`, ...own, ...headers].join('\r\n') + HEAD_END
}

/** Opens one, and ends it with the test. */
export async function openRaw (t: Pick<Test, 'teardown'>, port: number, path = '/ws', headers: readonly string[] = []): Promise<RawWebSocket> {
  const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true })
  t.teardown(() => { socket.destroy() })
  socket.on('error', () => {})
  socket.write(upgradeHead(path, headers))
  let answer = Buffer.alloc(0)
  for (;;) {
    const end = answer.indexOf(HEAD_END)
    if (end >= 0) {
      if (!answer.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(answer.toString('latin1'))
      return new RawWebSocket(socket, answer.subarray(end + HEAD_END.length))
    }
    const [piece] = await once(socket, 'data') as [Buffer]
    answer = Buffer.concat([answer, piece])
  }
}
