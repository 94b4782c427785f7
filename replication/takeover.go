package replication

import (
	"time"

	"meridian/chat"
)

// A foreign stream is brought to one node of the region at a time. Whoever gets it next goes on from what the other nodes have
// told (FrameMarks), and not from what stands in the store: what a frozen node was about to write may have reached the store long
// after the low mark of its life was released, so that nobody is shown it. So it is with a node that starts beside others. What was
// not told is brought once more, which changes nothing.

// restore takes the store's word on a stream. A node that shares the store only keeps it, until it knows whether others tell more.
func (s *inStream) restore(row chat.AppliedRow, shared bool) {
	s.stored, s.claim = true, row
	if !shared {
		s.believe()
	}
}

// believe takes the store's word for what is shown here. Where nodes share the store the last of it may have come too late: what the
// store knows to be shown counts, and the origin, or who has it, brings the rest once more.
func (s *inStream) believe() {
	if s.sure != 0 && s.sure < s.claim.Seq {
		s.claim.Seq, s.claim.Watermark = s.sure, 0
	}
	if s.claim.Seq > s.durable {
		s.durable, s.shown, s.reviewed = s.claim.Seq, s.claim.Seq, s.claim.Seq
		s.forgetQueue()
	}
	s.watermark = max(s.watermark, s.claim.Watermark)
	s.next, s.heard = max(s.next, s.watermark), max(s.heard, s.watermark)
}

// unstoredShown gives how far this node shows the region's streams, and has reviewed what it shows, where others share the store and it
// does not know yet: as the position of the own region, which a write that comes late does not move. Who goes on from there, after all
// of them died, is brought the rest once more, and reviews it.
func (c *Core) unstoredShown(now time.Time, p *peer) []chat.PositionRow {
	if c.cfg.Lease == 0 || !c.certain(now) {
		return nil
	}
	var rows []chat.PositionRow
	for _, s := range p.known() {
		if at := min(s.shown, s.reviewed); at > s.sure {
			rows = append(rows, chat.PositionRow{Stream: s.id, To: c.cfg.Self, Seq: at})
		}
	}
	return rows
}

// settledStreams says that this node knows where foreign streams stand: it has the store alone, or it takes part, and until then has
// listened to the other nodes. Where none told anything, the store's word counts.
func (c *Core) settledStreams(now time.Time) bool {
	if c.knowsStreams || !c.Joined(now) {
		return c.knowsStreams
	}
	c.knowsStreams = true
	if c.heardSiblings {
		return true
	}
	for _, r := range c.order {
		for _, s := range c.peers[r].known() {
			s.believe()
		}
	}
	return true
}

// opened answers a node that will bring a stream.
func (c *Core) opened(now time.Time, p *peer, in *Received) {
	stream := in.Frame.Stream
	if stream.Region != p.region {
		c.alarm(Alarm{Code: chat.CodeBadFrame, Peer: p.region, Stream: stream, Detail: "a stream that is not the peer's"})
		return
	}
	s := p.inbound(stream)
	s.link, s.heardAt, s.opening = in.Peer, now, true
	c.takeOver(now, s)
}

// takeOver states the position of a stream that was opened here, as soon as this node's low mark covers what another node has
// shown of it: a watermark that comes next speaks of that too. What that one has parked of it is asked of the store before.
func (c *Core) takeOver(now time.Time, s *inStream) {
	if !c.settledStreams(now) || !c.certain(now) {
		return // the next tick tries again
	}
	if s.told > s.durable {
		if !s.knowsParked() {
			return // the next tick asks
		}
		if c.clock.Observe(now, s.toldLow) != nil || c.low(now) < s.toldLow {
			return // the next tick tries again
		}
		s.durable, s.shown, s.reviewed = s.told, s.told, s.told
		s.forgetQueue()
	}
	s.opening = false
	c.ask(now, s, "")
}

// tells gives what this node tells of the stream: what low covers, its own work or another node's.
func (s *inStream) tells(low chat.HLC) chat.AppliedRow {
	row := chat.AppliedRow{Stream: s.id, Seq: s.shown, Watermark: max(s.watermark, s.covers.mark)}
	if s.toldLow <= low {
		row.Seq = max(row.Seq, s.told)
	}
	return row
}

// reached is how far the region shows the stream, as far as this node knows. What else stands in the store does not count: who
// believes that it is here hands it on no more.
func (s *inStream) reached() uint64 {
	return max(s.durable, s.told)
}

// hearsOf takes another node's word on a stream: applied up to row, and visible by low.
func (s *inStream) hearsOf(low chat.HLC, row chat.AppliedRow) (news bool) {
	news = s.told < row.Seq || s.toldMark < row.Watermark
	if s.told < row.Seq {
		s.told, s.toldLow = row.Seq, low
	}
	s.toldMark = max(s.toldMark, row.Watermark)
	s.covers.add(low, row.Watermark)
	return news
}
