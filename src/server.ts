import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import closeWithGrace from 'close-with-grace'
import fastify, { type FastifyReply, type FastifyServerOptions } from 'fastify'
import { pino } from 'pino'
import fanfare from './app.ts'
import { pluginSettings, serverSettingsFrom, type PluginSettings, type ServerSettings } from './config.ts'
import { errorOf, fanfareError, SettingError } from './errors.ts'
import { keepHiddenClasses } from './hidden-classes.ts'
import { logDestination } from './log-destination.ts'
import { OpenRequests } from './open-requests.ts'
import { RequestLog } from './request-log.ts'
import { FAULT_SIGNALS, GROUP_SIGNALS, speaksForAll, WorkerLife } from './worker.ts'
import { runsWorkers, runWorkers } from './workers.ts'

// A client that has not sent the headers of its request by then is cut.
const HEADERS_TIMEOUT_MS = 6000
const CONNECTION_TIMEOUT_MS = 75_000
const REQUEST_TIMEOUT_MS = 30_000
// On a tenth of a core it loads for longer than the 10 s that Fastify waits.
const LOAD_TIMEOUT_MS = 120_000
const SERVED_TO_THE_END = ['/emulation', '/health/live', '/health/ready']
// What a stopping node takes beyond DRAIN_TIMEOUT at most.
const LAST_MOMENTS_MS = 1500

/**
 * Runs Fanfare as a process of its own, or as several workers: logger, listening, signals, graceful end. Ends the process
 * with 1 and one sentence if a setting is wrong or the port is taken.
 *
 * @param flags settings from the command line, by camelCase name; the README has them all
 */
export async function serve (flags: Record<string, unknown> = {}): Promise<void> {
  keepHiddenClasses()
  try {
    const settings = serverSettingsFrom(flags)
    if (runsWorkers(settings)) await runWorkers(settings, fastify({ logger: loggerOptions(settings) }).log)
    else await listen(settings, WorkerLife.ofThisProcess())
  } catch (error) {
    process.stderr.write(`${sentenceOf(error as NodeJS.ErrnoException)}\n`)
    process.exit(1)
  }
}

async function listen (settings: ServerSettings, worker?: WorkerLife): Promise<void> {
  const { host, port, trustProxy, drainTimeout } = settings
  const app = fastify({
    logger: loggerOptions(settings),
    logController: new RequestLog(),
    // A logger of its own for each WebSocket would be thrown away at once: the connection manager logs them.
    childLoggerFactory: (logger, bindings, options, request) => request.headers.upgrade ? logger : logger.child(bindings, options),
    // Fastify's own answers repeat the URL, which may hold a token; so does the one below for what is not found.
    frameworkErrors: (_error, _request, reply) => { (reply as FastifyReply).send(fanfareError('FANFARE_BAD_URL')) },
    trustProxy: trustProxy.length > 0 && trustProxy,
    // A client that takes nothing of its answer; longer than a connection is kept for the next request.
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    pluginTimeout: LOAD_TIMEOUT_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS, connectionsCheckingInterval: 1000 },
    // What still runs after the drain must not keep the process.
    forceCloseConnections: true,
    // The hook below does that.
    return503OnClosing: false
  })
  // Clients that are still there send their pongs and messages by requests of their own.
  app.addHook('onRequest', ({ routeOptions: { url = '' } }, _reply, done) => {
    done(app.connections.stopping && !SERVED_TO_THE_END.includes(url) ? fanfareError('FANFARE_STOPPING') : undefined)
  })
  const requests = new OpenRequests()
  // What connects is ended as a connection.
  app.addHook('preHandler', ({ ws, raw, routeOptions: { config } }, reply, done) => {
    if (!ws && !config?.connects) requests.add(raw, reply.raw)
    done()
  })
  app.setNotFoundHandler(({ method, url }) => { throw fanfareError('FANFARE_NOT_FOUND', `${method}:${url.split('?')[0]}`) })
  worker?.endConnectionsWhenLeaving(app)
  await app.register(fanfare, Object.fromEntries(Object.keys(pluginSettings).map((name) => [name, settings[name as keyof PluginSettings]])))
  let drainedBy = 0
  // After the plugin's own, which close the connections; before its `onClose`, which takes away the broker that requests may wait for.
  app.addHook('preClose', () => requests.answered(drainedBy))
  const skip = [...FAULT_SIGNALS, ...(worker ? GROUP_SIGNALS : [])]
  const end = closeWithGrace({ delay: drainTimeout * 1000 + LAST_MOMENTS_MS, logger: app.log, skip }, async ({ signal, err }) => {
    drainedBy = performance.now() + drainTimeout * 1000
    if (err) app.log.fatal({ err }, 'Stopping after an error that nobody handled')
    else app.log.info(`${signal ?? worker?.reason ?? 'End'}: closing ${app.connections.count} connections`)
    await worker?.leavePort()
    await app.close()
  })
  worker?.onDismissal(end.close)
  await worker?.readyToListen(() => app.connections.trouble)
  const address = await app.listen({ host, port, listenTextResolver: (url) => `Fanfare listens on ${url}` })
  if (settings.page && speaksForAll()) app.log.info(`The page is at ${address}/, WebSockets connect to ${address.replace('http', 'ws')}/ws`)
}

function loggerOptions ({ logLevel: level, workers }: ServerSettings): FastifyServerOptions['logger'] {
  const serializers = { err: withoutPacket }
  // On a terminal it matters which process says something only if there are several.
  const ignore = workers === 1 ? 'pid,hostname' : 'hostname'
  if (process.stdout.isTTY) return { level, serializers, transport: { target: 'pino-pretty', options: { ignore, translateTime: 'SYS:HH:MM:ss', singleLine: true } } }
  return { level, serializers, stream: logDestination() }
}

// What a client sent that is no HTTP may hold a token.
function withoutPacket (error: unknown): pino.SerializedError {
  const { rawPacket, ...facts } = pino.stdSerializers.err(errorOf(error))
  return facts as pino.SerializedError
}

function sentenceOf (error: NodeJS.ErrnoException & { port?: number, address?: string }): string {
  if (error instanceof SettingError || error.code === 'FANFARE_UNAVAILABLE') return error.message
  if (error.code === 'EADDRINUSE') return `PORT ${error.port} is taken on ${error.address}: stop what listens there, or set another PORT`
  if (error.code === 'EACCES' && error.port !== undefined) return `PORT ${error.port} may not be used by this user: take one above 1023`
  if (['EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN', 'EINVAL'].includes(error.code ?? '') && error.syscall !== undefined) return `HOST is no address of this machine: ${error.message}`
  return error.stack ?? String(error)
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await serve()
