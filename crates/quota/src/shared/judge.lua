
-- Decides of a request, and counts it if it is let through: against all of its limits, or against none.
--
-- KEYS[1]  a hash: q, r: when all requests and rows are there again; d, n: a day since 1970, and its rows
-- KEYS[2]  the places
-- ARGV     of requests and of rows: microseconds in which one comes back (0: not limited), how many pass at once;
--          rows in a day (0: not limited); rows of the request;
--          requests at a time (0: not limited); microseconds that a lease lasts; the request's place; then places that are given back
-- Answers  of requests and of rows: wait, what is left, until all of it is there again; of the day: wait, what is left, until it ends;
--          of places: wait, what is left.
--          Times are microseconds; a wait is 0 for a request that passes, and -2 for one that never does; for a place it is 1.

local day = math.floor(seconds / 86400)
local day_ends = ((day + 1) * 86400 - seconds) * 1000000
local rows, per_day = tonumber(ARGV[6]), tonumber(ARGV[5])
local known = redis.call('HMGET', KEYS[1], 'q', 'r', 'd', 'n')

-- What numbers of this size are off by, at most.
local ERROR = 0.5
-- Ten years, in milliseconds: how long a count is kept that lasts so long.
local LONGEST = 315360000000

-- When all of it is there again. More than all of it is never missing, so that a clock which was set back takes no more than that.
local function known_whole(text, interval, burst)
  return math.min(tonumber(text) or 0, now + burst * interval)
end

local function judge(whole, interval, burst, units)
  if interval == 0 then return 0, whole end
  if units > burst then return -2, whole end
  local after = math.max(whole, now) + units * interval
  local wait = after - now - burst * interval
  if wait > ERROR then return math.ceil(wait), whole end
  return 0, after
end

local function left(whole, interval, burst)
  if interval == 0 then return 0, 0 end
  local missing = math.max(whole - now, 0)
  local gone = math.ceil(math.max(missing - ERROR, 0) / interval)
  return math.max(burst - gone, 0), math.ceil(missing)
end

local q_interval, q_burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local r_interval, r_burst = tonumber(ARGV[3]), tonumber(ARGV[4])
local known_q = known_whole(known[1], q_interval, q_burst)
local known_r = known_whole(known[2], r_interval, r_burst)
local q_wait, q = judge(known_q, q_interval, q_burst, 1)
local r_wait, r = judge(known_r, r_interval, r_burst, rows)
local known_day = tonumber(known[3]) or -1
-- A clock that was set back gives nobody a second day.
local of_day = known_day >= day and tonumber(known[4]) or 0
local d_wait = 0
if per_day > 0 and rows > per_day then
  d_wait = -2
elseif per_day > 0 and of_day + rows > per_day then
  d_wait = day_ends
end

local most, lease = tonumber(ARGV[7]), tonumber(ARGV[8])
local free, p_wait = 0, 0
if most > 0 then
  end_leases(KEYS[2], now, lease)
  give_back(KEYS[2], 10)
  free = most - redis.call('ZCARD', KEYS[2])
  if free <= 0 then p_wait = 1 end
end

local passes = q_wait == 0 and r_wait == 0 and d_wait == 0 and p_wait == 0
if passes then
  of_day = of_day + rows
  if most > 0 then
    hold(KEYS[2], now, lease, ARGV[9])
    free = free - 1
  end
else
  -- Nothing is taken.
  q, r = known_q, known_r
end
-- A day that a clock ran ahead to must not last until it comes.
local is_counted = q_interval > 0 or r_interval > 0 or per_day > 0
if is_counted and (passes or known_day > day) then
  redis.call('HSET', KEYS[1], 'q', string.format('%.3f', q), 'r', string.format('%.3f', r),
    'd', string.format('%d', day), 'n', string.format('%d', of_day))
  local lasts = math.max(q - now, r - now, per_day > 0 and day_ends or 0)
  redis.call('PEXPIRE', KEYS[1], string.format('%d', math.min(math.ceil(lasts / 1000) + 1000, LONGEST)))
end

local q_left, q_reset = left(q, q_interval, q_burst)
local r_left, r_reset = left(r, r_interval, r_burst)
return {q_wait, q_left, q_reset, r_wait, r_left, r_reset, d_wait, math.max(per_day - of_day, 0), day_ends,
  p_wait, math.max(free, 0)}
