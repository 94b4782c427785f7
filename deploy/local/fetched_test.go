package local

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// What needs the network is done again when it fails, a few times at most, and no more when nobody waits for it.
func TestFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("the registry does not answer")
		ended, end := context.WithCancel(t.Context())
		end()
		for _, c := range []struct {
			name            string
			ctx             context.Context
			failures, tries int
			want            error
		}{
			{"at once", t.Context(), 0, 1, nil},
			{"at last", t.Context(), fetchTries - 1, fetchTries, nil},
			{"never", t.Context(), 100, fetchTries, failure},
			{"nobody waits", ended, 100, 1, failure},
		} {
			tries := 0
			err := fetched(c.ctx, nil, c.name, func() error {
				if tries++; tries <= c.failures {
					return failure
				}
				return nil
			})
			if tries != c.tries || !errors.Is(err, c.want) {
				t.Errorf("%s: %d tries, want %d: %v", c.name, tries, c.tries, err)
			}
		}
	})
}
