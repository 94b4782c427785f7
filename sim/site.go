package sim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication"
	"meridian/sim/memstore"
)

// The lease of nodes that share a store.
const (
	leaseFor  = 2 * time.Second
	adoptWait = 1500 * time.Millisecond
)

// site is a region: the store, and the nodes that share it.
type site struct {
	region  chat.Region
	index   int
	tables  *memstore.Tables // what is durable
	nodes   []*node
	lost    bool          // for good, with its disk; tables are what it had
	stalled time.Duration // until then the disk syncs nothing
	skew    time.Duration // of all its clocks, besides their own
	// Marks and watermarks ever given out, by whatever node in whatever life: nothing may be stamped at or below them.
	givenLocal    chat.HLC
	toldWatermark map[chat.StreamID]chat.HLC
	shown         shownOps
	owed          []owed // by Logged
	late          map[lateRow]bool
	ahead         chat.HLC // up to where lives have reserved that rightly believed a clock which was ahead
}

// forwardAfter is short, so that it happens in many worlds.
const forwardAfter = 2 * time.Second

// shared says that several nodes use the store.
func (s *site) shared() bool { return len(s.nodes) > 1 }

// strandedMax is how much longer what a node asks its store takes at most, while the way there is slow.
const strandedMax = leaseFor + adoptWait

// store has do happen after the time that a small write takes, in this life of the process.
func (n *node) store(do func()) {
	took := n.slowRead(time.Millisecond, 6*time.Millisecond) + max(0, n.site.stalled-n.w.now)
	if n.w.now < n.stranded {
		took += n.w.between(0, strandedMax)
	}
	n.later(took, do)
}

// renew extends the node's lease.
func (n *node) renew(out replication.Renew) {
	n.store(func() {
		err := n.tables.Renew(n.ref.Node, out.Until, out.Low)
		n.step(replication.Renewed{Until: out.Until, Nodes: n.tables.Nodes(), Err: err})
	})
}

// adopt makes the node answerable for a life that has ended.
func (n *node) adopt(out replication.Adopt) {
	n.store(func() {
		row, err := n.tables.Adopt(n.ref.Node, out.Life, out.Before)
		in := replication.Adopted{Life: out.Life, Row: row, Err: err}
		if err == nil {
			n.w.faults["op log adopted"]++
			n.w.note(n.name(), "adopts %v up to %d", out.Life, row.LastSeq)
			in.Positions = n.tables.Positions(out.Life)
			for _, op := range n.seen(n.tables.ReadLog(out.Life, 0, row.LastSeq, "", everything)) {
				if n.site.shared() && op.Logged > row.Low {
					in.Tail = append(in.Tail, op)
				}
			}
			in.Parked = n.seenParked(n.tables.Parked())
		}
		n.step(in)
	})
}

// readParked asks the store what is parked of a stream.
func (n *node) readParked(out replication.ReadParked) {
	n.store(func() {
		in := replication.ParkedRead{Stream: out.Stream, Rows: n.parked(out.Stream), Known: map[int][]chat.RetryRow{}, High: n.highest()}
		for i := range in.Rows {
			if rows := n.retries(&in.Rows[i].Op); len(rows) > 0 {
				in.Known[i] = rows
			}
		}
		n.step(in)
	})
}

// highest is the largest high-water mark of the region's nodes.
func (n *node) highest() (high chat.HLC) {
	for _, row := range n.tables.Nodes() {
		high = max(high, row.HighWater)
	}
	return high
}

// lifeOver ends the process; it comes back as a new life.
func (n *node) lifeOver(reason string) {
	n.w.faults["life over"]++
	n.w.note(n.name(), "life over: %s", reason)
	n.crash()
	n.w.after(n.w.between(50*time.Millisecond, 500*time.Millisecond), func() {
		if !n.up {
			n.boot()
		}
	})
}

// review reads what other nodes may have written.
func (n *node) review(out replication.Review) {
	n.later(n.slowRead(0, 4*time.Millisecond), func() {
		in := replication.Reviewed{Review: out.ID}
		for _, k := range out.Sends {
			in.Sends = append(in.Sends, n.tables.Retries(k.Author, k.Client))
		}
		n.step(in)
	})
}

// parks says whether the send waits in the region's store to be applied.
func (s *site) parks(m *send) bool {
	return slices.ContainsFunc(s.tables.Parked(), func(row chat.ParkedRow) bool { return row.Op.Client == m.client && string(row.Op.Body) == m.body })
}
