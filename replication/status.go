package replication

import (
	"time"

	"meridian/chat"
)

// PeerStatus is how the relays to one region stand.
type PeerStatus struct {
	Region chat.Region
	Up     bool
	// Ready: the region has stated its position in every op log that is relayed from here.
	Ready bool
	// Acked is durable there of the own op log; Last is the largest durable sequence here. Backlog counts the sequences between,
	// also those that do not concern the region, and those of adopted op logs.
	Acked, Last, Backlog uint64
	// WindowOps and WindowBytes are sent and not acknowledged.
	WindowOps, WindowBytes int
	// OutboxBytes is what this node's op logs owe the region, OutboxRatio which share of its budget that is; Oldest is how long
	// ago the oldest of it was logged.
	OutboxBytes int64
	OutboxRatio float64
	Oldest      time.Duration
	// Expiring: it is nearly as old as op logs get. Slowed and Refused count submits since the core began.
	Expiring        bool
	Slowed, Refused uint64
}

// OriginStatus is how far a foreign stream is applied here.
type OriginStatus struct {
	Stream    chat.StreamID
	Seq       uint64
	Watermark chat.HLC
	// Age is how old the watermark is: what a resume in another region reads again. A stream never heard of has no status.
	Age time.Duration
	// Queued ops are received and not yet applied.
	Queued int
	// Parked ops are received and wait for the clock, or for a newer build.
	Parked int
}

// Peers gives the relays, by region.
func (c *Core) Peers(now time.Time) []PeerStatus {
	list := make([]PeerStatus, 0, len(c.order))
	for _, r := range c.order {
		p := c.peers[r]
		st := PeerStatus{
			Region: r, Up: p.up(), Ready: true, Last: c.own.settled, Oldest: c.oldestOwed(now, p), Expiring: p.old,
			Slowed: p.slowCount, Refused: p.refusedCount,
		}
		st.OutboxBytes, st.OutboxRatio = c.outbox(p)
		for _, o := range p.outbounds() {
			st.Ready = st.Ready && o.via != "" && o.ready
			st.Backlog += o.log.settled - min(o.acked, o.log.settled)
			st.WindowOps += o.ops
			st.WindowBytes += o.bytes
			if o.log == c.own {
				st.Acked = o.acked
			}
		}
		list = append(list, st)
	}
	return list
}

// Origins gives the foreign streams that count, by region.
func (c *Core) Origins(now time.Time) []OriginStatus {
	var list []OriginStatus
	for _, r := range c.order {
		for _, s := range c.peers[r].known() {
			if s.watermark == endOfStream {
				continue
			}
			list = append(list, OriginStatus{
				Stream: s.id, Seq: s.durable, Watermark: s.watermark, Age: max(0, now.Sub(s.watermark.Time())), Queued: s.queued, Parked: s.parking.len(),
			})
		}
	}
	return list
}

// Submits counts the submits that are not answered yet.
func (c *Core) Submits() int { return c.sends.active }

// Writes counts the batches under way.
func (c *Core) Writes() int { return len(c.writes) }

// Stream names the own stream.
func (c *Core) Stream() chat.StreamID { return c.stream }

// LastSeq is the largest durable sequence of the own stream.
func (c *Core) LastSeq() uint64 { return c.own.settled }

// Looks counts the looks at groups that are not finished.
func (c *Core) Looks() int { return len(c.looks) }
