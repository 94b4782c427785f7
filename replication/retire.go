package replication

import (
	"maps"
	"slices"
	"time"

	"meridian/chat"
)

// Each start of a node leaves an op log behind. Once every region has all of it, it is relayed no longer: only who has lost some of
// it with its store asks for it, as long as the log is there (FrameLives tells the ends).

// pastLate says that nothing can reach the op log of the life any more.
func (c *Core) pastLate(now time.Time, s *sibling) bool {
	return c.cfg.Lease == 0 || s.row.Until.Add(c.cfg.AdoptWait+lateFor).Time().Before(now)
}

// allHave says that every other region has acknowledged an op log to its end.
func (c *Core) allHave(positions map[chat.Region]uint64, last uint64) bool {
	for _, r := range c.order {
		if positions[r] < last {
			return false
		}
	}
	return true
}

// known gives what regions are known to have of the life: stored, less what they said to have lost.
func (s *sibling) known(stored map[chat.Region]uint64) map[chat.Region]uint64 {
	positions := map[chat.Region]uint64{}
	maps.Copy(positions, stored)
	for r, seq := range s.lacking {
		positions[r] = min(positions[r], seq)
	}
	return positions
}

// retireDone retires the op log of a life that this node relays, once all is done.
func (c *Core) retireDone(now time.Time, s *sibling) {
	log := c.logs[s.row.Stream]
	if log == nil || !s.finished || s.late.reading || !c.pastLate(now, s) || c.cfg.Lease > 0 && now.Sub(s.since) <= lateFor {
		return
	}
	for _, o := range log.relays {
		if !o.ready || o.acked < log.settled || o.acked > o.persisted {
			return
		}
	}
	c.retire(s)
}

// retire ends the relays of the op log.
func (c *Core) retire(s *sibling) {
	s.retired, s.finished, s.lacking = true, true, nil
	delete(c.logs, s.row.Stream)
	for _, r := range c.order {
		s.positions[r] = s.row.LastSeq
		delete(c.peers[r].out, s.row.Stream)
	}
	c.tellMarks = true
	c.tellLives()
}

// unstoredRetired gives the ends of the op logs that were retired, as positions of the own region: each restart adopts all that are
// still kept, and what was shown of them long ago is not to be shown anew each time.
func (c *Core) unstoredRetired() []chat.PositionRow {
	var rows []chat.PositionRow
	for _, s := range c.kin() {
		if s.retired && !s.marked && s.row.LastSeq > 0 {
			rows = append(rows, chat.PositionRow{Stream: s.row.Stream, To: c.cfg.Self, Seq: s.row.LastSeq})
		}
	}
	return rows
}

// askedAgain relays a retired op log once more: the region has lost some of it.
func (c *Core) askedAgain(p *peer, f *Frame) {
	s := c.siblings[f.Stream]
	if s == nil || !s.retired || f.UpTo >= s.row.LastSeq {
		return
	}
	s.retired, s.lacking = false, map[chat.Region]uint64{p.region: f.UpTo}
	s.positions[p.region] = f.UpTo
}

// livesKept is how many of the latest lives of each node are remembered, and told of; an earlier one that has ended is forgotten, but for
// how far it was shown here: its op log may stand for as long as op logs are kept, and whoever adopts it next relays it once more.
const livesKept = 8

// past is how far a stream that is not kept in mind is shown here, as the store or this node knew.
type past struct {
	row  chat.AppliedRow
	sure uint64
}

// maxPast bounds what is remembered so of one region; beyond it a stream is brought anew, which changes nothing.
const maxPast = 16_384

func (p *peer) remember(row chat.AppliedRow, sure uint64) {
	if len(p.past) < maxPast {
		p.past[row.Stream] = past{row, sure}
	}
}

// recall takes up a stream where it was.
func (p *peer) recall(s *inStream) {
	was, ok := p.past[s.id]
	if !ok {
		return
	}
	delete(p.past, s.id)
	s.stored, s.claim, s.sure = true, was.row, was.sure
	s.believe()
}

// restorePast remembers what the store knows of the streams that are not kept. Where nodes share the store, what it knows to be shown
// counts alone.
func (c *Core) restorePast(restored Restored, kept map[chat.StreamID]chat.AppliedRow) {
	sure := map[chat.StreamID]uint64{}
	for _, row := range restored.HandedOn {
		if row.To == c.cfg.Self {
			sure[row.Stream] = row.Seq
		}
	}
	for _, row := range restored.Applied {
		p, ok := c.peers[row.Stream.Region]
		if _, counts := kept[row.Stream]; !ok || counts || c.cfg.Lease > 0 && sure[row.Stream] == 0 {
			continue
		}
		p.remember(row, sure[row.Stream])
	}
}

// forget drops what is known of streams that have ended long ago: every node of this region shows all of them.
func (p *peer) forget() {
	if len(p.sorted) <= livesKept {
		return
	}
	kept := map[chat.NodeID]int{}
	for _, s := range slices.Backward(p.sorted) {
		if kept[s.id.Node]++; kept[s.id.Node] > livesKept && s.settled() {
			delete(p.streams, s.id)
			p.remember(chat.AppliedRow{Stream: s.id, Seq: s.reached(), Watermark: endOfStream}, s.reached())
		}
	}
	if len(p.streams) < len(p.sorted) {
		p.sorted = slices.DeleteFunc(slices.Clone(p.sorted), func(s *inStream) bool { return p.streams[s.id] == nil })
	}
}

// settled says that the stream has ended, and nothing of it waits here.
func (s *inStream) settled() bool {
	return s.covers.mark == endOfStream && s.idle() && !s.applying && !s.opening && s.parking.len() == 0 && len(s.parking.leaving) == 0 && s.unpassed == 0
}

// longOver says that a stream which is not among those told is no longer, by whoever told them.
func longOver[V any](id chat.StreamID, told map[chat.StreamID]V) bool {
	later := 0
	for other := range told {
		if other.Region == id.Region && other.Node == id.Node {
			if other.Incarnation < id.Incarnation {
				return false
			}
			later++
		}
	}
	return later >= livesKept
}

// latest gives what the store has of the latest lives of each node: others of the region have forgotten the rest, and do not tell of it.
func latest(rows []chat.AppliedRow) map[chat.StreamID]chat.AppliedRow {
	rows = slices.SortedFunc(slices.Values(rows), func(a, b chat.AppliedRow) int { return compareStreams(b.Stream, a.Stream) })
	count, kept := map[chat.NodeRef]int{}, map[chat.StreamID]chat.AppliedRow{}
	for _, row := range rows {
		node := chat.NodeRef{Region: row.Stream.Region, Node: row.Stream.Node}
		if count[node]++; count[node] <= livesKept {
			kept[row.Stream] = row
		}
	}
	return kept
}
