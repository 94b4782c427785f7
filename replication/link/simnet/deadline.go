package simnet

import (
	"sync"
	"time"
)

// deadline closes a channel at a time that can be moved, also while somebody waits for it.
type deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	moved   int // how often it was set: a timer of an earlier time is ignored
	passed  bool
	expired chan struct{} // closed when passed
}

func newDeadline() *deadline { return &deadline{expired: make(chan struct{})} }

func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}

// set moves the deadline; the zero time means never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.moved++
	left := time.Until(t)
	if !t.IsZero() && left <= 0 {
		d.expire()
		return
	}
	if d.passed {
		d.passed, d.expired = false, make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	moved := d.moved
	d.timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.moved == moved {
			d.expire()
		}
	})
}

func (d *deadline) expire() {
	if !d.passed {
		d.passed = true
		close(d.expired)
	}
}
