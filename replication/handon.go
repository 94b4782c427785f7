package replication

import (
	"time"

	"meridian/chat"
	"meridian/residency"
)

// What one region has of a lost one, and another has not, is handed on: a region that hears nothing of another tells the
// rest how far it has its streams (FrameHave); who has ops beyond that for it, and may bring them, logs them anew in the own
// stream for that region. It does not matter whether the origin is lost, or only the path to it is cut: if it comes back it
// brings the same ops, which change nothing.

// What is kept for others stays in the op log until they are known to have it. So each region tells now and then, of those that
// it hears too, how far it has their streams.

const (
	// haveShare: while it lasts, FrameHave is repeated this often within ForwardAfter.
	haveShare = 4
	// haveIdle is how many times ForwardAfter pass between two FrameHave about a region that is heard.
	haveIdle = 6
)

// handOn is how far a foreign stream was handed on to a region.
type handOn struct {
	handed    uint64 // durable in the own op log up to here
	persisted uint64 // of handed, what the store knows
	busy      bool   // a page is read, or on its way into the own log
	full      bool   // the page was cut off: there is more
	upTo      uint64 // where the page ends
	left      int    // ops of the page that are not durable yet
}

// hears notes that the region lives, whichever node of this region was told.
func (p *peer) hears(now time.Time) { p.heardAt = now }

// tellHave tells the other regions how far this one has the streams of each that has been silent for long, and now and then
// those of the rest.
func (c *Core) tellHave(now time.Time) {
	for _, r := range c.order {
		p := c.peers[r]
		if p.heardAt.IsZero() {
			p.heardAt = now
		}
		f, every := Frame{Kind: FrameHave, Stream: chat.StreamID{Region: r}}, c.cfg.ForwardAfter/haveShare
		if now.Sub(p.heardAt) < c.cfg.ForwardAfter {
			f.UpTo, every = haveHeard, c.cfg.ForwardAfter*haveIdle
		}
		if c.cfg.ForwardAfter == 0 || now.Sub(p.toldAt) < every || !c.knowsStreams {
			continue
		}
		p.toldAt = now
		for _, s := range p.known() {
			f.Applied = append(f.Applied, chat.AppliedRow{Stream: s.id, Seq: s.reached()})
		}
		for _, other := range c.order {
			q := c.peers[other]
			if node := q.choose(f.Stream); other != r && node != "" {
				c.emit(Send{Peer: chat.NodeRef{Region: other, Node: node}, Frame: f})
			}
		}
	}
}

// haveTold takes a region's word on how far it has the streams of another, which it does not hear.
func (c *Core) haveTold(p *peer, f *Frame) {
	of, ok := c.peers[f.Stream.Region]
	if f.Stream.Region == c.cfg.Self || !ok {
		return // it will hear of us again; our streams are relayed. Or the region is taken out of the configuration, here and not there yet
	}
	if of == p || len(f.Applied) > maxTold {
		c.alarm(Alarm{Code: chat.CodeBadFrame, Peer: p.region, Stream: f.Stream, Detail: "not what a region has of the streams of a third one"})
		return
	}
	have := map[chat.StreamID]uint64{}
	for _, row := range f.Applied {
		have[row.Stream] = row.Seq
	}
	for _, s := range of.known() {
		if _, told := have[s.id]; !told && longOver(s.id, have) {
			continue
		}
		h := p.handOn(s.id)
		if !h.busy {
			h.handed = max(h.handed, have[s.id])
		}
		// Of a life that has ended, who hears the region may lack what it lost with its store.
		if !h.busy && (f.UpTo != haveHeard || s.watermark == endOfStream && h.handed < s.reached()) {
			c.readOn(p, s.id, h)
		}
	}
}

func (p *peer) handOn(stream chat.StreamID) *handOn {
	h, ok := p.handed[stream]
	if !ok {
		h = &handOn{}
		p.handed[stream] = h
	}
	return h
}

// readOn asks for the next page of what the region lacks.
func (c *Core) readOn(p *peer, stream chat.StreamID, h *handOn) {
	h.busy = true
	c.emit(ReadLog{Stream: stream, To: p.region, After: h.handed, UpTo: ^uint64(0), Limit: max(1, c.cfg.BatchOps)})
}

// foreignRead takes ops of a foreign stream that a region lacks. Which other ids their sends have here is read before they are
// logged anew, so that no alias is shown as a message again.
func (c *Core) foreignRead(p *peer, in LogRead) {
	h := p.handOn(in.Stream)
	if !h.busy || h.left > 0 {
		return
	}
	h.full = len(in.Ops) >= max(1, c.cfg.BatchOps)
	if in.Err != nil || len(in.Ops) == 0 {
		h.busy = false // asked again as long as the region does not hear the origin
		return
	}
	h.upTo = in.Ops[len(in.Ops)-1].Seq
	var ops []chat.Op
	var sends []SendKey
	for i := range in.Ops {
		if op := &in.Ops[i]; c.mayHandOn(p, op) {
			ops = append(ops, *op)
			sends = append(sends, SendKey{op.Author.ID, op.Client})
		}
	}
	h.left = len(ops)
	if h.left == 0 {
		c.handedOn(p, in.Stream, h)
		return
	}
	c.startReview(&review{sends: sends, read: func(now time.Time, rows [][]chat.RetryRow) {
		for i := range ops {
			c.relog(now, &relogged{op: ops[i], to: []chat.Region{p.region}, known: rows[i], done: func(time.Time) {
				if h.left--; h.left == 0 {
					c.handedOn(p, in.Stream, h)
				}
			}})
		}
	}})
}

// mayHandOn says whether this region may bring the op to p's, which then has use for it.
func (c *Core) mayHandOn(p *peer, op *chat.Op) bool {
	t := c.cfg.Topology
	if op.Kind == chat.OpRows {
		return residency.Rows(t, op, c.cfg.Self, p.region).Allowed()
	}
	return residency.Bring(t, op, c.cfg.Self).Allowed() && residency.Op(t, op, p.region).Allowed()
}

// handedOn ends a page: all of it is durable in the own op log.
func (c *Core) handedOn(p *peer, stream chat.StreamID, h *handOn) {
	h.handed, h.busy = h.upTo, false
	if h.full {
		c.readOn(p, stream, h)
	}
}

// unstoredHandOns gives what was handed on and the store does not know yet.
func (p *peer) unstoredHandOns() []chat.PositionRow {
	var rows []chat.PositionRow
	for _, s := range sortedStreams(p.handed) {
		if h := p.handed[s]; h.handed > h.persisted {
			rows = append(rows, chat.PositionRow{Stream: s, To: p.region, Seq: h.handed})
		}
	}
	return rows
}

// restoreHandOns takes what the store knows of it, and of what this region shows of the streams in kept.
func (c *Core) restoreHandOns(rows []chat.PositionRow, kept map[chat.StreamID]chat.AppliedRow) {
	for _, row := range rows {
		_, counts := kept[row.Stream]
		if from, ok := c.peers[row.Stream.Region]; ok && counts && row.To == c.cfg.Self {
			from.inbound(row.Stream).sure = row.Seq
		}
		if p, ok := c.peers[row.To]; ok && row.Stream.Region != c.cfg.Self {
			h := p.handOn(row.Stream)
			h.handed, h.persisted = row.Seq, row.Seq
		}
	}
}

// keep has a received op stand in the op log too, under its own stream, when other regions must have it besides this one.
func (c *Core) keep(op *chat.Op, d *draft) {
	for _, r := range op.To {
		if r != c.cfg.Self {
			d.batch.Log = append(d.batch.Log, chat.LogRow{Op: *op})
			return
		}
	}
}

// vouched says whether somebody of the author's side has vouched for the same message under any id: then its text is known to
// be what the author sent, whoever brings it.
func vouched(t chat.Topology, op *chat.Op, known []chat.RetryRow) bool {
	for i := range known {
		if sameContent(&known[i], op) && t.InZone(known[i].Stream.Region, op.Author.Zone) {
			return true
		}
	}
	return false
}
