-- Notes who has come and who has gone. KEYS[1]: until when each is known to be there; KEYS[2]: what is known of each.
-- ARGV: seconds, number of those who have come, for each of them id and facts; then the ids of those who have gone
local time = redis.call('TIME')
local now = tonumber(time[1]) + time[2] / 1000000
local seconds, joined = tonumber(ARGV[1]), tonumber(ARGV[2])
for at = 3, 2 + 2 * joined, 2 do
  redis.call('ZADD', KEYS[1], now + seconds, ARGV[at])
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
end
for at = 3 + 2 * joined, #ARGV do
  redis.call('ZREM', KEYS[1], ARGV[at])
  redis.call('HDEL', KEYS[2], ARGV[at])
end
-- Those whose node has died, a few at a time.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
redis.call('EXPIRE', KEYS[1], seconds)
redis.call('EXPIRE', KEYS[2], seconds)
