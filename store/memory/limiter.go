package memory

import (
	"context"
	"math"
	"sync"
	"time"

	"meridian/chat"
)

// Limiter is a chat.Limiter of one process, in bounded memory.
type Limiter struct {
	maxKeys int
	now     func() time.Time

	mu sync.Mutex
	// Two generations bound the memory: when the young one is full it becomes the old one, and what was not asked for since is
	// forgotten (its bucket is full again).
	young, old map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// NewLimiter makes a limiter that remembers at most maxKeys keys (at least 2), by now's clock (nil: the machine's).
func NewLimiter(maxKeys int, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{maxKeys: max(maxKeys, 2), now: now, young: make(map[string]bucket)}
}

// Take is chat.Limiter's.
func (l *Limiter) Take(_ context.Context, key string, limit chat.Limit, tokens float64) (ok bool, wait time.Duration) {
	if limit.PerSecond <= 0 || tokens <= 0 {
		return true, 0
	}
	burst := max(limit.Burst, 1)
	tokens = min(tokens, burst)
	key = key[:min(len(key), chat.MaxLimiterKey)]
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b, known := l.young[key]
	if !known {
		if b, known = l.old[key]; !known {
			b = bucket{tokens: burst, at: now}
		}
	}
	if passed := now.Sub(b.at); passed > 0 { // a clock that went back gives nothing and takes nothing
		b.tokens = min(burst, b.tokens+passed.Seconds()*limit.PerSecond)
		b.at = now
	}
	if ok = b.tokens >= tokens; ok {
		b.tokens -= tokens
	} else {
		wait = time.Duration(math.Ceil((tokens - b.tokens) / limit.PerSecond * float64(time.Second)))
	}
	if _, known := l.young[key]; !known && len(l.young) >= l.maxKeys/2 {
		l.old, l.young = l.young, make(map[string]bucket)
	}
	l.young[key] = b
	return ok, wait
}
