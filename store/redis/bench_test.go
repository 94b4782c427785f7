package redis

import (
	"context"
	"strconv"
	"testing"

	"meridian/chat"
)

const benchValueBytes = 8 << 10 // about a page of messages

// What a hit costs in the node's memory, and at the server.
func BenchmarkCacheGet(b *testing.B) {
	s := startServer(b)
	nodes := clients(b, s, 2, nil)
	ctx := context.Background()
	b.Run("L1", func(b *testing.B) {
		put(b, nodes[0].Cache(), key("l1"), string(make([]byte, benchValueBytes)))
		within(b, "in memory", func() bool { return nodes[0].Cache().Get(ctx, key("l1")).Level == chat.CacheMemory })
		for b.Loop() {
			nodes[0].Cache().Get(ctx, key("l1"))
		}
	})
	b.Run("L2", func(b *testing.B) {
		const keys = 2000
		for i := range keys {
			put(b, nodes[0].Cache(), key(strconv.Itoa(i)), string(make([]byte, benchValueBytes)))
		}
		shared, i := 0, 0
		for b.Loop() {
			if i%keys == 0 { // a memory that knows nothing
				b.StopTimer()
				nodes[1].Close()
				nodes[1] = clients(b, s, 1, nil)[0]
				b.StartTimer()
			}
			if nodes[1].Cache().Get(ctx, key(strconv.Itoa(i%keys))).Level == chat.CacheShared {
				shared++
			}
			i++
		}
		b.ReportMetric(float64(shared)/float64(b.N), "L2-share")
	})
	b.Run("Miss", func(b *testing.B) {
		i := 0
		for b.Loop() {
			nodes[0].Cache().Get(ctx, key("m"+strconv.Itoa(i)))
			i++
		}
	})
}

// What counting a request costs.
func BenchmarkLimiter(b *testing.B) {
	l := clients(b, startServer(b), 1, nil)[0].Limiter(refuseAll{})
	for b.Loop() {
		l.Take(context.Background(), "send:ann", chat.Limit{PerSecond: 1e6, Burst: 1e6}, 1)
	}
}

// What a job costs from Enqueue to Ack.
func BenchmarkJobs(b *testing.B) {
	j, ctx, g := clients(b, startServer(b), 1, nil)[0].Jobs(), context.Background(), chat.JobGroup{Queue: "q", Group: "g", Hold: 1e9, Attempts: 1}
	for b.Loop() {
		if _, err := j.Enqueue(ctx, "q", []byte("work")); err != nil {
			b.Fatal(err)
		}
		jobs, err := j.Take(ctx, g, "c", 1, 0)
		if err != nil || len(jobs) != 1 || j.Ack(ctx, g, jobs[0].ID) != nil {
			b.Fatal(len(jobs), err)
		}
	}
}
