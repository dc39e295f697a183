import { fanfareError, type FanfareError } from '../errors.ts'
import type { Peer } from './connection.ts'

/**
 * Who may do something with a channel: `everyone`; `authenticated`: who has a user id; `subscribers`: who is in the
 * channel; `token`: whose token names the channel; `server`: only code and the server API; `none`: nobody, not even these.
 */
export const permissions = ['everyone', 'authenticated', 'subscribers', 'token', 'server', 'none'] as const
export type Permission = typeof permissions[number]

/** What a connection may want to do with a channel. */
export type Action = 'subscribe' | 'publish' | 'presence' | 'history'
export type Permissions = Readonly<Record<Action, Permission>>

/** Where everyone may do everything: no token is asked for. */
export const openPermissions: Permissions = { subscribe: 'everyone', publish: 'everyone', presence: 'everyone', history: 'everyone' }
/** Where connections have tokens. */
export const securePermissions: Permissions = { subscribe: 'authenticated', publish: 'subscribers', presence: 'subscribers', history: 'subscribers' }

/** Channels that only those hear whose token names them begin with it. */
const PRIVATE = '$'
/** What comes after it in the name of a channel are the only users that may hear it, separated by commas. */
const USERS = '#'

const verbs: Record<Action, string> = { subscribe: 'hear', publish: 'publish to', presence: 'see who is in', history: 'read the history of' }
const sentences: Record<Permission, string> = {
  everyone: '',
  authenticated: 'a token with a user (sub) is needed',
  subscribers: 'only who is in the channel may',
  token: 'a token that names the channel is needed',
  server: 'only the server may',
  none: 'nobody may'
}

/**
 * Says why somebody may not do something with a channel, if so.
 *
 * @param permission what the channel's rule says of this action
 * @param subscribed whether this is somebody who is in the channel
 * @returns FANFARE_FORBIDDEN, or nothing
 */
export function refusalBy (permission: Permission, action: Action, channel: string, peer: Peer, subscribed: boolean): FanfareError | undefined {
  if (!allows(permission, channel, peer, subscribed)) return forbidden(action, channel, sentences[permission])
}

/**
 * Why somebody may not hear a channel, if so. A token that names the channel opens all that are not for nobody.
 *
 * @param namesBind whether `$` and `#` in a name mean something: they do where connections have tokens
 */
export function subscribeRefusal (permission: Permission, channel: string, peer: Peer, namesBind: boolean): FanfareError | undefined {
  if (permission !== 'none' && isGranted(peer, channel)) return
  if (namesBind && channel.startsWith(PRIVATE)) return forbidden('subscribe', channel, sentences.token)
  const users = namesBind ? channel.indexOf(USERS) : -1
  if (users >= 0 && !(peer.user && channel.slice(users + 1).split(',').includes(peer.user))) {
    return forbidden('subscribe', channel, 'it is for the users that its name lists after #')
  }
  return refusalBy(permission, 'subscribe', channel, peer, false)
}

/** Whether the name of a channel says by itself who may hear it, where names bind. */
export function isRestricted (channel: string): boolean {
  return channel.startsWith(PRIVATE) || channel.includes(USERS)
}

/** Why not even the server may do something with a channel, if so. */
export function serverRefusal (permission: Permission, action: Action, channel: string): FanfareError | undefined {
  if (permission === 'none') return forbidden(action, channel, sentences.none)
}

function allows (permission: Permission, channel: string, peer: Peer, subscribed: boolean): boolean {
  const { user } = peer
  switch (permission) {
    case 'everyone': return true
    case 'authenticated': return user !== undefined && user !== ''
    case 'subscribers': return subscribed
    case 'token': return isGranted(peer, channel)
    default: return false
  }
}

// On a connection that outlives it a grant stays known.
function isGranted ({ grants }: Peer, channel: string): boolean {
  const grant = grants?.get(channel)
  return grant !== undefined && !grant.byServer && (grant.expiresAt ?? Infinity) > Date.now()
}

function forbidden (action: Action, channel: string, why: string): FanfareError {
  return fanfareError('FANFARE_FORBIDDEN', verbs[action], channel, why)
}
