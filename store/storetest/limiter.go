package storetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"meridian/chat"
)

// RunLimiter runs the suite of chat.Limiter. open gives the limiters of n nodes of one region; it cleans up when the test ends.
func RunLimiter(t *testing.T, open func(t testing.TB, n int) []chat.Limiter) {
	t.Run("Burst", func(t *testing.T) { testLimiterBurst(t, open(t, 2)) })
	t.Run("Refill", func(t *testing.T) { testLimiterRefill(t, open(t, 1)[0]) })
	t.Run("Unlimited", func(t *testing.T) { testLimiterUnlimited(t, open(t, 1)[0]) })
}

// A bucket gives its burst, to all nodes together, then says how long to wait; other keys have buckets of their own.
func testLimiterBurst(t *testing.T, nodes []chat.Limiter) {
	ctx, limit := context.Background(), chat.Limit{PerSecond: 0.01, Burst: 6}
	for i := range 6 {
		if ok, _ := nodes[i%2].Take(ctx, "send:ann", limit, 1); !ok {
			t.Fatalf("token %d of 6 was refused", i+1)
		}
	}
	for _, node := range nodes {
		ok, wait := node.Take(ctx, "send:ann", limit, 1)
		if ok || wait <= 30*time.Second || wait > 100*time.Second { // the machine may have stood still meanwhile
			t.Fatalf("an empty bucket that gains a token in 100 s: %v, wait %v", ok, wait)
		}
		if _, three := node.Take(ctx, "send:ann", limit, 3); three < wait+150*time.Second {
			t.Fatalf("three tokens come after %v, one after %v", three, wait)
		}
	}
	if ok, _ := nodes[0].Take(ctx, "send:bob", limit, 6); !ok {
		t.Error("another key's full bucket refused")
	}
	if ok, _ := nodes[1].Take(ctx, "send:bob", limit, 1); ok {
		t.Error("six tokens left a seventh")
	}
	if ok, _ := nodes[0].Take(ctx, "send:eve", limit, 100); !ok {
		t.Error("more than the burst was asked for: a full bucket gives all it has")
	}
	long := strings.Repeat("k", chat.MaxLimiterKey)
	if ok, _ := nodes[0].Take(ctx, long+"1", limit, 6); !ok {
		t.Error("a long key was refused")
	}
	if ok, _ := nodes[1].Take(ctx, long+"2", limit, 1); ok {
		t.Error("a key is longer than MaxLimiterKey")
	}
}

// A refused request gets its tokens after the wait that it was told, and no earlier.
func testLimiterRefill(t *testing.T, l chat.Limiter) {
	ctx, limit := context.Background(), chat.Limit{PerSecond: 20, Burst: 2}
	start := time.Now()
	for range 2 {
		if ok, _ := l.Take(ctx, "k", limit, 1); !ok {
			t.Fatal("the burst was refused")
		}
	}
	given := 2
	for given < 6 {
		ok, wait := l.Take(ctx, "k", limit, 1)
		if ok {
			given++
			continue
		}
		if wait <= 0 || wait > 50*time.Millisecond {
			t.Fatalf("wait %v for a token of 50 ms", wait)
		}
		time.Sleep(wait)
	}
	if took, least := time.Since(start), 190*time.Millisecond; took < least {
		t.Errorf("six tokens in %v; a burst of 2 and 20 a second take %v", took, least)
	}
}

// A rate that is not positive allows everything.
func testLimiterUnlimited(t *testing.T, l chat.Limiter) {
	for range 1000 {
		if ok, wait := l.Take(context.Background(), "k", chat.Limit{}, 1); !ok || wait != 0 {
			t.Fatal("refused without a limit")
		}
	}
}
