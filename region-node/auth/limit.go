package auth

import (
	"math"
	"net/netip"
	"sync"
	"time"
)

// Limiter is a set of token buckets, one per key, in bounded memory. It is safe for concurrent use.
type Limiter struct {
	rate    float64 // tokens per second
	burst   float64
	maxKeys int

	mu sync.Mutex
	// Two generations bound the memory: when the young one is full it becomes the old one, and what was not asked for
	// since is forgotten (its bucket starts full again). A key in use is never forgotten before maxKeys/2 others came.
	young, old map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// NewLimiter makes a limiter that allows each key burst (at least 1) at once and rate a second after that. It remembers at
// most maxKeys keys (at least 2). A rate that is not positive allows everything.
func NewLimiter(rate, burst float64, maxKeys int) *Limiter {
	return &Limiter{rate: rate, burst: max(burst, 1), maxKeys: max(maxKeys, 2), young: map[string]bucket{}}
}

// Allow takes one token of key at now. When there is none it says after how long there will be one.
func (l *Limiter) Allow(key string, now time.Time) (ok bool, retryAfter time.Duration) {
	if l.rate <= 0 {
		return true, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.young[key]
	if !known {
		if b, known = l.old[key]; !known {
			b = bucket{tokens: l.burst, at: now}
		}
	}
	if passed := now.Sub(b.at); passed > 0 { // a clock that went back gives nothing and takes nothing
		b.tokens = math.Min(l.burst, b.tokens+passed.Seconds()*l.rate)
		b.at = now
	}
	if ok = b.tokens >= 1; ok {
		b.tokens--
	} else {
		retryAfter = time.Duration(math.Ceil((1 - b.tokens) / l.rate * float64(time.Second)))
	}
	l.put(key, b)
	return ok, retryAfter
}

func (l *Limiter) put(key string, b bucket) {
	if _, known := l.young[key]; !known && len(l.young) >= l.maxKeys/2 {
		l.old, l.young = l.young, make(map[string]bucket)
	}
	l.young[key] = b
}

// size is the number of buckets kept, an old and a young one of the same key counted twice.
func (l *Limiter) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.young) + len(l.old)
}

// AddressKey gives the limiter key of a client's address: the address for IPv4, the /64 for IPv6, since one subscriber
// has as many IPv6 addresses as he likes.
func AddressKey(addr netip.Addr) string {
	addr = addr.Unmap()
	if addr.Is6() {
		if prefix, err := addr.WithZone("").Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return addr.String()
}
