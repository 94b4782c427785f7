package localtest

import (
	"testing"

	"meridian/deploy/local"
)

// Redis starts a Redis for one test alone, which ends it: a start takes some ten milliseconds. Where o names no directory it
// lies in a temporary one.
func Redis(t testing.TB, o local.RedisOptions) *local.Redis {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Progress = Progress
	r, err := local.NewRedis(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Kill(); err != nil {
			t.Error(err)
		}
	})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}
