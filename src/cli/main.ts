#!/usr/bin/env node
import { Command } from 'commander'
import { description, version } from '../about.ts'
import { connectCommand } from './connect.ts'
import { serveCommand } from './serve.ts'
import { tokenCommand } from './token.ts'

await new Command('fanfare')
  .description(description)
  .version(version)
  .addCommand(serveCommand())
  .addCommand(connectCommand())
  .addCommand(tokenCommand())
  .parseAsync()
