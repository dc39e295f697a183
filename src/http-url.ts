/** Whether this is a URL that can be asked for by HTTP. Requests to one that names a user are refused by `fetch`. */
export function isHttpUrl (text: string): boolean {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && !url.username && !url.password
}
