import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import closeWithGrace from 'close-with-grace'
import fastify, { type FastifyInstance } from 'fastify'
import fanfare from './app.ts'
import { pluginSettings, serverSettingsFrom, type PluginSettings, type ServerSettings } from './config.ts'
import { SettingError } from './errors.ts'
import { RequestLog } from './request-log.ts'

// A client that has not sent the headers of its request by then is cut.
const HEADERS_TIMEOUT_MS = 6000
const REQUEST_TIMEOUT_MS = 30_000
// What a stopping node takes beyond DRAIN_TIMEOUT at most.
const LAST_MOMENTS_MS = 1500

/**
 * Runs Fanfare as a process of its own: logger, listening, signals, graceful end.
 *
 * @param flags settings from the command line, by camelCase name; see docs/settings.md
 * @returns the listening app; or ends the process with 1 and one sentence if a setting is wrong or the port is taken
 */
export async function serve (flags: Record<string, unknown> = {}): Promise<FastifyInstance> {
  try {
    return await listen(serverSettingsFrom(flags))
  } catch (error) {
    process.stderr.write(`${sentenceOf(error as NodeJS.ErrnoException)}\n`)
    process.exit(1)
  }
}

async function listen (settings: ServerSettings): Promise<FastifyInstance> {
  const { host, port, logLevel, trustProxy, drainTimeout } = settings
  const app = fastify({
    logger: { level: logLevel, ...(process.stdout.isTTY && { transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss', singleLine: true } } }) },
    logController: new RequestLog(),
    // A logger of its own for each WebSocket would be thrown away at once: the connection manager logs them.
    childLoggerFactory: (logger, bindings, options, request) => request.headers.upgrade ? logger : logger.child(bindings, options),
    trustProxy: trustProxy.length > 0 && trustProxy,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS, connectionsCheckingInterval: 1000 },
    // What still runs after the drain must not keep the process.
    forceCloseConnections: true
  })
  await app.register(fanfare, Object.fromEntries(Object.keys(pluginSettings).map((name) => [name, settings[name as keyof PluginSettings]])))
  closeWithGrace({ delay: drainTimeout * 1000 + LAST_MOMENTS_MS, logger: app.log }, async ({ signal, err }) => {
    if (err) app.log.fatal({ err }, 'Stopping after an error that nobody handled')
    else app.log.info(`${signal ?? 'End'}: closing ${app.connections.count} connections`)
    await app.close()
  })
  const address = await app.listen({ host, port, listenTextResolver: (url) => `Fanfare listens on ${url}` })
  if (settings.page) app.log.info(`The page is at ${address}/, WebSockets connect to ${address.replace('http', 'ws')}/ws`)
  app.log.warn(`Open mode: everyone who can reach ${address} may read and write every channel`)
  return app
}

function sentenceOf (error: NodeJS.ErrnoException & { port?: number, address?: string }): string {
  if (error instanceof SettingError) return error.message
  if (error.code === 'EADDRINUSE') return `PORT ${error.port} is taken on ${error.address}: stop what listens there, or set another PORT`
  if (error.code === 'EACCES' && error.port !== undefined) return `PORT ${error.port} may not be used by this user: take one above 1023`
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') return `HOST is no address of this machine: ${error.message}`
  return error.stack ?? String(error)
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await serve()
