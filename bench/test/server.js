import { fileURLToPath } from 'node:url'

/**
 * A server of this folder.
 * @param {string} name of its file
 * @param {'plain' | 'centrifuge'} protocol
 * @param {Record<string, string>} env
 * @returns {import('../lib/peers.js').Peer}
 */
export const server = (name, protocol, env = {}) => ({
  name,
  protocol,
  prepare: () => '',
  command: (place) => ({
    file: process.execPath,
    args: [fileURLToPath(new URL(`./${name}.js`, import.meta.url))],
    env: { HOST: place.host, PORT: String(place.port), ...env }
  })
})
