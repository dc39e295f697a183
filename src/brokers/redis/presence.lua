-- Who is there: facts of all whose time is not over. KEYS as in update-presence.lua.
local time = redis.call('TIME')
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. (time[1] + time[2] / 1000000), '+inf')
local members = {}
-- unpack takes some thousand values at most.
for from = 1, #ids, 1000 do
  for _, facts in ipairs(redis.call('HMGET', KEYS[2], unpack(ids, from, math.min(from + 999, #ids)))) do
    if facts then members[#members + 1] = facts end
  end
end
return members
