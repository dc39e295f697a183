import type { Readable } from 'node:stream'

const NEWLINE = 0x0a
const RETURN = 0x0d

/** The longest line that is taken, in bytes: what waits for its end must be bounded. */
const MAX_LINE_BYTES = 16 * 1024 * 1024

/**
 * Splits a stream of bytes into lines, without their `\n` or `\r\n`. An empty line is an empty Buffer; what
 * stands after the last newline is a line too, unless it is empty. The stream is read only as fast as lines
 * are taken, and is destroyed when the taker stops early.
 *
 * node:readline is not used: its async iterator loses lines that arrive before the first `await` and reads
 * ahead without limit, and it cannot hand out bytes that are not UTF-8.
 *
 * @param input Where the bytes come from, for instance process.stdin.
 * @param maxBytes The longest line allowed; 16 MiB by default.
 * @throws {RangeError} For a longer line; and whatever error the stream ends with.
 */
export async function * readLines (input: Readable, maxBytes = MAX_LINE_BYTES): AsyncGenerator<Buffer> {
  let parts: Buffer[] = []
  let length = 0
  for await (const chunk of input as AsyncIterable<Buffer>) {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      parts.push(chunk.subarray(start, end))
      yield withoutReturn(join(parts))
      parts = []
      length = 0
      start = end + 1
    }
    if (start === chunk.length) continue
    parts.push(chunk.subarray(start))
    length += chunk.length - start
    if (length > maxBytes) throw new RangeError(`a line is longer than ${maxBytes} bytes`)
  }
  if (length > 0) yield join(parts)
}

function join (parts: Buffer[]): Buffer {
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
}

function withoutReturn (line: Buffer): Buffer {
  return line.at(-1) === RETURN ? line.subarray(0, -1) : line
}
