-- Orders, stores and publishes what one node has for one channel.
-- KEYS[3…]: for idempotency keys
-- ARGV: new epoch, latest time in ms, command to publish with, channel to publish to, size of the history, its time in
--   seconds, seconds to keep the position for, seconds to keep idempotency keys for; then for each publication: number of
--   its idempotency key in KEYS or 0, 1 to go past the history or 0, the publication
-- Returns the position of each publication, "epoch:offset".
local time = redis.call('TIME')
-- Whoever sent this has given up waiting, and said so.
if time[1] * 1000 + time[2] / 1000 > tonumber(ARGV[2]) then return redis.error_reply('LATE') end

local epoch, offset = open(ARGV[1])
local size, seconds = tonumber(ARGV[5]), tonumber(ARGV[6])
local first = offset + 1
local positions, published, stored = {}, {}, {}
for at = 9, #ARGV, 3 do
  local key = KEYS[tonumber(ARGV[at])]
  local position = key and redis.call('GET', key)
  if not position then
    local pastHistory, publication = ARGV[at + 1] == '1', ARGV[at + 2]
    if not pastHistory then
      offset = offset + 1
      stored[#stored + 1] = 'p'
      stored[#stored + 1] = publication
    end
    position = epoch .. ':' .. offset
    published[#published + 1] = (pastHistory and 'U' or 'N') .. struct.pack('>I4', #publication) .. publication
    if key then redis.call('SET', key, position, 'EX', ARGV[8]) end
  end
  positions[#positions + 1] = position
end
if offset >= first then
  if size > 0 then
    -- What is left of an older entry beyond the size is not given out.
    redis.call('XADD', KEYS[2], 'MINID', '=', math.max(0, offset - size + 1), offset .. '-0', unpack(stored))
    redis.call('EXPIRE', KEYS[2], seconds)
  elseif redis.call('HGET', KEYS[1], 's') ~= '0' then
    -- By another rule it has kept some. What is stored must have no holes.
    redis.call('DEL', KEYS[2])
  end
  redis.call('HSET', KEYS[1], 'o', offset, 's', size)
  redis.call('EXPIRE', KEYS[1], ARGV[7])
else
  keep(KEYS[1], tonumber(ARGV[7]))
end
if #published > 0 then redis.call(ARGV[3], ARGV[4], epoch .. ':' .. first .. '\n' .. table.concat(published)) end
return positions
