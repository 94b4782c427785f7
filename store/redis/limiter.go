package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"meridian/chat"
)

// Limiter is a chat.Limiter whose buckets the nodes of a region share, by the server's clock. While the server is away the node's
// own limiter decides, so that n nodes allow up to n times as much.
type Limiter struct {
	c   *Client
	own chat.Limiter
}

// Limiter makes one that falls back to own.
func (c *Client) Limiter(own chat.Limiter) *Limiter { return &Limiter{c: c, own: own} }

// takeScript takes tokens (ARGV: per second, burst, wanted) and gives 0, or after how many microseconds there will be enough.
// A bucket that would be full is forgotten.
var takeScript = rueidis.NewLuaScript(`local rate, burst, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local b = redis.call('HMGET', KEYS[1], 'n', 't')
local have = burst
if b[1] then
	have = tonumber(b[1])
	local at = tonumber(b[2])
	if now > at then have = math.min(burst, have + (now - at) * rate / 1000000) else now = at end
end
local wait = 0
if have >= want then have = have - want else wait = math.ceil((want - have) * 1000000 / rate) end
redis.call('HSET', KEYS[1], 'n', string.format('%.9f', have), 't', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - have) * 1000 / rate) + 1000)
return wait`)

// Take is chat.Limiter's.
func (l *Limiter) Take(ctx context.Context, key string, limit chat.Limit, tokens float64) (ok bool, wait time.Duration) {
	if limit.PerSecond <= 0 || tokens <= 0 {
		return true, 0
	}
	burst := max(limit.Burst, 1)
	key = key[:min(len(key), chat.MaxLimiterKey)]
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	var micros int64
	err := l.c.call(ctx, "limit", func(ctx context.Context, conn rueidis.Client) (err error) {
		args := []string{number(limit.PerSecond), number(burst), number(min(tokens, burst))}
		micros, err = takeScript.Exec(ctx, conn, []string{l.c.prefix + "l:" + key}, args).AsInt64()
		return err
	})
	if err != nil {
		l.c.opt.Metrics.Count("limiter_fallback_total")
		return l.own.Take(ctx, key, limit, tokens)
	}
	return micros == 0, time.Duration(micros) * time.Microsecond
}
