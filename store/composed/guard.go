package composed

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"meridian/chat"
)

// rest is how long the account store is not asked after it did not answer: nobody waits in line for a server that is gone.
const rest = time.Second

// guard asks the account store, and answers in its stead for a while after it has failed.
type guard struct {
	now    func() time.Time
	log    *slog.Logger
	up     func(bool)
	down   atomic.Pointer[failure]
	silent atomic.Bool // the last answer was none: for the log and the metric, which are told of changes
}

type failure struct {
	until time.Time
	err   *chat.Error
}

func newGuard(o Options) *guard {
	o.Metrics.Up(true)
	return &guard{now: o.Now, log: o.Log, up: o.Metrics.Up}
}

// resting gives why the account store is not asked now; nil: it may be.
func (g *guard) resting() *chat.Error {
	f := g.down.Load()
	if f == nil || !g.now().Before(f.until) {
		return nil
	}
	return f.err
}

// ask calls the account store unless it rests.
func (g *guard) ask(ctx context.Context, call func() error) error {
	if err := g.resting(); err != nil {
		return err
	}
	err := call()
	if !unanswered(err) {
		g.down.Store(nil)
		if g.silent.CompareAndSwap(true, false) {
			g.up(true)
			g.log.Info("the account store answers again")
		}
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return err // the caller went away: that says nothing of the store
	}
	e := *chat.AsError(err)
	e.Code, e.RetryAfter = chat.CodeRegionDegraded, max(e.RetryAfter, rest)
	g.down.Store(&failure{until: g.now().Add(rest), err: &e})
	if g.silent.CompareAndSwap(false, true) {
		g.up(false)
		g.log.Error("the account store does not answer: nobody can log in, messages go on", "err", err)
	}
	return err
}

// unanswered says that the store did not do its work, whatever is asked of it.
func unanswered(err error) bool {
	switch chat.CodeOf(err) {
	case "", chat.CodeInvalid:
		return false
	}
	return true
}
