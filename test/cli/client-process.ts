import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import type { Test } from 'tap'
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws'
import { bare } from '../process.ts'

/** A `fanfare connect` of its own process, and what it has printed so far. */
export class ClientProcess {
  readonly child: ChildProcess
  readonly stdin: Writable
  readonly stdout: Readable
  /** Resolves with the exit code once everything has been read; null after a deadly signal. */
  readonly exit: Promise<number | null>
  readonly #out: Buffer[] = []
  #err = ''

  constructor (child: ChildProcess) {
    this.child = child
    this.stdin = child.stdin!
    this.stdout = child.stdout!
    this.stdin.on('error', () => {})
    child.stderr?.on('data', (chunk: Buffer) => { this.#err += String(chunk) })
    this.exit = once(child, 'close').then(([code]) => code as number | null)
  }

  /** What has come from stdout, once `collect` was called. */
  get bytes (): Buffer {
    return Buffer.concat(this.#out)
  }

  get out (): string {
    return String(this.bytes)
  }

  get err (): string {
    return this.#err
  }

  /** Begins to read stdout. */
  collect (): this {
    this.stdout.on('data', (chunk: Buffer) => { this.#out.push(chunk) })
    return this
  }

  /** Resolves once stdout holds this text. */
  async prints (text: string): Promise<void> {
    while (!this.out.includes(text)) await once(this.stdout, 'data')
  }

  /** Resolves once stderr holds this text. */
  async notes (text: string): Promise<void> {
    while (!this.err.includes(text)) await once(this.child.stderr!, 'data')
  }

  /** Resolves with the exit code and what was printed. */
  async ends (): Promise<{ code: number | null, out: string, err: string }> {
    const code = await this.exit
    return { code, out: this.out, err: this.err }
  }

  /** The largest memory that the process has had until now, in MiB; 0 when it is gone. */
  get peakMemory (): number {
    try {
      const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8')
      return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
    } catch {
      return 0
    }
  }
}

/** Runs the built client with pipes as stdin, stdout and stderr, and ends it with the test. */
export function runClient (t: Test, args: string[], env: NodeJS.ProcessEnv = {}): ClientProcess {
  return runUnread(t, args, env).collect()
}

/** The same, with stdout left unread until `collect` is called. */
export function runUnread (t: Test, args: string[], env: NodeJS.ProcessEnv = {}): ClientProcess {
  return spawned(t, process.execPath, ['dist/src/cli/main.js', 'connect', ...args], env)
}

/** The same, for tests that measure memory: without what is not the client's. */
export function runBare (t: Test, args: string[]): ClientProcess {
  return spawned(t, ...bare(process.execPath, ['dist/src/cli/main.js', 'connect', ...args]))
}

/** A client in a pseudo-terminal, and the shell around it, which shows its exit code on the screen. */
class TerminalClient {
  readonly stdin: Writable
  readonly #script: ClientProcess

  constructor (script: ClientProcess) {
    this.#script = script
    this.stdin = script.stdin
  }

  /** What the client has shown. */
  get out (): string {
    return this.#script.out.replace(EXIT_LINE, '')
  }

  get running (): boolean {
    return !EXIT_LINE.test(this.#script.out)
  }

  async prints (text: string): Promise<void> {
    await this.#script.prints(text)
  }

  /** Resolves with the exit code once the client has ended. */
  async ended (): Promise<number> {
    while (this.running) await once(this.#script.stdout, 'data')
    return Number(EXIT_LINE.exec(this.#script.out)?.[1])
  }
}

const EXIT_LINE = /<exit (\d+)>\r\n$/

/** Runs the built client in a pseudo-terminal: what its stdin gets is typed, its stdout is the screen. */
export function runInTerminal (t: Test, args: string[]): TerminalClient {
  const command = [process.execPath, 'dist/src/cli/main.js', 'connect', ...args].map((word) => `'${word}'`).join(' ')
  // The exit code of `script` itself is 1 at times, when the terminal goes away while it reads from it.
  return new TerminalClient(spawned(t, 'script', ['-qc', `trap : INT; ${command}; echo "<exit $?>"; read stay`, '/dev/null']).collect())
}

function spawned (t: Test, command: string, args: string[], env: NodeJS.ProcessEnv = {}): ClientProcess {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
  const client = new ClientProcess(child)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await client.exit
  })
  return client
}

/** A WebSocket server that is not Fanfare. It does nothing with what it gets unless told to. */
export async function foreignServer (t: Test, onConnection: (socket: WebSocket, server: WebSocketServer) => void = () => {}, options: ServerOptions = {}): Promise<{ server: WebSocketServer, url: string }> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options })
  server.on('connection', (socket) => {
    socket.on('error', () => {})
    onConnection(socket, server)
  })
  t.teardown(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  await once(server, 'listening')
  return { server, url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** What a foreign server does to be a broadcast server: everyone gets everything. */
export function broadcasting (socket: WebSocket, server: WebSocketServer): void {
  socket.on('message', (data: Buffer, binary) => {
    for (const client of server.clients) client.send(data, { binary })
  })
}
