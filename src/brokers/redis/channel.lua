-- What all scripts of a channel begin with. KEYS[1] is its meta hash, KEYS[2] its stream.
--   e: epoch   o: offset of the last publication   r: replication id of the server that wrote this
--   l: earlier epochs and the offsets up to which they are still true, the latest first: "e1:90,e0:70"
--   s: how many publications the channel keeps
-- An entry of the stream holds the publications of one call; its id is the offset of the last of them.

-- Where the channel stands. A server that has been restarted, or has taken the place of another, has a replication id of
-- its own and may have lost the end of what there was: from there on it is another epoch.
local function open(newEpoch)
  local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 'r', 'l')
  local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
  local epoch, offset, earlier = meta[1], tonumber(meta[2] or '0'), meta[4] or ''
  if not epoch then
    -- Entries of an older epoch would be taken for this one's.
    -- Not deleted where there is nothing: with that alone a script may write although memory is used up.
    if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('DEL', KEYS[2]) end
    redis.call('HSET', KEYS[1], 'e', newEpoch, 'o', 0, 'r', server)
    epoch = newEpoch
  elseif meta[3] ~= server then
    local kept = {epoch .. ':' .. offset}
    for known in string.gmatch(earlier, '[^,]+') do
      if #kept < 4 then kept[#kept + 1] = known end
    end
    earlier, epoch = table.concat(kept, ','), newEpoch
    redis.call('HSET', KEYS[1], 'e', epoch, 'r', server, 'l', earlier)
  end
  return epoch, offset, earlier
end

-- Keeps a key for a time in seconds. Not every reader needs to write.
local function keep(key, seconds)
  if redis.call('PTTL', key) < seconds * 500 then redis.call('EXPIRE', key, seconds) end
end
