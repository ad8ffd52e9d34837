-- Wrong licence keys of one tenant: how long must this address wait, and what becomes of the count if it was wrong again?
--
-- KEYS: limiter of the address, limiter of the tenant, mark of an address that was wrong lately.
-- ARGV: now in microseconds ('' for the server's own time), 1 if the key was wrong or else 0, tolerance and increment
--   of the address's limiter, tolerance and increment of the tenant's (microseconds), lifetime of the mark (ms).
-- Answers how long to wait, in microseconds; 0: go on. Who has to wait is not counted.

local now
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
else
  now = tonumber(ARGV[1])
end

local function ahead_of(key, tolerance)
  local tat = tonumber(redis.call('GET', key) or now)
  return math.min(math.max(tat - now, 0), tolerance)
end

local function move(key, ahead)
  redis.call('SET', key, string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000) + 10000)
end

local own_tolerance, own_increment = tonumber(ARGV[3]), tonumber(ARGV[4])
local all_tolerance, all_increment = tonumber(ARGV[5]), tonumber(ARGV[6])
local own, all = ahead_of(KEYS[1], own_tolerance), ahead_of(KEYS[2], all_tolerance)

local wait = math.max(own + own_increment - own_tolerance, 0)
-- While a tenant's keys are guessed at from many places, only those who were wrong themselves wait for it.
if redis.call('EXISTS', KEYS[3]) == 1 then
  wait = math.max(wait, all + all_increment - all_tolerance)
end

if wait == 0 and ARGV[2] == '1' then
  move(KEYS[1], own + own_increment)
  move(KEYS[2], math.min(all + all_increment, all_tolerance))
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[7])
end
return string.format('%.0f', wait)
