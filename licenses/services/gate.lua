-- The gate, for many calls of one tenant: epochs, rate limits (GCRA) and counters in one atomic step.
--
-- KEYS: epochs, then limiters, then the hash that counts this minute's calls.
-- ARGV: now in microseconds ('' for the server's own time), number of epochs, number of limiters, lifetime of
--   counters in seconds; then for each call:
--   agent ('' counts nothing),
--   number of expectations, for each: position of an epoch, the version that the caller has cached,
--   number of limits, for each: position of a limiter, tolerance, increment (both in microseconds).
-- Answers: the epochs (nil where there is none), and a flat list of numbers, for each call:
--   1 if an expectation failed (then nothing was asked of its limits and nothing counted) or else 0,
--   for each limit: how far it is ahead now, how long to wait (0: it let the call pass).

local epoch_count = tonumber(ARGV[2])
local limiter_count = tonumber(ARGV[3])
local counters = KEYS[epoch_count + limiter_count + 1]

local now
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
else
  now = tonumber(ARGV[1])
end

-- unpack() has room for a few thousand values only.
local function read(first, count)
  local values = {}
  for from = first, first + count - 1, 1000 do
    local to = math.min(from + 999, first + count - 1)
    local part = redis.call('MGET', unpack(KEYS, from, to))
    for i = 1, #part do values[#values + 1] = part[i] end
  end
  return values
end

local epochs = read(1, epoch_count)
local versions = {}
for i = 1, epoch_count do versions[i] = epochs[i] and tonumber(epochs[i]) end

local tats = read(epoch_count + 1, limiter_count)
for i = 1, limiter_count do tats[i] = tats[i] and tonumber(tats[i]) or now end

local answers = {}
local moved = {}
local counted = false
local cursor = 5

local function argument()
  local value = ARGV[cursor]
  cursor = cursor + 1
  return value
end

while cursor <= #ARGV do
  local agent = argument()
  local stale = 0
  for _ = 1, tonumber(argument()) do
    local version = versions[tonumber(argument())]
    local cached = tonumber(argument())
    -- What is not there may have been anything: only Postgres knows.
    if not version or version > cached then stale = 1 end
  end

  local limits = {}
  local refused = false
  for i = 1, tonumber(argument()) do
    local position = tonumber(argument())
    local tolerance = tonumber(argument())
    local increment = tonumber(argument())
    local ahead = math.min(math.max(tats[position] - now, 0), tolerance)
    local wait = math.max(ahead + increment - tolerance, 0)
    if wait > 0 then refused = true end
    limits[i] = {position, ahead, increment, wait}
  end

  answers[#answers + 1] = stale
  for i = 1, #limits do
    local position, ahead, increment, wait = unpack(limits[i])
    -- All limits or none: a call that is refused anywhere moves no limiter.
    if stale == 0 and not refused and increment > 0 then
      ahead = ahead + increment
      tats[position] = now + ahead
      moved[position] = true
    end
    answers[#answers + 1] = ahead
    answers[#answers + 1] = stale == 1 and 0 or wait
  end

  if agent ~= '' and stale == 0 then
    redis.call('HINCRBY', counters, agent, 1)
    if refused then redis.call('HINCRBY', counters, agent .. ':r', 1) end
    counted = true
  end
end

for position in pairs(moved) do
  -- A limiter whose time has come is as good as none. The margin is for a clock that is set back; %.0f because
  -- Lua's own conversion keeps fourteen digits only.
  local lifetime = math.ceil((tats[position] - now) / 1000) + 10000
  local key = KEYS[epoch_count + position]
  redis.call('SET', key, string.format('%.0f', tats[position]), 'PX', string.format('%.0f', lifetime))
end
if counted then redis.call('EXPIRE', counters, ARGV[4], 'NX') end

return {epochs, answers}
