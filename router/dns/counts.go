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

// What the fast path counts: answers by kind, those that say that there is no such name by kind, and what the rate limit held back.
const (
	countMissing   = fastKinds
	countTruncated = 2 * fastKinds
	countDropped   = countTruncated + 1
	countKinds     = countDropped + 1
)

// fastCounts are the counts of all sockets. Metrics cost more than an answer, so they are told now and then.
type fastCounts [countKinds]atomic.Uint64

// batchCounts are those of one batch.
type batchCounts [countKinds]uint64

// note counts what answer gave for a query, other than 0.
func (b *batchCounts) note(q *fastQuery) {
	switch q.verdict {
	case drop:
		b[countDropped]++
		return
	case truncate:
		b[countTruncated]++
	case send:
		if q.missing {
			b[countMissing+q.kind]++
			return
		}
	}
	b[q.kind]++
}

// add counts a batch, and empties it.
func (c *fastCounts) add(batch *batchCounts) {
	for i, n := range batch {
		if n > 0 {
			c[i].Add(n)
			batch[i] = 0
		}
	}
}

// report moves the counts to the metrics.
func (c *fastCounts) report(metrics meter.Metrics) {
	for i := range c {
		n := float64(c[i].Swap(0))
		switch {
		case n == 0:
		case i == countTruncated:
			metrics.Add(metricLimited, n, "truncated")
		case i == countDropped:
			metrics.Add(metricLimited, n, "dropped")
		default:
			rcode := dns.RcodeSuccess
			if i >= countMissing {
				rcode = dns.RcodeNameError
			}
			metrics.Add("dns_queries_total", n, dns.TypeToString[fastTypes[i%fastKinds]], dns.RcodeToString[rcode])
			metrics.Add("dns_fast_total", n)
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
