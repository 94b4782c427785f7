package replication

import (
	"slices"
	"time"

	"meridian/chat"
)

// lease is this node's right to stamp: to originate, and to make foreign ops visible. It runs on the clock of this process,
// from the moment in which a renewal was asked for, so that a process that slept finds it ended. What is under way then does
// no harm: it is settled before another node adopts this life, or found late and logged anew.
type lease struct {
	held      bool
	fresh     bool // the life never had a lease: the other nodes may not know of it
	renewedAt time.Time
	askedAt   time.Time
	asking    bool
	askedFor  chat.HLC // what the last question asked for
	// joinAt: a fresh life stamps nothing before it. By then each node that still works has read that this one is there.
	joinAt time.Time
	// leaving: this node stamps nothing more; givenUp: the store has been asked to end its lease.
	leaving, givenUp bool
}

// sibling is another life of the own region: of another node, or an earlier one of this node.
type sibling struct {
	row       chat.NodeRow
	low       chat.HLC // it stamps nothing at or below it any more
	positions map[chat.Region]uint64
	// finished: it has ended, and all that it ever made durable is visible: its low mark does not count any more.
	finished bool
	adopting bool
	met      bool      // read from the store, and told to the other regions
	tail     []chat.Op // to be applied anew before it is finished
	since    time.Time // when this node adopted it
	late     lateRows
	// retired: every region has all of its op log, so that it is not relayed any more; lacking has what regions said since that they
	// do have, those that lost some.
	retired bool
	marked  bool // the store knows that it was retired once: who adopts it next has nothing to apply anew
	lacking map[chat.Region]uint64
}

// mayStamp says whether this node may stamp now.
func (c *Core) mayStamp(now time.Time) bool {
	l := &c.lease
	return c.cfg.Lease == 0 || !l.leaving && l.held && now.Sub(l.renewedAt) < c.cfg.Lease && !now.Before(l.joinAt)
}

// certain says that no other node can have closed this life's op log without what is durable in it by now: the lease runs, or
// it did when the op became durable.
func (c *Core) certain(now time.Time) bool {
	return c.cfg.Lease == 0 || c.lease.held && now.Sub(c.lease.renewedAt) < c.cfg.Lease
}

// FirstIncarnation is the least number of a life that starts at now: above that of every life which this node began before, be its
// store an old copy that does not know of it, as long as its clock was right.
func FirstIncarnation(now time.Time) chat.Incarnation {
	return chat.Incarnation(max(1, now.UnixMicro()))
}

// Joined says that this node takes part: it may stamp, or had the right a moment ago.
func (c *Core) Joined(now time.Time) bool {
	return c.cfg.Lease == 0 || c.lease.held && !now.Before(c.lease.joinAt)
}

// renew asks for the lease when it is due.
func (c *Core) renew(now time.Time) {
	l := &c.lease
	if l.leaving {
		c.giveUp(now)
		return
	}
	if c.cfg.Lease == 0 {
		c.adoptEnded(now) // earlier lives of this node
		return
	}
	if l.asking && now.Sub(l.askedAt) < c.cfg.Lease || now.Sub(l.askedAt) < c.cfg.Lease/4 {
		return
	}
	l.askedAt = now
	c.askLease(now, chat.HLCFromTime(now.Add(c.cfg.Lease)))
}

// askLease asks the store for the lease until a time.
func (c *Core) askLease(now time.Time, until chat.HLC) {
	c.lease.asking, c.lease.askedFor = true, until
	c.emit(Renew{Until: until, Low: min(c.low(now), c.unlooked())})
}

// leave ends the stamping.
func (c *Core) leave(now time.Time) {
	if c.cfg.Lease == 0 || !c.lease.held {
		c.emit(Left{}) // nobody waits for this life
		return
	}
	c.lease.leaving = true
	c.giveUp(now)
}

// giveUp ends the lease once nothing is under way.
func (c *Core) giveUp(now time.Time) {
	l := &c.lease
	if l.asking || l.givenUp || len(c.writes) > 0 || len(c.reviews) > 0 {
		return
	}
	l.givenUp = true
	c.askLease(now, chat.LeaseGivenUp)
}

// renewed takes the answer, and the word on the other nodes that came with it.
func (c *Core) renewed(now time.Time, in Renewed) {
	l := &c.lease
	if chat.CodeOf(in.Err) == chat.CodeVersionConflict {
		c.over = true
		c.emit(LifeOver{Reason: in.Err.Error()})
		return
	}
	if in.Until != l.askedFor {
		return // to an earlier question: what it asked for has ended meanwhile, and nobody knows of the later one yet
	}
	l.asking = false
	if in.Err != nil {
		l.givenUp = false
		return // the next tick asks again
	}
	if l.givenUp {
		c.emit(Left{})
		return
	}
	if !l.held {
		l.held = true
		if l.fresh {
			l.joinAt = l.askedAt.Add(c.cfg.Lease + c.cfg.MaxDrift)
		}
	}
	l.renewedAt = l.askedAt
	c.zoneAckedMeanwhile(now)
	c.meet(in.Nodes)
	c.adoptEnded(now)
}

// meet takes the store's word on who shares it, and tells other regions when the streams that count have changed.
func (c *Core) meet(rows []chat.NodeRow) {
	news := false
	for _, row := range rows {
		if row.Stream == c.stream {
			c.lease.fresh = !c.lease.held && row.Until == 0
			continue
		}
		s := c.sibling(row.Stream)
		news = news || !s.met // it may have told its marks before
		s.met = true
		if s.row.AdoptedBy == "" && row.AdoptedBy != "" {
			c.reviewRecent()
		}
		s.row = row
		s.low = max(s.low, row.Low)
	}
	for life, s := range c.siblings {
		if !slices.ContainsFunc(rows, func(row chat.NodeRow) bool { return row.Stream == life }) && !c.isLatest(s) {
			s.finished, s.row.LastSeq = true, 0 // adopted, with nothing left in its op log
		}
	}
	if news {
		c.tellLives()
	}
}

// tellLives tells each region which streams count.
func (c *Core) tellLives() {
	for _, r := range c.order {
		p := c.peers[r]
		for _, node := range sortedKeys(p.links) {
			if p.linked(node) {
				c.tellLivesTo(p, node)
			}
		}
	}
}

func (c *Core) tellLivesTo(p *peer, node chat.NodeID) {
	lives := c.livesFor(p.region)
	c.emit(Send{
		Peer:  chat.NodeRef{Region: p.region, Node: node},
		Frame: Frame{Kind: FrameLives, Stream: c.stream, Lives: lives, Applied: c.endsBeside(lives)},
	})
}

// endsBeside gives the ends of the op logs that are still here, but for those of lives.
func (c *Core) endsBeside(lives []chat.StreamID) []chat.AppliedRow {
	var ends []chat.AppliedRow
	for _, s := range c.kin() {
		if s.row.LastSeq > 0 && !slices.Contains(lives, s.row.Stream) {
			ends = append(ends, chat.AppliedRow{Stream: s.row.Stream, Seq: s.row.LastSeq})
		}
	}
	return ends[max(0, len(ends)-maxEnds):]
}

// maxEnds bounds the ends of a FrameLives: the latest.
const maxEnds = 512

// livesFor gives the streams of this region that count for another one, sorted: the own one, the latest of each node, and
// the earlier ones that the other region does not have to their end, as many as one frame may have. The ends tell of the rest.
func (c *Core) livesFor(region chat.Region) []chat.StreamID {
	list, earlier := []chat.StreamID{c.stream}, []chat.StreamID(nil)
	for _, s := range c.kin() {
		switch {
		case c.isLatest(s):
			list = append(list, s.row.Stream)
		case !s.finished || c.ackedBy(s.row.Stream, region) < s.row.LastSeq:
			earlier = append(earlier, s.row.Stream)
		}
	}
	list = append(list, earlier[:min(len(earlier), max(0, maxLives-len(list)))]...)
	slices.SortFunc(list, compareStreams)
	return list
}

func (c *Core) sibling(life chat.StreamID) *sibling {
	s, ok := c.siblings[life]
	if !ok {
		s = &sibling{row: chat.NodeRow{Stream: life}, positions: map[chat.Region]uint64{}}
		c.siblings[life] = s
	}
	return s
}

// kin gives the siblings, sorted by life.
func (c *Core) kin() []*sibling {
	list := make([]*sibling, 0, len(c.siblings))
	for _, s := range c.siblings {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *sibling) int { return compareStreams(a.row.Stream, b.row.Stream) })
	return list
}

// ended says that a stream of this region is that of a life which has ended: what its op log holds may still change, by writes
// that were under way.
func (c *Core) ended(stream chat.StreamID) bool {
	if stream.Region != c.cfg.Self || stream == c.stream {
		return false
	}
	s := c.siblings[stream]
	return s == nil || s.row.AdoptedBy != "" || !c.isLatest(s)
}

// isLatest says that no later life of the sibling's node is known.
func (c *Core) isLatest(s *sibling) bool {
	of := s.row.Stream
	later := func(id chat.StreamID) bool { return id.Node == of.Node && id.Incarnation > of.Incarnation }
	if later(c.stream) {
		return false
	}
	for id := range c.siblings {
		if later(id) {
			return false
		}
	}
	return true
}

// siblingsLow is the lowest low mark of the other lives that may still have something under way. One that never had a lease has
// stamped nothing, and waits, when it gets one, until every node that still works has read of it: it may die before, or wait for
// its clock to be right.
func (c *Core) siblingsLow() chat.HLC {
	low := ^chat.HLC(0)
	if c.cfg.Lease == 0 {
		return low
	}
	for _, s := range c.siblings {
		if leased := s.row.Until != 0 || s.low != 0; leased && !s.finished {
			low = min(low, s.low)
		}
	}
	return low
}

// tellSiblings tells the nodes of the own region how far this one is, when something moved.
func (c *Core) tellSiblings(now time.Time) {
	if !c.tellMarks || len(c.linkedSiblings) == 0 || c.over {
		return
	}
	c.tellMarks = false
	f := Frame{Kind: FrameMarks, Stream: c.stream, Low: c.low(now)}
	for _, r := range c.order {
		p := c.peers[r]
		for _, s := range p.known() {
			if c.knowsStreams && c.certain(now) { // else another node may have adopted this life, and what it shows is too late
				f.Applied = append(f.Applied, s.tells(f.Low))
			}
		}
		for _, o := range p.outbounds() {
			f.Positions = append(f.Positions, chat.PositionRow{Stream: o.log.stream, To: r, Seq: o.acked})
		}
	}
	for _, s := range c.kin() {
		if s.finished && s.row.AdoptedBy == c.cfg.Node {
			f.Lives = append(f.Lives, s.row.Stream)
		}
	}
	for _, node := range sortedKeys(c.linkedSiblings) {
		c.emit(Send{Peer: chat.NodeRef{Region: c.cfg.Self, Node: node}, Frame: f})
	}
}

// marksTold takes what another node of the own region tells of itself.
func (c *Core) marksTold(now time.Time, in Received) {
	f := &in.Frame
	if f.Kind != FrameMarks || f.Stream.Region != c.cfg.Self || f.Stream.Node != in.Peer.Node || len(f.Applied)+len(f.Positions)+len(f.Lives) > maxTold {
		c.alarm(Alarm{Code: chat.CodeBadFrame, Peer: in.Peer.Region, Stream: f.Stream, Detail: "not the marks of the node that sent it"})
		return
	}
	s := c.sibling(f.Stream)
	s.low = max(s.low, f.Low)
	c.heardSiblings = c.heardSiblings || len(f.Applied) > 0
	for _, row := range f.Applied {
		if p, ok := c.peers[row.Stream.Region]; ok {
			if p.inbound(row.Stream).hearsOf(f.Low, row) {
				p.hears(now)
			}
		}
	}
	for _, row := range f.Positions {
		c.positionTold(now, row)
	}
	for _, life := range f.Lives {
		if dead, ok := c.siblings[life]; ok && dead.row.AdoptedBy == in.Peer.Node {
			dead.finished = true
		}
	}
}

// maxTold bounds the rows of a FrameMarks.
const maxTold = 8 * maxLives * chat.MaxRegions

// positionTold notes what a region has acknowledged of an op log that another node relays.
func (c *Core) positionTold(now time.Time, row chat.PositionRow) {
	if row.Stream.Region != c.cfg.Self || c.logs[row.Stream] != nil {
		return
	}
	s := c.sibling(row.Stream)
	if row.Seq > s.positions[row.To] {
		s.positions[row.To] = row.Seq
		c.zoneAcked(now, row.Stream, row.To, row.Seq)
	}
}
