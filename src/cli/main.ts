#!/usr/bin/env node
import { createRequire } from 'node:module'
import { Command } from 'commander'
import { connectCommand } from './connect.ts'
import { serveCommand } from './serve.ts'
import { tokenCommand } from './token.ts'

const { version, description } = createRequire(import.meta.url)('fanfare/package.json') as { version: string, description: string }

await new Command('fanfare')
  .description(description)
  .version(version)
  .addCommand(serveCommand())
  .addCommand(connectCommand())
  .addCommand(tokenCommand())
  .parseAsync()
