import { Type } from 'typebox'
import { ApiError } from './errors.ts'
import { history, historyRemove } from './history.ts'
import { method, type Method } from './method.ts'
import { broadcast, publish } from './publishing.ts'
import { channels, disconnect, info, presence, presenceStats } from './subscribers.ts'

const notAvailable = method(Type.Object({}), async () => { throw new ApiError(108) })

/** The methods of the server API by name; `batch`, which runs them, stands apart in api.ts. */
export const methods: ReadonlyMap<string, Method> = new Map(Object.entries({
  publish,
  broadcast,
  history,
  history_remove: historyRemove,
  presence,
  presence_stats: presenceStats,
  channels,
  info,
  disconnect,
  // With tokens and permissions (issue 5).
  refresh: notAvailable,
  subscribe: notAvailable,
  unsubscribe: notAvailable,
  rpc: notAvailable
}))
