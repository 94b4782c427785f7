package cassandra

import (
	"testing"
	"time"
)

// server is one that takes so long for each batch, and gives up what takes longer than it waits; it has worked for nothing then.
type server struct{ each, gives time.Duration }

// write gives how long a group of n takes, beside three others of the kind.
func (s server) write(n int) (took time.Duration, late bool) {
	took = s.each * time.Duration(n*groupsInFlight)
	return min(took, s.gives), took > s.gives
}

// Whatever a server can do, a node that has much to write soon gives it no more at once than it writes in time, and no less than makes
// groups worth while; and when the server becomes quicker or slower, the node follows.
func TestPace(t *testing.T) {
	p := newPace()
	for _, each := range []time.Duration{time.Millisecond / 10, 10 * time.Millisecond, time.Millisecond, 100 * time.Millisecond, 5 * time.Millisecond} {
		s, lost := server{each, 2 * time.Second}, 0
		for i := range 300 {
			n := p.batches
			took, late := s.write(n)
			p = p.after(n, took, late)
			if late && i > 10 {
				lost++
			}
		}
		took, _ := s.write(p.batches)
		if lost > 0 || took > slow && p.batches > 1 || took < quick/2 && p.batches < maxGroupBatches {
			t.Errorf("a server of %v for each: %d groups given up, at last %d batches in %v", each, lost, p.batches, took)
		}
	}
}

// Groups that were not full say nothing about how many may be given.
func TestPaceOfFew(t *testing.T) {
	p := newPace()
	for range 100 {
		p = p.after(1, time.Millisecond, false)
	}
	if p.batches != firstGroupBatches {
		t.Errorf("%d batches after groups of one", p.batches)
	}
}
