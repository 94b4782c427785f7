package replication

import (
	"slices"
	"sort"

	"meridian/chat"
)

// ownLog is an op log that this node is answerable for, its own or one of a life that has ended, as the relay sees it. Sequence and time are given together, so their orders agree.
//
// A failed write leaves a hole in the sequence. That is harmless: a frame says "your ops in (After, UpTo] are exactly
// these". But UpTo never passes the largest durable sequence, which is where the op log ends for whoever adopts it.
type ownLog struct {
	stream chat.StreamID
	// closed: nothing is added any more; it was a life that has ended, and this node is answerable for it.
	closed   bool
	last     uint64 // the last sequence given out
	settled  uint64 // the largest durable sequence below which nothing is under way
	flight   []*ownOp
	tail     []chat.Op // recent durable ops, ascending; all of those with a sequence above tailFrom
	tailFrom uint64
	relays   []*outbound // of it, by region
	recount  recount
}

// ownOp is an op from its stamp to its turn in the tail.
type ownOp struct {
	op              chat.Op
	settled, failed bool
}

// start remembers an op that is being written.
func (l *ownLog) start(op chat.Op) *ownOp {
	o := &ownOp{op: op}
	l.flight = append(l.flight, o)
	l.owe(&o.op, (*owed).add)
	return o
}

// owe changes what is owed to each region that the op concerns.
func (l *ownLog) owe(op *chat.Op, change func(*owed, *chat.Op)) {
	for _, out := range l.relays {
		if concerns(op, out.to) {
			change(&out.owed, op)
		}
	}
}

// advance moves what is settled into the tail and keeps at most keep ops there.
func (l *ownLog) advance(keep int) {
	for len(l.flight) > 0 && l.flight[0].settled {
		o := l.flight[0]
		l.flight[0] = nil
		l.flight = l.flight[1:]
		if o.failed {
			l.owe(&o.op, (*owed).drop)
			continue
		}
		l.settled = o.op.Seq
		l.tail = append(l.tail, o.op)
	}
	for len(l.tail) > keep {
		l.tailFrom = l.tail[0].Seq
		l.tail[0] = chat.Op{}
		l.tail = l.tail[1:]
	}
}

// after gives the tail's ops above seq.
func (l *ownLog) after(seq uint64) []chat.Op {
	i := sort.Search(len(l.tail), func(i int) bool { return l.tail[i].Seq > seq })
	return l.tail[i:]
}

// concerns says whether region is among the op's destinations.
func concerns(op *chat.Op, region chat.Region) bool { return slices.Contains(op.To, region) }

// size estimates what an op takes in a frame, in bytes.
func size(op *chat.Op) int {
	bytes := 256 + len(op.Body) + len(op.Unknown) + 48*max(0, len(op.Owners)-2)
	if op.Rows != nil {
		bytes += rowsSize(op.Rows)
	}
	return bytes
}
