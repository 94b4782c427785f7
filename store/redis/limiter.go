package redis

import (
	"context"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"meridian/chat"
)

const (
	// A node takes a part of a bucket at once and spends it alone: that part of the burst, and of what a second gives.
	chunkOfBurst  = 0.05
	chunkOfSecond = 0.25
	// chunkFor is how long it may; what is left then is lost to everybody.
	chunkFor = time.Second
	// chunkKeys bounds the keys of which something is left.
	chunkKeys = 20_000
)

// Limiter is a chat.Limiter whose buckets the nodes of a region share, by the server's clock. While the server is away the node's
// own limiter decides, so that n nodes allow up to n times as much. From large buckets a node takes several tokens at once, so
// that not every request asks the server.
type Limiter struct {
	c   *Client
	own chat.Limiter

	mu     sync.Mutex
	chunks map[string]chunk
}

// chunk is what is left of tokens that were taken at once.
type chunk struct {
	tokens float64
	until  time.Time
}

// Limiter makes one that falls back to own.
func (c *Client) Limiter(own chat.Limiter) *Limiter {
	return &Limiter{c: c, own: own, chunks: make(map[string]chunk)}
}

// spend takes tokens of what is left of key's chunk.
func (l *Limiter) spend(key string, tokens float64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.chunks[key]
	if !ok || c.tokens < tokens || time.Now().After(c.until) {
		delete(l.chunks, key)
		return false
	}
	c.tokens -= tokens
	l.chunks[key] = c
	return true
}

// keep remembers what is left of a chunk.
func (l *Limiter) keep(key string, left float64) {
	if left <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.chunks) >= chunkKeys {
		clear(l.chunks)
	}
	l.chunks[key] = chunk{tokens: left, until: time.Now().Add(chunkFor)}
}

// takeScript takes tokens (ARGV: per second, burst, wanted, wanted at once if there are so many) and gives after how many microseconds
// there will be enough (0: they are taken), and how many were taken more than wanted. A bucket that would be full is forgotten.
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
local wait, more = 0, tonumber(ARGV[4])
if have < want + more then more = 0 end
if have >= want then have = have - want - more else wait = math.ceil((want - have) * 1000000 / rate) end
redis.call('HSET', KEYS[1], 'n', string.format('%.9f', have), 't', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - have) * 1000 / rate) + 1000)
return {wait, string.format('%.9f', more)}`)

// Take is chat.Limiter's.
func (l *Limiter) Take(ctx context.Context, key string, limit chat.Limit, tokens float64) (ok bool, wait time.Duration) {
	if limit.PerSecond <= 0 || tokens <= 0 {
		return true, 0
	}
	burst := max(limit.Burst, 1)
	tokens = min(tokens, burst)
	key = key[:min(len(key), chat.MaxLimiterKey)]
	if l.spend(key, tokens) {
		return true, 0
	}
	more := math.Floor(min(burst*chunkOfBurst, limit.PerSecond*chunkOfSecond))
	var micros int64
	err := l.c.call(ctx, "limit", func(ctx context.Context, conn rueidis.Client) error {
		args := []string{number(limit.PerSecond), number(burst), number(tokens), number(more)}
		reply, err := takeScript.Exec(ctx, conn, []string{l.c.prefix + "l:" + key}, args).ToArray()
		if err != nil {
			return err
		}
		if micros, err = reply[0].AsInt64(); err != nil || micros > 0 {
			return err
		}
		left, err := reply[1].AsFloat64()
		l.keep(key, left)
		return err
	})
	if err != nil {
		l.c.opt.Metrics.Count("limiter_fallback_total")
		return l.own.Take(ctx, key, limit, tokens)
	}
	return micros == 0, time.Duration(micros) * time.Microsecond
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
