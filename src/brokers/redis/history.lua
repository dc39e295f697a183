-- Reads a part of a channel's history, and where the channel stands.
-- ARGV: new epoch, seconds to keep the position for, offset to begin after (with "reverse": before) or "",
--   how many at most (0: none, -1: all), "reverse" or "", only the last so many or "", how many bytes at most
-- Returns epoch, offset, earlier epochs, how many publications the channel keeps, entries. At the edges they may hold more
-- than was asked for: an entry has several publications.
local epoch, offset, earlier = open(ARGV[1])
-- Channels that nothing was ever published to are made up easily.
keep(KEYS[1], offset == 0 and math.min(600, tonumber(ARGV[2])) or tonumber(ARGV[2]))
local since, limit, reverse = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == 'reverse'
local entries = {}
if limit ~= 0 then
  local from, to = '-', '+'
  if since and not reverse then from = string.format('%.0f-0', since + 1) end
  local range = reverse and {'XREVRANGE', KEYS[2], to, from} or {'XRANGE', KEYS[2], from, to}
  if limit > 0 and not (since and reverse) then
    range[5], range[6] = 'COUNT', limit
  end
  local last = tonumber(ARGV[6])
  if last then range = {'XREVRANGE', KEYS[2], '+', '-', 'COUNT', last} end
  local found = last == 0 and {} or redis.call(unpack(range))
  local bytes = 0
  for at = 1, #found do
    local entry = found[last and #found + 1 - at or at]
    for field = 2, #entry[2], 2 do bytes = bytes + #entry[2][field] end
    if at > 1 and bytes > tonumber(ARGV[7]) or last and limit > 0 and at > limit then break end
    entries[at] = entry
  end
end
return {epoch, offset, earlier, tonumber(redis.call('HGET', KEYS[1], 's') or '0'), entries}
