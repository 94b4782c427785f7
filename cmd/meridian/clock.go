package main

import (
	"sync/atomic"
	"time"
)

// clock is the machine's clock, off by what a test has set: see nodeCommand. The zero clock is right.
type clock struct {
	offset atomic.Int64
}

// now gives the time. While it is wrong it has no monotonic reading, which an offset would move too.
func (c *clock) now() time.Time {
	if offset := c.offset.Load(); offset != 0 {
		return time.Now().Round(0).Add(time.Duration(offset))
	}
	return time.Now()
}

// set makes the clock jump: from now on it is off by offset.
func (c *clock) set(offset time.Duration) { c.offset.Store(int64(offset)) }
