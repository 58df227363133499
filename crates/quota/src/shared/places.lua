-- Places among requests at a time: a sorted set of them, by when their leases end, in microseconds.

local function digits(number)
  return string.format('%.0f', number)
end

-- Takes out whose lease has ended. None lasts for longer than one that begins now, so that a clock which was set back keeps nobody's place.
local function end_leases(key, now, lease)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', digits(now))
  for _, place in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. digits(now + lease), '+inf')) do
    redis.call('ZADD', key, digits(now + lease), place)
  end
end

local function give_back(key, first)
  for index = first, #ARGV do redis.call('ZREM', key, ARGV[index]) end
end

local function hold(key, now, lease, place)
  redis.call('ZADD', key, digits(now + lease), place)
  redis.call('PEXPIRE', key, digits(math.ceil(lease / 1000)))
end

-- Since 2026, so that a number holds parts of microseconds, too.
local time = redis.call('TIME')
local seconds = tonumber(time[1])
local now = (seconds - 1767225600) * 1000000 + tonumber(time[2])
