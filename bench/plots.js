#!/usr/bin/env node
/** Draws the plots again from the JSON file of a run: `npm run plots [-- FILE]`. */

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { drawPlots } from './lib/plots.js'
import { LATEST } from './lib/save.js'

const file = process.argv[2] === undefined ? LATEST : resolve(process.env.INIT_CWD ?? '.', process.argv[2])
drawPlots(JSON.parse(readFileSync(file, 'utf8')), (line) => process.stderr.write(line + '\n'))
