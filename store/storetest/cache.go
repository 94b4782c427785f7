package storetest

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meridian/chat"
)

// settleWait bounds what other nodes learn a moment later.
const settleWait = time.Minute

// eventually waits until done gives true.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(settleWait); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", settleWait, what)
		}
	}
}

// RunCache runs the suite of chat.Cache. open gives the empty caches of n nodes of one region; it cleans up when the test ends.
func RunCache(t *testing.T, open func(t testing.TB, n int) []chat.Cache) {
	tests := []struct {
		name string
		test func(*testing.T, []chat.Cache)
	}{
		{"Fill", testCacheFill},
		{"DeleteVoidsLease", testCacheDeleteVoidsLease},
		{"Shared", testCacheShared},
		{"Bounds", testCacheBounds},
		{"NothingFromBeforeADelete", testCacheRace},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t, 2)) })
	}
}

func profileKey(name string) chat.CacheKey {
	return chat.CacheKey{Class: chat.CacheProfile, Name: name}
}

// fill puts a value in as a reader does.
func fill(t *testing.T, c chat.Cache, key chat.CacheKey, value string) {
	t.Helper()
	ctx := context.Background()
	eventually(t, "a lease for "+key.Name, func() bool {
		got := c.Get(ctx, key)
		if got.Level != chat.CacheMiss {
			t.Fatalf("%s is filled already: %q", key.Name, got.Value)
		}
		if got.Lease == "" {
			return false
		}
		c.Set(ctx, key, got.Lease, []byte(value))
		return true
	})
}

// A miss gives a lease, with which the value is put in once; what is in is given as it is.
func testCacheFill(t *testing.T, nodes []chat.Cache) {
	ctx, c, key := context.Background(), nodes[0], profileKey("ann")
	fill(t, c, key, "first \x00\xff")
	for range 3 {
		if got := c.Get(ctx, key); got.Level == chat.CacheMiss || string(got.Value) != "first \x00\xff" {
			t.Fatalf("got %q at level %d", got.Value, got.Level)
		}
	}
	c.Set(ctx, key, "", []byte("without a lease"))
	c.Set(ctx, key, "made up", []byte("with a lease of nobody"))
	if got := c.Get(ctx, key); string(got.Value) != "first \x00\xff" {
		t.Fatalf("a value without a lease came in: %q", got.Value)
	}
	if err := c.Delete(ctx, key, profileKey("nobody")); err != nil {
		t.Fatal(err)
	}
	if got := c.Get(ctx, key); got.Level != chat.CacheMiss {
		t.Fatalf("deleted, and there: %q", got.Value)
	}
	other := chat.CacheKey{Class: chat.CacheContacts, Name: "ann"}
	fill(t, c, other, "")
	if got := c.Get(ctx, other); got.Level == chat.CacheMiss || len(got.Value) != 0 {
		t.Fatalf("an empty value: level %d, %q", got.Level, got.Value)
	}
	if got := c.Get(ctx, key); got.Level != chat.CacheMiss {
		t.Fatal("one class shows another's value")
	}
}

// What was read before a delete cannot be put in after it, on whatever node.
func testCacheDeleteVoidsLease(t *testing.T, nodes []chat.Cache) {
	ctx, key := context.Background(), profileKey("ann")
	for i, reader := range nodes {
		lease := reader.Get(ctx, key).Lease
		if lease == "" {
			t.Fatal("no lease with a miss")
		}
		if err := nodes[1].Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
		reader.Set(ctx, key, lease, []byte("read before the change"))
		for n, c := range nodes {
			if got := c.Get(ctx, key); got.Level != chat.CacheMiss {
				t.Fatalf("reader %d: node %d shows %q", i, n, got.Value)
			}
		}
		if err := nodes[0].Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
}

// What one node puts in, others find; what one deletes, all lose.
func testCacheShared(t *testing.T, nodes []chat.Cache) {
	ctx := context.Background()
	for i := range 20 {
		key := profileKey("p" + strconv.Itoa(i))
		fill(t, nodes[i%2], key, "old")
		eventually(t, "the other node finds it", func() bool { return string(nodes[(i+1)%2].Get(ctx, key).Value) == "old" })
		if err := nodes[i%2].Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
		if got := nodes[i%2].Get(ctx, key); got.Level != chat.CacheMiss {
			t.Fatalf("the node that deleted shows %q", got.Value)
		}
		eventually(t, "the other node loses it", func() bool { return nodes[(i+1)%2].Get(ctx, key).Level == chat.CacheMiss })
	}
}

// Malformed keys and oversized values are no defect: they are not kept.
func testCacheBounds(t *testing.T, nodes []chat.Cache) {
	ctx, c := context.Background(), nodes[0]
	for _, key := range []chat.CacheKey{
		{}, {Class: chat.CacheProfile}, {Class: "unknown", Name: "x"}, {Class: chat.CacheProfile, Name: strings.Repeat("x", chat.MaxCacheName+1)},
	} {
		got := c.Get(ctx, key)
		c.Set(ctx, key, got.Lease, []byte("v"))
		if again := c.Get(ctx, key); again.Level != chat.CacheMiss || again.Lease != "" {
			t.Errorf("%v was kept", key)
		}
		if err := c.Delete(ctx, key); err != nil {
			t.Errorf("Delete(%v): %v", key, err)
		}
	}
	big := profileKey(strings.Repeat("y", chat.MaxCacheName))
	c.Set(ctx, big, c.Get(ctx, big).Lease, make([]byte, chat.MaxCacheValue+1))
	if got := c.Get(ctx, big); got.Level != chat.CacheMiss {
		t.Error("an oversized value was kept")
	}
	if err := c.Delete(ctx, big); err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte{7}, chat.MaxCacheValue)
	fill(t, c, big, string(value))
	if got := c.Get(ctx, big); !bytes.Equal(got.Value, value) {
		t.Error("the largest value was not kept")
	}
}

// While readers fill in and one node changes things, that node never shows what was read before its last change, and the other
// ends with the last.
func testCacheRace(t *testing.T, nodes []chat.Cache) {
	ctx, key := context.Background(), profileKey("raced")
	var stored, deleted atomic.Int64 // what the store has, and up to where it was deleted from the cache
	var readers sync.WaitGroup
	var wrong atomic.Value
	stop := make(chan struct{})
	for i := range 4 {
		own, c := i%2 == 0, nodes[i%2]
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				floor := deleted.Load()
				got := c.Get(ctx, key)
				if got.Level == chat.CacheMiss {
					c.Set(ctx, key, got.Lease, []byte(strconv.FormatInt(stored.Load(), 10)))
				} else if v, err := strconv.ParseInt(string(got.Value), 10, 64); err != nil || own && v < floor {
					wrong.Store(fmt.Sprintf("read %q after the delete of %d", got.Value, floor))
				}
			}
		})
	}
	const changes = 300
	for i := range int64(changes) {
		stored.Store(i + 1)
		if err := nodes[0].Delete(ctx, key); err != nil {
			t.Error(err)
		}
		deleted.Store(i + 1)
	}
	close(stop)
	readers.Wait()
	if w := wrong.Load(); w != nil {
		t.Fatal(w)
	}
	eventually(t, "both nodes show the last change", func() bool {
		for _, c := range nodes {
			if got := c.Get(ctx, key); got.Level == chat.CacheMiss {
				c.Set(ctx, key, got.Lease, []byte(strconv.Itoa(changes)))
				return false
			} else if string(got.Value) != strconv.Itoa(changes) {
				return false
			}
		}
		return true
	})
}
