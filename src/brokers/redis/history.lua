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
  local last = tonumber(ARGV[6])
  if since and not reverse then from = string.format('%.0f-0', since + 1) end
  if last then from = string.format('%.0f-0', math.max(0, offset - last + 1)) end
  local range = reverse and {'XREVRANGE', KEYS[2], to, from} or {'XRANGE', KEYS[2], from, to}
  if limit > 0 and not (since and reverse) then
    range[5], range[6] = 'COUNT', limit
  end
  local bytes = 0
  for at, entry in ipairs(redis.call(unpack(range))) do
    for field = 2, #entry[2], 2 do bytes = bytes + #entry[2][field] end
    if at > 1 and bytes > tonumber(ARGV[7]) then break end
    entries[at] = entry
  end
end
return {epoch, offset, earlier, tonumber(redis.call('HGET', KEYS[1], 's') or '0'), entries}
