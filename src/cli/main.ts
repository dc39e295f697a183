#!/usr/bin/env node
import { Command } from 'commander'
import { description, version } from '../about.ts'
import { connectCommand } from './connect.ts'
import { serveCommand } from './serve.ts'
import { tokenCommand } from './token.ts'

// Whoever read the output may have gone, as `head` does. Who writes much listens itself.
process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => { if (code !== 'EPIPE') process.exitCode = 1 })

await new Command('fanfare')
  .description(description)
  .version(version)
  .addCommand(serveCommand())
  .addCommand(connectCommand())
  .addCommand(tokenCommand())
  .parseAsync()
