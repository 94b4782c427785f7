package memory

import (
	"context"
	"strconv"
	"testing"
	"time"

	"meridian/chat"
	"meridian/store/storetest"
)

// same gives one value for every node: in one process they share it.
func same[T any](v T, n int) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = v
	}
	return all
}

// The in-process implementations keep the contracts.
func TestContracts(t *testing.T) {
	t.Run("Cache", func(t *testing.T) {
		storetest.RunCache(t, func(_ testing.TB, n int) []chat.Cache { return same[chat.Cache](NewCache(8<<20, nil), n) })
	})
	t.Run("Bus", func(t *testing.T) {
		storetest.RunBus(t, func(_ testing.TB, n int) []chat.Bus {
			hub, buses := NewHub(), make([]chat.Bus, n)
			for i := range buses {
				buses[i] = hub.Bus()
			}
			return buses
		})
	})
	t.Run("Limiter", func(t *testing.T) {
		storetest.RunLimiter(t, func(_ testing.TB, n int) []chat.Limiter { return same[chat.Limiter](NewLimiter(1000, nil), n) })
	})
	t.Run("Jobs", func(t *testing.T) {
		storetest.RunJobs(t, func(_ testing.TB, n, maxJobs int) []chat.Jobs { return same[chat.Jobs](NewJobs(maxJobs, nil), n) })
	})
	t.Run("Presences", func(t *testing.T) {
		storetest.RunPresences(t, func(_ testing.TB, n int) []chat.Presences { return same[chat.Presences](NewPresences(5000), n) })
	})
}

// Nothing is given after its class's time, and a lease is void after its own.
func TestCacheForgetsInTime(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := NewCache(1<<20, func() time.Time { return now })
	ctx := context.Background()
	for _, class := range []chat.CacheClass{chat.CacheProfile, chat.CachePage, chat.CacheContacts} {
		key := chat.CacheKey{Class: class, Name: "x"}
		c.Set(ctx, key, c.Get(ctx, key).Lease, []byte("v"))
		now = now.Add(class.TTL() - time.Millisecond)
		if c.Get(ctx, key).Level != chat.CacheMemory {
			t.Errorf("%s: gone before its time", class)
		}
		now = now.Add(time.Millisecond)
		lease := c.Get(ctx, key).Lease
		if lease == "" {
			t.Errorf("%s: shown after its time", class)
		}
		now = now.Add(chat.CacheLeaseFor)
		c.Set(ctx, key, lease, []byte("late"))
		if c.Get(ctx, key).Level != chat.CacheMiss {
			t.Errorf("%s: filled in with a lease that is over", class)
		}
	}
}

// A cache takes no more than it was given, and keeps what is used.
func TestCacheIsBounded(t *testing.T) {
	const most = 64 << 10
	c, ctx := NewCache(most, nil), context.Background()
	key := func(i int) chat.CacheKey { return chat.CacheKey{Class: chat.CachePage, Name: strconv.Itoa(i)} }
	for i := range 200 {
		c.Set(ctx, key(i), c.Get(ctx, key(i)).Lease, make([]byte, 1000))
		if c.Bytes() > most {
			t.Fatalf("%d bytes, bound %d", c.Bytes(), most)
		}
		if i > 0 && c.Get(ctx, key(0)).Level != chat.CacheMemory {
			t.Fatalf("what is always used was let go of at %d", i)
		}
	}
	if c.Bytes() < most/2 {
		t.Errorf("only %d bytes of %d are used", c.Bytes(), most)
	}
}

// A limiter remembers a bounded number of keys, and a key in use among them.
func TestLimiterIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l, ctx, limit := NewLimiter(100, func() time.Time { return now }), context.Background(), chat.Limit{PerSecond: 0.001, Burst: 1}
	l.Take(ctx, "used", limit, 1)
	for i := range 10_000 {
		if i%40 == 0 {
			if ok, _ := l.Take(ctx, "used", limit, 1); ok {
				t.Fatalf("a key in use was forgotten after %d others", i)
			}
		}
		l.Take(ctx, strconv.Itoa(i), limit, 1)
		if n := len(l.young) + len(l.old); n > 100 {
			t.Fatalf("%d keys", n)
		}
	}
}
