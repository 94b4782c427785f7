package link

import (
	"context"
	"time"
)

// settleEvery is how often Settle looks.
const settleEvery = 2 * time.Millisecond

// Settle waits until this side has owed nothing on any connection, at some moment since the call for each of them: no request or
// stream of the other side was being served, and nothing waited to be written. It gives up when ctx ends. A node that takes nothing
// new any more has then answered what it took.
func (m *Mesh) Settle(ctx context.Context) {
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	for _, p := range m.peers {
		for s := p.current(); s != nil && s.ctx.Err() == nil && !s.settled(); {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}
}

func (s *session) settled() bool {
	control, _ := s.out.waiting()
	return s.calls.busy() == 0 && s.streams.busy() == 0 && control == 0
}

// busy counts the requests being served.
func (c *calls) busy() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.serving)
}

// busy counts the other side's streams being served.
func (ss *streams) busy() int {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.theirs
}
