package redis

import (
	"testing"

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
