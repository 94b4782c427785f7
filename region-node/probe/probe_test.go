package probe

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"meridian/chat"
)

const (
	every  = 500 * time.Millisecond
	wait   = 100 * time.Millisecond
	within = 2 * time.Second
)

// lasting makes a prober whose tries take so long, or until it is closed, and then end with what fails says; it counts them.
func lasting(takes *atomic.Int64, fails *atomic.Pointer[error]) (p *Prober, tries *atomic.Int64) {
	tries = &atomic.Int64{}
	return New(Options{Every: every, Wait: wait, Within: within, Try: func(ctx context.Context, at func(string, time.Duration)) error {
		tries.Add(1)
		at("store", within)
		select {
		case <-time.After(time.Duration(takes.Load())):
		case <-ctx.Done():
		}
		if err := fails.Load(); err != nil {
			return *err
		}
		return nil
	}}), tries
}

// However many ask, no more than one try begins in an interval, and everybody gets its outcome.
func TestManyShareATry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var takes atomic.Int64
		var fails atomic.Pointer[error]
		takes.Store(int64(10 * time.Millisecond))
		p, tries := lasting(&takes, &fails)
		defer p.Close()
		end := time.Now().Add(10 * time.Second)
		for range 100 {
			go func() {
				for time.Now().Before(end) {
					if err := p.Ask(t.Context()); err != nil {
						t.Error(err)
					}
					time.Sleep(7 * time.Millisecond)
				}
			}()
		}
		time.Sleep(11 * time.Second)
		if n := tries.Load(); n > 20 || n < 18 {
			t.Errorf("%d tries in 10 s, want 20 at most", n)
		}
	})
}

// What is slow is not broken: as long as no try takes longer than it may, whoever asks hears that it works, at once or after a short
// wait; a try that is over the bound fails, named by its step, and so does all until one ends well.
func TestSlowIsNotBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var takes atomic.Int64
		var fails atomic.Pointer[error]
		p, _ := lasting(&takes, &fails)
		defer p.Close()
		ask := func() error {
			began := time.Now()
			err := p.Ask(t.Context())
			if took := time.Since(began); took > wait {
				t.Errorf("who asks waits %v", took)
			}
			return err
		}
		for takes.Store(int64(within - 100*time.Millisecond)); time.Now().Before(time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC)); time.Sleep(300 * time.Millisecond) {
			if err := ask(); err != nil {
				t.Fatalf("slow: %v", err)
			}
		}
		time.Sleep(within + every)
		takes.Store(int64(time.Hour))
		began := time.Now()
		for ask() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took < within || took > within+wait {
			t.Errorf("a try that stands still is found after %v", took)
		}
		if err := ask(); chat.CodeOf(err) != chat.CodeRegionDegraded || !strings.Contains(err.Error(), "stuck at store for 2") {
			t.Errorf("stuck: %v", err)
		}
	})
}

// After a try that failed a slow one proves nothing until it has ended well; who asks of a closed prober is refused.
func TestFailureStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var takes atomic.Int64
		var fails atomic.Pointer[error]
		broken := errors.New("broken")
		fails.Store(&broken)
		p, _ := lasting(&takes, &fails)
		if err := p.Ask(t.Context()); !errors.Is(err, broken) {
			t.Errorf("a try that fails at once: %v", err)
		}
		time.Sleep(every)
		fails.Store(nil)
		takes.Store(int64(time.Second))
		if err := p.Ask(t.Context()); !errors.Is(err, broken) {
			t.Errorf("while the next is under way: %v", err)
		}
		time.Sleep(time.Second)
		if err := p.Ask(t.Context()); err != nil {
			t.Errorf("after it ended well: %v", err)
		}
		p.Close()
		time.Sleep(every)
		if err := p.Ask(t.Context()); chat.CodeOf(err) != chat.CodeRegionDegraded {
			t.Errorf("closed: %v", err)
		}
	})
}
