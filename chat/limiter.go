package chat

import (
	"context"
	"time"
)

// MaxLimiterKey bounds a limiter's key, in bytes; longer ones are cut.
const MaxLimiterKey = 256

// Limit is a token bucket: it holds Burst tokens at most and gains PerSecond tokens a second. PerSecond <= 0 allows
// everything; a Burst below 1 counts as 1.
type Limit struct {
	PerSecond float64
	Burst     float64
}

// Limiter counts by token buckets, one for each key; a new key's bucket is full. The key says whose bucket it is and of which
// limit ("send:u:UUID"); always give the same Limit with a key. Safe for concurrent use. Where the nodes of a region share a
// bucket and it cannot be asked in time, the node's own bucket decides: a limiter never fails, and never waits longer than
// the implementation's time-out (in memory: not at all).
type Limiter interface {
	// Take takes tokens (more than 0; at most Burst are ever asked for) of key's bucket, all or none. When there are too few, ok
	// is false and wait, above 0, is after how long there will be enough if nobody else takes any.
	Take(ctx context.Context, key string, limit Limit, tokens float64) (ok bool, wait time.Duration)
}
