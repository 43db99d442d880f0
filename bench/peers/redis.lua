-- The same authorization in Redis: ARGV are two random numbers, which make the id and choose the user, and the amount.
local id, who, amount = ARGV[1] .. ARGV[2], tonumber(ARGV[1]) % 100000, tonumber(ARGV[3])
local known = redis.call('GET', 'authorization:' .. id)
if known then return known end
local user, answer = 'user:' .. who, 'approved'
local chf = math.floor(amount * 945 / 1000)
local used, held = unpack(redis.call('HMGET', user, 'used', 'held'))
if (tonumber(used) or 0) + chf > 900000000000 or (tonumber(held) or 0) + amount > 900000000000 then
  answer = 'limit_exceeded'
elseif tonumber(redis.call('GET', 'pool:EUR') or '0') < amount then
  answer = 'pool_exhausted'
else
  redis.call('HINCRBY', user, 'used', chf)
  redis.call('HINCRBY', user, 'held', amount)
  redis.call('DECRBY', 'pool:EUR', amount)
end
redis.call('SET', 'authorization:' .. id, answer)
redis.call('XADD', 'journal', '*', 'id', id, 'user', who, 'amount', amount, 'answer', answer)
return answer
