package dns

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"meridian/router/meter"
)

// reportEvery is how late the metrics of the fast path are at most.
const reportEvery = time.Second

// fastCounts are what the fast path has answered, by kind. Metrics cost more than an answer, so they are told now and then.
type fastCounts [fastKinds]atomic.Uint64

// add counts a batch.
func (c *fastCounts) add(batch *[fastKinds]uint64) {
	for kind, n := range batch {
		if n > 0 {
			c[kind].Add(n)
			batch[kind] = 0
		}
	}
}

// report moves the counts to the metrics.
func (c *fastCounts) report(metrics meter.Metrics) {
	for kind := range c {
		if n := c[kind].Swap(0); n > 0 {
			metrics.Add("dns_queries_total", float64(n), dns.TypeToString[fastTypes[kind]], dns.RcodeToString[dns.RcodeSuccess])
			metrics.Add("dns_fast_total", float64(n))
		}
	}
}

// run reports until ctx ends.
func (c *fastCounts) run(ctx context.Context, metrics meter.Metrics) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.report(metrics)
		}
	}
}
