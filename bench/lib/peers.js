/** The servers that are compared, each as its users would write it. */

import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { SignJWT } from 'jose'
import { bunFile, prepareBun } from './prepare/bun.js'
import { centrifugoFile, prepareCentrifugo } from './prepare/centrifugo.js'
import { redisVersion } from './prepare/redis.js'
import { prepareRocket, rocketFile } from './prepare/rocket.js'
import { HOST } from './ports.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MODULES = fileURLToPath(new URL('../node_modules/', import.meta.url))
const PEERS = fileURLToPath(new URL('../peers/', import.meta.url))

/**
 * @typedef {object} Place where to listen
 * @property {string} host
 * @property {number} port
 * @property {Record<string, string>} env
 *
 * @typedef {object} Peer
 * @property {string} name
 * @property {'plain' | 'socket.io' | 'centrifuge'} protocol
 * @property {() => Promise<string> | string} prepare builds it where that is needed; gives its version, or throws the reason why it cannot run
 * @property {(place: Place) => import('./children.js').Command} command
 * @property {boolean} [redis] it gets a Redis of its own, as REDIS_URL in its environment
 * @property {string[]} [cases] only these
 * @property {() => Promise<string>} [token] what its clients bring with them
 * @property {(port: number) => Promise<boolean>} [ready] whether it can be used, where listening does not say so
 */

/**
 * @param {string} file
 * @param {string[]} args
 */
const listening = (file, args) => (/** @type {Place} */ { host, port, env }) =>
  ({ file, args, env: { NODE_ENV: 'production', HOST: host, PORT: String(port), LOG_LEVEL: 'warn', ...env } })

/** @param {string} file */
const node = (file) => listening(process.execPath, [file])

/**
 * @param {string} path of a package.json
 * @returns {string}
 */
const versionIn = (path) => JSON.parse(readFileSync(path, 'utf8')).version

/**
 * @param {string} name
 * @param {string} file
 * @returns {Peer}
 */
const installed = (name, file) => ({
  name: file.slice(0, -'.js'.length),
  protocol: 'plain',
  prepare: () => versionIn(`${MODULES}${name}/package.json`),
  command: node(`${PEERS}${file}`)
})

/** @type {Peer} */
const fanfare = {
  name: 'fanfare',
  protocol: 'plain',
  prepare () {
    if (!existsSync(`${ROOT}dist/src/server.js`)) throw new Error('dist/src/server.js is not there: npm run build')
    return versionIn(`${ROOT}package.json`)
  },
  command: node(`${ROOT}dist/src/server.js`)
}

/**
 * The same server with its other broker.
 * @type {Peer}
 */
const fanfareRedis = {
  ...fanfare,
  name: 'fanfare-redis',
  prepare: async () => `${await fanfare.prepare()} with Redis ${await redisVersion()}`,
  redis: true,
  ready: (port) => fetch(`http://${HOST}:${port}/health/ready`).then(({ ok }) => ok, () => false)
}

/**
 * The same server by its other protocol, which is Centrifugo's.
 * @type {Peer}
 */
const fanfareCentrifuge = { ...fanfare, name: 'fanfare-centrifuge', protocol: 'centrifuge', cases: ['b', 'c', 'd'] }

const TOKEN_SECRET = 'only for the benchmark, and of 32 bytes and more'

/**
 * The same server where every client has a token, so that all that it does is asked for: what that costs.
 * @type {Peer}
 */
const fanfareTokens = {
  ...fanfare,
  name: 'fanfare-tokens',
  cases: ['b', 'h'],
  token: () => new SignJWT({ info: { name: 'Ada' } }).setProtectedHeader({ alg: 'HS256' }).setSubject('ada').setExpirationTime('1h').sign(Buffer.from(TOKEN_SECRET)),
  command: ({ env, ...place }) => node(`${ROOT}dist/src/server.js`)({ ...place, env: { ...env, TOKEN_HMAC_SECRET: TOKEN_SECRET } })
}

/** @type {Peer} */
const centrifugo = {
  name: 'centrifugo',
  protocol: 'centrifuge',
  prepare: prepareCentrifugo,
  command: ({ host, port }) => ({
    file: centrifugoFile,
    args: ['--config', `${PEERS}centrifugo.json`],
    env: { CENTRIFUGO_HTTP_SERVER_ADDRESS: host, CENTRIFUGO_HTTP_SERVER_PORT: String(port) }
  })
}

/** @type {Peer[]} */
export const peers = [
  fanfare,
  fanfareRedis,
  fanfareTokens,
  fanfareCentrifuge,
  installed('@fastify/websocket', 'fastify-websocket.js'),
  installed('ws', 'ws.js'),
  { ...installed('ws', 'floor.js'), cases: ['a'] },
  { ...installed('socket.io', 'socket-io.js'), name: 'socket.io', protocol: 'socket.io' },
  { name: 'bun', protocol: 'plain', prepare: prepareBun, command: (place) => listening(bunFile(), [`${PEERS}bun.js`])(place) },
  { name: 'rocket', protocol: 'plain', prepare: prepareRocket, command: listening(rocketFile, []) },
  centrifugo
]
