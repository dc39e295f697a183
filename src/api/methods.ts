import { history, historyRemove } from './history.ts'
import type { Method } from './method.ts'
import { broadcast, publish } from './publishing.ts'
import { channels, disconnect, info, presence, presenceStats, refresh, rpc, subscribe, unsubscribe } from './subscribers.ts'

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
  refresh,
  subscribe,
  unsubscribe,
  rpc
}))
