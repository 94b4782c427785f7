package redis

import "github.com/redis/rueidis"

// The keys of a queue share a slot: {queue} is the stream. Of each group: :w is a sorted set of what waits for another attempt,
// by the time when it is due; :d is the stream of its dead letters; :c is where XAUTOCLAIM goes on. How often a job was tried is
// its delivery count. All times are the server's.

// jobNow gives the server's time in milliseconds.
const jobNow = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

// jobBury makes a job a dead letter.
const jobBury = `local function bury(id, attempt, reason, keep)
	local e = redis.call('XRANGE', KEYS[1], id, id)
	if e[1] then
		redis.call('XADD', KEYS[3], 'MAXLEN', '~', keep, '*', 'id', id, 'p', e[1][2][2], 'n', attempt, 'r', reason)
	end
	redis.call('XACK', KEYS[1], ARGV[1], id)
	redis.call('ZREM', KEYS[2], id)
end
`

// enqueueScript puts a job (ARGV[2]) in, unless there are ARGV[1] already; what all groups have ended goes before that is said.
var enqueueScript = rueidis.NewLuaScript(jobTrim + `if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then
	trim()
	if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return false end
end
return redis.call('XADD', KEYS[1], '*', 'p', ARGV[2])`)

// jobTrim drops what all groups have ended: all before the oldest that a group holds or was not given yet.
const jobTrim = `local function lower(a, b)
	if not a then return b end
	local am, as = string.match(a, '(%d+)-(%d+)')
	local bm, bs = string.match(b, '(%d+)-(%d+)')
	am, as, bm, bs = tonumber(am), tonumber(as), tonumber(bm), tonumber(bs)
	if am < bm or am == bm and as < bs then return a end
	return b
end
local function trim()
	local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
	local oldest
	for _, g in ipairs(groups) do
		local f = {}
		for i = 1, #g, 2 do f[g[i]] = g[i + 1] end
		if f['pending'] > 0 then
			oldest = lower(oldest, redis.call('XPENDING', KEYS[1], f['name'])[2])
		else
			local m, s = string.match(f['last-delivered-id'], '(%d+)-(%d+)')
			oldest = lower(oldest, m .. '-' .. string.format('%.0f', s + 1))
		end
	end
	if oldest then redis.call('XTRIM', KEYS[1], 'MINID', oldest) end
end
`

// takeJobsScript gives a consumer jobs: first those whose back-off is over, then those that others held too long, then new ones.
// ARGV: group, consumer, limit, hold in ms, attempts, dead letters kept. It gives {id, payload, attempt, ...}, and the last
// id of the stream at the end.
var takeJobsScript = rueidis.NewLuaScript(jobNow + jobBury + jobTrim + `local limit, hold, attempts = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('EXISTS', KEYS[1]) == 0 then
	redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
else
	redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0')
end
local out, n = {}, 0
local function tries(id)
	local p = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
	return p[1] and p[1][4] or 0
end
local function give(entries)
	for _, e in ipairs(entries) do
		if e and e[2] then
			out[#out + 1], out[#out + 2], out[#out + 3] = e[1], e[2][2], tries(e[1])
			n = n + 1
		end
	end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, limit)) do
	redis.call('ZREM', KEYS[2], id)
	give(redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id))
end
local from = redis.call('GET', KEYS[4]) or '0-0'
if n < limit then
	local r = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], hold, from, 'COUNT', limit - n, 'JUSTID')
	redis.call('SET', KEYS[4], r[1])
	for _, id in ipairs(r[2]) do
		if redis.call('ZSCORE', KEYS[2], id) then -- it waits for its back-off
		elseif tries(id) >= attempts then
			bury(id, tries(id), 'the consumer held it too long', ARGV[6])
		else
			give(redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id))
		end
	end
end
if n < limit then
	local r = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', limit - n, 'STREAMS', KEYS[1], '>')
	if r then give(r[1][2]) end
end
if n == 0 then trim() end
local info, last = redis.call('XINFO', 'STREAM', KEYS[1]), '0-0'
for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
out[#out + 1] = last
return out`)

// failScript ends an attempt. ARGV: group, id, attempt, attempts, back-off in ms, reason, dead letters kept. A job that is not held
// any more at that attempt is left alone.
var failScript = rueidis.NewLuaScript(jobNow + jobBury + `local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if p.err or not p[1] or p[1][4] ~= tonumber(ARGV[3]) or redis.call('ZSCORE', KEYS[2], ARGV[2]) then return 0 end
if p[1][4] >= tonumber(ARGV[4]) then
	bury(ARGV[2], p[1][4], ARGV[6], ARGV[7])
else
	redis.call('ZADD', KEYS[2], now + tonumber(ARGV[5]), ARGV[2])
end
return 1`)

// ackScript ends jobs. ARGV: group, ids.
var ackScript = rueidis.NewLuaScript(`for i = 2, #ARGV do
	redis.pcall('XACK', KEYS[1], ARGV[1], ARGV[i])
	redis.call('ZREM', KEYS[2], ARGV[i])
end
return 1`)
