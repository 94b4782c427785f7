// Package probe lets many who ask whether something works share one try of it, and tells what is slow from what is broken.
package probe

import (
	"context"
	"fmt"
	"sync"
	"time"

	"meridian/chat"
)

// Options make a Prober.
type Options struct {
	// Try tries it once. It tells each step as it begins, with how long the try may take until that step has ended, counted from the
	// try's beginning; it ends when ctx does.
	Try func(ctx context.Context, at func(step string, within time.Duration)) error
	// Within is how long a try may take until its first step.
	Within time.Duration
	// Every is how long after one began no other try begins, however many ask. Wait is how long who asks waits for one.
	Every, Wait time.Duration
	// Ended, if set, is told of each try.
	Ended func(took time.Duration, err error)
}

// Prober tries something when it is asked, one try at a time. Make it with New and close it.
type Prober struct {
	opt  Options
	ctx  context.Context
	stop context.CancelFunc

	mu     sync.Mutex
	newest *try  // under way, or ended
	before error // how the one before it ended
	closed bool
	done   sync.WaitGroup
}

// try is one try. Its step changes while it is under way; err is set when ended is closed.
type try struct {
	began time.Time
	ended chan struct{}
	err   error

	mu     sync.Mutex
	step   string
	within time.Duration
}

// New makes a Prober.
func New(opt Options) *Prober {
	p := &Prober{opt: opt}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// Close ends the try under way, and waits for it.
func (p *Prober) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.done.Wait()
}

// Ask gives what is wrong, nil: nothing. A try that is under way for longer than who asks can wait counts as the one before it
// ended, until it takes longer than it may. Errors: the try's, CodeRegionDegraded for one that takes too long.
func (p *Prober) Ask(ctx context.Context) error {
	t, before := p.current()
	if t == nil {
		return &chat.Error{Code: chat.CodeRegionDegraded, Op: "probe.Ask", Message: "the node is stopping"}
	}
	wait := time.NewTimer(min(p.opt.Wait, t.left()))
	defer wait.Stop()
	select {
	case <-t.ended:
		return t.err
	case <-ctx.Done():
	case <-wait.C:
	}
	if t.left() <= 0 {
		return t.stuck()
	}
	return before
}

// current gives the try to wait for, which may begin now, and how the one before ended; nil when the prober is closed.
func (p *Prober) current() (t *try, before error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.newest != nil && (!p.newest.over() || time.Since(p.newest.began) < p.opt.Every) {
		return p.newest, p.before
	}
	if p.closed {
		return nil, nil
	}
	if p.newest != nil {
		p.before = p.newest.err
	}
	p.newest = &try{began: time.Now(), ended: make(chan struct{}), within: p.opt.Within, step: "start"}
	t = p.newest
	p.done.Go(func() {
		t.err = p.opt.Try(p.ctx, t.at)
		if p.opt.Ended != nil {
			p.opt.Ended(time.Since(t.began), t.err)
		}
		close(t.ended)
	})
	return t, p.before
}

func (t *try) over() bool {
	select {
	case <-t.ended:
		return true
	default:
		return false
	}
}

func (t *try) at(step string, within time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.step, t.within = step, within
}

// left is how long the try may still take for its step.
func (t *try) left() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.within-time.Since(t.began))
}

func (t *try) stuck() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &chat.Error{
		Code: chat.CodeRegionDegraded, Op: "probe.Ask",
		Message: fmt.Sprintf("stuck at %s for %v, longer than %v", t.step, time.Since(t.began).Round(100*time.Millisecond), t.within),
	}
}
