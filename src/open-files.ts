// Kept for the files, timers and log streams of the process itself, and for HTTP requests that must still be answered
// when all connections are taken.
const OTHER_FILES = 128

/** How many connections the operating system's limit of open files leaves room for. */
export function connectionsByFileLimit (): number {
  // Looking up the names of all addresses would take seconds.
  Object.assign(process.report, { excludeNetwork: true })
  const { userLimits } = process.report.getReport() as { userLimits?: { open_files?: { soft: number | string } } }
  const limit = Number(userLimits?.open_files?.soft)
  return Number.isInteger(limit) ? Math.max(1, limit - OTHER_FILES) : Number.MAX_SAFE_INTEGER
}
