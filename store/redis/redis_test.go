package redis

import (
	"testing"
	"time"

	"meridian/chat"
	"meridian/store/storetest"
)

// A real Redis keeps the contracts.
func TestContracts(t *testing.T) {
	s := startServer(t)
	fresh := func(t testing.TB, n int, change func(*Options)) []*Client {
		s.must("FLUSHALL")
		return clients(t, s, n, change)
	}
	t.Run("Cache", func(t *testing.T) {
		storetest.RunCache(t, func(t testing.TB, n int) (all []chat.Cache) {
			for _, c := range fresh(t, n, nil) {
				all = append(all, c.Cache())
			}
			return all
		})
	})
	t.Run("Bus", func(t *testing.T) {
		storetest.RunBus(t, func(t testing.TB, n int) (all []chat.Bus) {
			for _, c := range fresh(t, n, nil) {
				all = append(all, c.Bus())
			}
			return all
		})
	})
	t.Run("Limiter", func(t *testing.T) {
		storetest.RunLimiter(t, func(t testing.TB, n int) (all []chat.Limiter) {
			for _, c := range fresh(t, n, nil) {
				all = append(all, c.Limiter(refuseAll{}))
			}
			return all
		})
	})
	t.Run("Jobs", func(t *testing.T) {
		storetest.RunJobs(t, func(t testing.TB, n, maxJobs int) (all []chat.Jobs) {
			for _, c := range fresh(t, n, func(o *Options) { o.MaxJobs = maxJobs }) {
				all = append(all, c.Jobs())
			}
			return all
		})
	})
	t.Run("Presences", func(t *testing.T) {
		storetest.RunPresences(t, func(t testing.TB, n int) (all []chat.Presences) {
			for _, c := range fresh(t, n, nil) {
				all = append(all, c.Presences())
			}
			return all
		})
	})
}

// From a large bucket nodes take several tokens at once, and never give more than there are.
func TestLimiterTakesSeveralAtOnce(t *testing.T) {
	s := startServer(t)
	nodes := clients(t, s, 2, nil)
	for name, limit := range map[string]chat.Limit{"slow": {PerSecond: 0.9, Burst: 1000}, "fast": {PerSecond: 40, Burst: 1000}} {
		limiters := []chat.Limiter{nodes[0].Limiter(refuseAll{}), nodes[1].Limiter(refuseAll{})}
		given, start := 0.0, time.Now()
		for i := range 4000 {
			within(t, "the server is asked", func() bool {
				ok, wait := limiters[i%2].Take(t.Context(), "send:"+name, limit, 1)
				if ok {
					given++
				}
				return ok || wait != refusedFor
			})
		}
		most := limit.Burst + limit.PerSecond*(time.Since(start).Seconds()+1)
		if least := limit.Burst * 0.95; given > most || given < least {
			t.Errorf("%s: %v tokens were given, of %v to %v", name, given, least, most)
		}
	}
}
