package local

import (
	"context"
	"time"
)

// fetchTries and fetchPause bound what needs the network: a registry may not answer for a moment.
const (
	fetchTries = 3
	fetchPause = 10 * time.Second
)

// fetched does something that needs the network, and does it again where it fails, a few times.
func fetched(ctx context.Context, progress Progress, name string, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || try == fetchTries || ctx.Err() != nil {
			return err
		}
		progress.say("%s: again in %v: %v", name, fetchPause, err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(fetchPause):
		}
	}
}
