import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { bare } from './process.ts'

const MANY = 100

// Node's own Socket reads its options through here.
const program = `
import { createServer, connect } from 'node:net'
import stream from 'node:stream'
const { keepHiddenClasses } = await import('./dist/src/hidden-classes.js')
keepHiddenClasses()
const seen = []
const { Duplex } = stream
stream.Duplex = { prototype: Duplex.prototype, call (socket, options) { if (options.handle) seen.push(options); Duplex.call(socket, options) } }
const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1', async () => {
  for (let count = 0; count < ${MANY}; count++) await new Promise((resolve) => connect(server.address().port, '127.0.0.1').resume().on('close', resolve))
  server.close()
  console.log(seen.length, seen.slice(1).every((options) => %HaveSameMap(options, seen[0])))
})`

t.test('accepted sockets had options of a hidden class of their own each (Node 20)', async (t) => {
  const { stdout } = await promisify(execFile)(...bare(process.execPath, ['--allow-natives-syntax', '--input-type=module', '--eval', program]))
  t.equal(stdout, `${MANY} true\n`)
})
