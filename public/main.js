/* global addEventListener, history, location */
/** Puts the parts of the page together; each part knows one thing and none of the others. */
import { Announcer } from './announcer.js'
import { sentenceOf } from './close-codes.js'
import { Composer } from './composer.js'
import { Connection, INSUFFICIENT_STATE, TOKEN_NEEDED } from './connection.js'
import { Echoes } from './echoes.js'
import { count, duration, plural } from './format.js'
import { Health } from './health.js'
import { MessageList } from './message-list.js'
import { Presence } from './presence.js'
import { RateChart, RateMeter } from './rate-chart.js'
import { StatusBar, explain } from './status-bar.js'
import { setToken } from './token.js'

const $ = (id) => document.getElementById(id)
const DEFAULT_CHANNEL = 'broadcast'

let total = 0
let sent = 0

const echoes = new Echoes()
const meter = new RateMeter()
const chart = new RateChart($('chart'))
const announcer = new Announcer($('announcer'))
const statusBar = new StatusBar({ bar: $('status-bar'), word: $('status-word'), detail: $('status-detail'), retry: $('retry'), countdown: $('countdown') })
const list = new MessageList({ log: $('log'), rows: $('rows'), latest: $('latest'), empty: $('empty'), onFrame: showFigures })
const health = new Health(showHealth)
const presence = new Presence({ panel: $('presence'), count: $('present'), note: $('users'), members: $('members') }, (words) => announcer.say(words))
const connection = new Connection({ onState: changed, onMessage: received, onRecovered: recovered })
const composer = new Composer({
  form: $('composer'), message: $('message'), send: $('send'), chooseFile: $('choose-file'), file: $('file'), problem: $('problem')
}, transmit)

function transmit (data) {
  if (!connection.send(data)) return false
  echoes.sent(data)
  sent += 1
  list.toEnd()
  list.schedule()
  return true
}

function received (data, when) {
  total += 1
  const live = when === 'new'
  if (live) meter.count()
  const roundTrip = live ? echoes.received(data) : undefined
  const own = roundTrip !== undefined || (!live && echoes.recovered(data))
  list.add({ kind: typeof data === 'string' ? 'text' : 'binary', data, at: Date.now(), when, own, roundTrip })
  if (when === 'earlier') announcer.earlier()
  else if (!own) announcer.heard(data)
}

function notice (text, loss = false) {
  list.add({ kind: 'notice', data: text, at: Date.now(), loss })
}

/** What was sent over an earlier connection and has not come back by now does not come any more. */
function recovered () {
  const lost = echoes.abandon(connection.openedAt)
  if (lost > 0) notice(notBack(lost))
}

const notBack = (lost) => `${plural(lost, 'message')} had not come back and may be lost`

function changed () {
  const { state, channel, lastClose } = connection
  const lossy = lastClose?.code === INSUFFICIENT_STATE
  if (state === 'connecting' && !connection.resumes) echoes.abandon()
  if (state === 'open' && !lossy) notice(`Connected to ${channel}`)
  if (state === 'open') presence.watch(channel)
  if ((state === 'closed' || state === 'waiting') && lastClose?.opened && !lastClose.noted) {
    lastClose.noted = true
    const lost = state === 'waiting' && connection.resumes ? 0 : echoes.abandon()
    notice((lossy ? `${sentenceOf(lastClose)} (code ${lastClose.code})` : explain(lastClose)) + (lost > 0 ? `. ${notBack(lost)}` : ''), lossy)
  }
  if (state === 'closed' && lastClose?.code === TOKEN_NEEDED) askForToken()
  statusBar.show(connection)
  composer.setReady(state === 'open')
  showButtons()
  if (state === 'waiting' && !lastClose.opened) sayWhy(lastClose)
  else if (state !== 'connecting' && state !== 'closing') health.ask()
  list.schedule()
}

/** Most servers need none, so that there is no field for it before. */
function askForToken () {
  $('token-field').hidden = false
  $('token').select()
  $('token').focus()
}

/** A browser hides why an attempt failed; whether the server answers at all is half of the reason. */
async function sayWhy (close) {
  const answers = await health.ask()
  close.hint ??= answers ? 'the server is there but refused' : navigator.onLine ? 'the server does not answer' : 'this device is offline'
  if (connection.lastClose === close && connection.state === 'waiting') statusBar.show(connection)
}

function open () {
  const channel = $('channel').value.trim() || DEFAULT_CHANNEL
  $('channel').value = channel
  if (channel !== connection.channel) startChannel(channel)
  setToken($('token').value)
  connection.connect(channel)
}

/** Another channel starts from nothing, and the address of the page leads to it. */
function startChannel (channel) {
  total = sent = 0
  echoes.reset()
  list.clear()
  presence.leave()
  const url = new URL(location)
  url.searchParams.set('channel', channel)
  history.replaceState(null, '', url)
  document.title = `${channel} · Fanfare`
  $('messages-title').textContent = `Messages in ${channel}`
  $('command').textContent = `npx fanfare connect '${Connection.urlOf(channel)}'`
}

/** Only buttons that do something are there; the focus moves on when the one that has it goes. */
function showButtons () {
  const busy = connection.state !== 'closed' && connection.state !== 'closing'
  const elsewhere = ($('channel').value.trim() || DEFAULT_CHANNEL) !== connection.channel
  const connect = $('connect')
  const disconnect = $('disconnect')
  const focused = document.activeElement
  connect.hidden = busy && !elsewhere
  disconnect.hidden = !busy
  if (focused === connect && connect.hidden) disconnect.focus()
  if (focused === disconnect && disconnect.hidden) connect.focus()
  if (focused === $('retry-now') && connection.state !== 'waiting') $('message').focus()
}

/** The figures that change with messages; called once per frame at most. */
function showFigures () {
  write($('total'), count(total)).dataset.total = total
  write($('sent'), `${count(sent)} sent from here`)
  write($('summary'), total === 0 ? 'none yet' : list.full ? `last ${count(list.length)} of ${count(total)}` : plural(total, 'message'))
  write($('on-their-way'), echoes.onTheirWay > 0 ? `${count(echoes.onTheirWay)} on their way` : '').dataset.count = echoes.onTheirWay
  const roundTrip = echoes.roundTrip
  write($('round-trip'), roundTrip ? duration(roundTrip.median) : '–')
  write($('round-trip-note'), roundTrip ? `median of ${roundTrip.count}` : 'send to measure')
}

function showHealth (answer) {
  if (answer?.maxMessageBytes) composer.setLimit(answer.maxMessageBytes)
  write($('connections'), answer ? count(answer.connections) : '–')
  write($('channels'), answer ? `in ${plural(answer.channels, 'channel')}` : 'the server does not say')
}

/** Same text, no work: most figures stay as they are in most frames. */
function write (element, text) {
  if (element.textContent !== text) element.textContent = text
  return element
}

$('connect-form').addEventListener('submit', (event) => {
  event.preventDefault()
  open()
})
$('disconnect').addEventListener('click', () => connection.disconnect())
$('retry-now').addEventListener('click', () => connection.retryNow())
$('channel').addEventListener('input', showButtons)
$('clear').addEventListener('click', () => list.clear())
// The network is back, or somebody looks again: no reason to wait any longer.
addEventListener('online', () => connection.retryNow())
document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') connection.retryNow() })

setInterval(() => {
  if (document.visibilityState === 'hidden') return
  const counts = meter.read()
  write($('rate'), count(counts.at(-1))).dataset.rate = counts.at(-1)
  chart.show(counts)
}, 1_000)

$('channel').value = new URL(location).searchParams.get('channel') || DEFAULT_CHANNEL
// On a small screen `autofocus` would scroll the connection out of sight.
$('message').focus({ preventScroll: true })
open()
