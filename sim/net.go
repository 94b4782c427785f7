package sim

import (
	"time"

	"meridian/replication"
)

// link is the connection between two nodes: up at both ends or at none when it is dialled, and noticed down by each end
// for itself. A cut path holds frames back; what it holds is lost when the connection ends.
type link struct {
	w     *world
	ends  [2]*node
	delay time.Duration // one way

	dials int
	pings int
	gen   int // counts connections
	up    [2]bool
	cut   [2]bool // frames from ends[i] do not pass
	held  [2][]func()
	slow  [2]time.Duration // what frames from ends[i] take besides
	last  [2]time.Duration // when the last frame from ends[i] arrives
}

func (l *link) name() string { return l.ends[0].name() + "~" + l.ends[1].name() }

// dial connects as soon as both ends run and neither path is cut; it is repeated until that is so.
func (l *link) dial() {
	l.dials++
	l.w.roll("dial", l.name(), l.dials)
	l.w.after(l.w.between(20*time.Millisecond, 900*time.Millisecond), l.dial)
	a, b := l.ends[0], l.ends[1]
	if a.runs() && b.runs() && !l.cut[0] && !l.cut[1] && !l.up[0] && !l.up[1] {
		l.gen++
		gen := l.gen
		l.held = [2][]func(){}
		l.last = [2]time.Duration{}
		l.up = [2]bool{true, true}
		for i, end := range l.ends {
			peer := l.ends[1-i].ref
			end.later(0, func() { l.ping(gen, i) })
			end.later(0, func() {
				if l.gen == gen && l.up[i] {
					end.step(replication.PeerUp{Peer: peer})
				}
			})
		}
		l.w.note(l.name(), "connected")
	}
}

// down tells one end that the connection is gone.
func (l *link) down(i int) {
	if !l.up[i] {
		return
	}
	l.up[i] = false
	end, peer := l.ends[i], l.ends[1-i].ref
	end.later(0, func() { end.step(replication.PeerDown{Peer: peer}) })
}

// lose ends the connection; each side notices in its own time.
func (l *link) lose() {
	gen := l.gen
	for i := range l.ends {
		l.w.after(l.w.between(0, 1500*time.Millisecond), func() {
			if l.gen == gen {
				l.held = [2][]func(){}
				l.down(i)
			}
		})
	}
}

// endDown: one end's process is gone.
func (l *link) endDown(n *node) {
	for i, end := range l.ends {
		if end == n {
			l.up[i] = false
			gen := l.gen
			notice := 2 * time.Second // silence
			if l.w.chance(0.5) {
				notice = 30 * time.Millisecond // a reset by the kernel
			}
			l.w.after(l.w.between(0, notice), func() {
				if l.gen == gen {
					l.down(1 - i)
				}
			})
		}
	}
}

// block cuts or heals the path from ends[i].
func (l *link) block(i int, cut bool) {
	l.cut[i] = cut
	if cut {
		return
	}
	flush := l.held[i]
	l.held[i] = nil
	for _, f := range flush {
		f()
	}
}

// sendFrame puts a frame on its way.
func (w *world) sendFrame(from *node, out replication.Send) {
	if l := from.paths[out.Peer]; l != nil {
		i := 0
		if l.ends[1] == from {
			i = 1
		}
		l.transmit(i, w.forged(from, l.ends[1-i], l.agreed(out.Frame)))
	}
}

// transmit carries a relay frame.
func (l *link) transmit(i int, f replication.Frame) {
	to, from := l.ends[1-i], l.ends[i].ref
	l.carry(i, func() {
		l.w.trace.add(uint64(l.w.now))
		l.w.trace.add(f.UpTo<<8 | uint64(f.Kind))
		to.received(from, f)
	})
}

// carry has something of ends[i] arrive, in order within its connection; nothing is repeated, and the tail may be lost.
func (l *link) carry(i int, arrive func()) {
	if !l.up[i] {
		return
	}
	gen := l.gen
	to := l.ends[1-i]
	carry := func() {
		at := max(l.last[i], l.w.now+l.delay+l.slow[i]+l.w.between(0, 1+l.delay/4))
		if l.w.chance(0.01) {
			at += l.w.between(0, 300*time.Millisecond)
		}
		l.last[i] = at
		to.later(at-l.w.now, func() {
			if l.gen == gen && l.up[1-i] {
				arrive()
			}
		})
	}
	if l.cut[i] {
		l.held[i] = append(l.held[i], carry)
		return
	}
	carry()
}
