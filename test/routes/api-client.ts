/** The key of servers that are tested. */
export const KEY = 'secret key 42'

/** What the server API has answered. */
export interface Reply {
  readonly status: number
  readonly text: string
  /** The text as JSON. */
  readonly json: Record<string, unknown>
}

/** Sends a body to an address of a server. */
export async function post (url: string, body: string | undefined, headers: Record<string, string> = { 'x-api-key': KEY }): Promise<Reply> {
  const answer = await fetch(url, { method: 'POST', headers, ...body !== undefined && { body } })
  const text = await answer.text()
  return { status: answer.status, text, get json () { return JSON.parse(text) as Record<string, unknown> } }
}

/** Makes a function that calls methods of a server, and resolves with `result`, or all of the reply if there is none. */
export function apiOf (url: string): (method: string, params?: object) => Promise<Record<string, unknown>> {
  return async (method, params = {}) => {
    const { json } = await post(`${url}/api/${method}`, JSON.stringify(params))
    return (json.result ?? json) as Record<string, unknown>
  }
}

/** What a reply with an error looks like, with this in its message. */
export function errorWith (code: number, message: string | RegExp = /./): { error: { code: number, message: string | RegExp } } {
  return { error: { code, message } }
}
