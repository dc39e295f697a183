import neostandard from 'neostandard'

// What a layer must not know; see docs/architecture.md.
const layers = {
  'src/hub': ['fastify', '@fastify/*', 'ws', 'ioredis', '**/transports/**', '**/protocols/**', '**/api/**', '**/auth/**', '**/callbacks/**'],
  'src/transports': ['**/protocols/centrifuge/**', '**/protocols/plain.ts'],
  'src/protocols': ['fastify', '@fastify/*', 'ws', 'ioredis', '**/transports/**', '**/api/**'],
  'src/brokers': ['fastify', '@fastify/*', 'ws', '**/transports/**', '**/protocols/**'],
  'src/api': ['fastify', '@fastify/*', 'ws', 'ioredis', '**/transports/**', '**/protocols/**']
}

export default [
  ...neostandard({ ts: true, ignores: ['dist', 'coverage', '.tap', 'bench/node_modules', 'bench/results'] }),
  ...Object.entries(layers).map(([folder, group]) => ({
    files: [`${folder}/**/*.ts`],
    rules: { 'no-restricted-imports': ['error', { patterns: [{ group, message: `${folder} must not know this (docs/architecture.md)` }] }] }
  }))
]
