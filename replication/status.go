package replication

import (
	"time"

	"meridian/chat"
)

// PeerStatus is how the relay to one region stands.
type PeerStatus struct {
	Region chat.Region
	Up     bool
	// Ready: the region has stated its position on this link.
	Ready bool
	// Acked is durable there; Last is the largest durable sequence here. Backlog counts the sequences between, also those
	// that do not concern the region.
	Acked, Last, Backlog uint64
	// WindowOps and WindowBytes are sent and not acknowledged.
	WindowOps, WindowBytes int
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
}

// Peers gives the relays, by region.
func (c *Core) Peers() []PeerStatus {
	list := make([]PeerStatus, 0, len(c.order))
	for _, r := range c.order {
		p := c.peers[r]
		list = append(list, PeerStatus{
			Region: r, Up: p.up, Ready: p.up && p.ready, Acked: p.acked, Last: c.own.settled, Backlog: c.own.settled - min(p.acked, c.own.settled),
			WindowOps: p.ops, WindowBytes: p.bytes,
		})
	}
	return list
}

// Origins gives the foreign streams that count, by region.
func (c *Core) Origins(now time.Time) []OriginStatus {
	var list []OriginStatus
	for _, r := range c.order {
		for _, s := range c.peers[r].latest() {
			list = append(list, OriginStatus{
				Stream: s.id, Seq: s.durable, Watermark: s.watermark, Age: max(0, now.Sub(s.watermark.Time())), Queued: s.queued,
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
