-- Reads a part of a channel's history, and where the channel stands.
-- ARGV: new epoch, seconds to keep the position for, offset to begin after (with "reverse": before) or "",
--   how many at most (0: none, -1: all), "reverse" or "", only the last so many or "", how many bytes at most, epoch of the
--   offset if a node has been told of it by Redis itself or "", command to publish with, channel to publish to
-- Returns epoch, offset, earlier epochs, how many publications the channel keeps, entries, 1 if there were more bytes. At the edges
-- the entries may hold more than was asked for: an entry has several publications.
local epoch, offset, earlier = open(ARGV[1])
-- Channels that nothing was ever published to are made up easily.
keep(KEYS[1], offset == 0 and math.min(600, tonumber(ARGV[2])) or tonumber(ARGV[2]))
-- Who knows more of an earlier epoch than has survived, or an epoch of which nothing has, shows that more is lost than was known: from
-- here on it is another epoch, and nobody can go on from those before it. All nodes are told to look.
if ARGV[8] ~= '' and ARGV[8] ~= epoch then
  local isLost = earlier ~= ''
  for known, held in string.gmatch(earlier, '([^,]+):(%d+)') do
    if known == ARGV[8] then isLost = tonumber(held) < tonumber(ARGV[3]) end
  end
  if isLost then
    epoch, earlier = ARGV[1], ''
    redis.call('HSET', KEYS[1], 'e', epoch, 'l', earlier)
    redis.call(ARGV[9], ARGV[10], ':0\n')
  end
end
local since, limit, reverse = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == 'reverse'
local entries, most, last = {}, tonumber(ARGV[7]), tonumber(ARGV[6])
local size = tonumber(redis.call('HGET', KEYS[1], 's') or '0')
-- The oldest entry may hold more than the channel keeps.
if not reverse then since = math.max(since or 0, offset - math.min(last or size, size)) end
local cut, bytes = 0, 0
-- Counts what is wanted of an entry: neither what is on the other side of the offset, nor what the channel keeps no more.
local function isTooMuch(entry)
  local number = tonumber(string.match(entry[1], '^%d+')) - #entry[2] / 2
  for field = 2, #entry[2], 2 do
    number = number + 1
    local isBeyond = since and (reverse and number >= since or not reverse and number <= since)
    if number > offset - size and not isBeyond then bytes = bytes + #entry[2][field] end
  end
  if #entries > 0 and bytes > most then cut = 1 end
  return cut == 1
end
if limit ~= 0 and reverse then
  -- The entry that holds the one before the offset comes first, whatever else it holds.
  local first = since and redis.call('XRANGE', KEYS[2], string.format('%.0f-0', math.max(since - 1, 0)), '+', 'COUNT', 1)[1]
  local range = {'XREVRANGE', KEYS[2], first and first[1] or '+', '-'}
  if limit > 0 then range[5], range[6] = 'COUNT', limit end
  for _, entry in ipairs(redis.call(unpack(range))) do
    if isTooMuch(entry) then break end
    entries[#entries + 1] = entry
  end
elseif limit ~= 0 then
  local from, count, done = string.format('%.0f-0', since + 1), 0, false
  -- A few at a time: how many publications an entry holds is not known before.
  repeat
    local found = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 4)
    for _, entry in ipairs(found) do
      local id = tonumber(string.match(entry[1], '^%d+'))
      if isTooMuch(entry) then
        done = true
        break
      end
      entries[#entries + 1] = entry
      -- Of the first one only a part may be wanted.
      count = count + math.min(#entry[2] / 2, id - since)
      if limit > 0 and count >= limit then
        done = true
        break
      end
      from = '(' .. entry[1]
    end
  until done or #found < 4
end
return {epoch, offset, earlier, size, entries, cut}
