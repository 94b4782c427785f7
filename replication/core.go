package replication

import (
	"slices"
	"time"

	"meridian/chat"
)

// Timing that is not worth a configuration key.
const (
	// reserveAhead is how far the durable high-water mark runs ahead of the clock. A node that restarts sooner than that
	// waits before it stamps (see held.go), so it is kept short; an idle node writes once in half of it.
	reserveAhead = 2 * time.Second
	// pause is the wait before something that failed is tried again: a write of unknown outcome, a failed read, a rewind.
	pause = 100 * time.Millisecond
	// positionsEvery is how often acknowledged positions are persisted; losing some only costs sending again.
	positionsEvery = time.Second
	// RecentFor is how long a settled send is remembered beyond its write, so that retry rows that were read from the store a
	// moment before that write are not believed to be complete: rows that are given must not be older.
	RecentFor = 5 * time.Second
	// restoredFor is how long before its end a node may have logged what it had not looked at yet.
	restoredFor = time.Minute
	// applyOps bounds the ops of one apply batch.
	applyOps = 512
	// zoneWaiting bounds the submits that wait for their zone ack, per zone; the oldest are forgotten beyond it. Their clients
	// send again and are then answered from the positions.
	zoneWaiting = 1 << 18
)

// Core is one node's part of the protocol between regions: it originates ops, relays them to the regions that must have
// them, and applies what other regions bring. It is not safe for concurrent use: one loop owns it.
type Core struct {
	cfg    Config
	stream chat.StreamID
	clock  chat.HLCClock
	out    []Output

	// reserved is the durable high-water mark. No clock value leaves the node above it: not in an op (the op's own batch
	// raises it), not in a watermark, not in a cursor. So a restarted node, which stamps above it, never stamps into a
	// time that somebody already holds to be complete.
	reserved  chat.HLC
	keeping   bool // the housekeeping write is under way
	keepAfter time.Time

	lastWrite uint64
	writes    map[uint64]*write
	again     []*write // of unknown outcome, waiting to be given again
	flight    []*write // with stamps in them, oldest stamp first; the first one holds Marks().Local down

	own    *ownLog
	logs   map[chat.StreamID]*ownLog // own, and those of lives that have ended and that this node is answerable for
	sends  sends
	relogs []*relogged // wait to be brought anew into the own stream
	peers  map[chat.Region]*peer
	order  []chat.Region // of peers, sorted

	lease          lease
	siblings       map[chat.StreamID]*sibling
	linkedSiblings map[chat.NodeID]bool
	heardSiblings  bool // one of them told of foreign streams
	knowsStreams   bool // where foreign streams stand
	reviews        map[uint64]*review
	lastReview     uint64
	recentWrites   []reviewItem
	looks          map[uint64]*look
	lastLook       uint64
	hearings       map[uint64]*hearing
	lastHearing    uint64
	restored       []chat.Op // of the own stream, to be looked at at the first tick
	tellMarks      bool      // something that siblings wait for has moved
	over           bool      // this life has ended
	clocked        clocked
	probes         []Probe // wait for the clock or the lease

	global, local chat.HLC // the largest given: what was true stays true
	catchUp       catchUp
	zoneWait      map[waitKey][]zoneToken
	slowed        []slowed
	budget        int64 // this node's part of Config.OutboxBytes
}

// New makes the core of a node that restarts, or starts, with what its store knew.
func New(cfg Config, restored Restored) *Core {
	id := restored.Identity
	stream := chat.StreamID{Region: cfg.Self, Node: cfg.Node, Incarnation: id.Incarnation}
	c := &Core{
		cfg:      cfg,
		stream:   stream,
		clock:    chat.HLCClock{MaxDrift: cfg.MaxDrift},
		reserved: id.HighWater,
		writes:   map[uint64]*write{},
		own:      &ownLog{stream: stream, last: id.LastSeq, settled: id.LastSeq, tailFrom: id.LastSeq},
		logs:     map[chat.StreamID]*ownLog{},
		sends:    sends{keys: map[SendKey]*keyState{}},
		peers:    map[chat.Region]*peer{},
		zoneWait: map[waitKey][]zoneToken{},
		siblings: map[chat.StreamID]*sibling{}, linkedSiblings: map[chat.NodeID]bool{},
		reviews: map[uint64]*review{}, looks: map[uint64]*look{}, hearings: map[uint64]*hearing{}, restored: lately(restored),
		clocked: clocked{unknown: cfg.Guarded},
	}
	c.logs[stream] = c.own
	c.clock.Restore(id.HighWater)
	for _, r := range cfg.Topology.Regions {
		if r == cfg.Self {
			continue
		}
		c.peers[r] = &peer{
			region: r, links: map[chat.NodeID]bool{}, out: map[chat.StreamID]*outbound{}, streams: map[chat.StreamID]*inStream{}, handed: map[chat.StreamID]*handOn{},
			past: map[chat.StreamID]past{},
		}
		c.order = append(c.order, r)
	}
	slices.Sort(c.order)
	c.budget = max(1, cfg.OutboxBytes)
	c.relay(c.own, nil, nil)
	c.meet(restored.Lives)
	kept := latest(restored.Applied)
	c.restoreHandOns(restored.HandedOn, kept)
	for _, id := range sortedStreams(kept) {
		if p, ok := c.peers[id.Region]; ok {
			p.inbound(id).restore(kept[id], cfg.Lease > 0)
		}
	}
	c.restorePast(restored, kept)
	c.meetParked(restored.Parked)
	return c
}

// Step takes the time and one thing that happened, and gives what is to be done, in order. The outputs and what they point
// to belong to the caller; ops in them are shared and must not be changed.
func (c *Core) Step(now time.Time, in Input) []Output {
	c.out = nil
	if c.over {
		return c.out
	}
	if state, ok := in.(ClockState); ok {
		c.clockState(now, state)
	} else if c.clocked.unknown {
		c.early(now, in)
	} else {
		c.handle(now, in)
	}
	c.runReady(now)
	c.tellSiblings(now)
	return c.out
}

// handle deals with an input.
func (c *Core) handle(now time.Time, in Input) {
	switch in := in.(type) {
	case Submit:
		c.submit(now, in)
	case Written:
		c.written(now, in)
	case PeerUp:
		c.peerUp(in)
	case PeerDown:
		c.peerDown(in.Peer)
	case Received:
		c.received(now, in)
	case LogRead:
		c.logRead(now, in)
	case ParkedRead:
		c.parkedRead(now, in)
	case Renewed:
		c.renewed(now, in)
	case Adopted:
		c.adopted(now, in)
	case Leave:
		c.leave(now)
	case Reviewed:
		c.reviewed(now, in)
	case Looked:
		c.looked(now, in)
	case Proved:
		c.proved(now, in)
	case Probe:
		c.probe(now, in)
	case Tick:
		c.tick(now)
	}
}

func (c *Core) emit(o Output) { c.out = append(c.out, o) }

func (c *Core) alarm(a Alarm) { c.emit(a) }

// tick does what time asks for.
func (c *Core) tick(now time.Time) {
	c.renew(now)
	c.settledStreams(now)
	c.giveAgain(now)
	c.sends.expire(c.oldestWaiting(now))
	c.readyClockHeld(now)
	c.readyProbes(now)
	c.refuseUnleased(now)
	c.readySlowed(now)
	c.runRelogs(now)
	c.tickReviews(now)
	c.tickLooks(now)
	c.tickHearings(now)
	for _, r := range c.order {
		p := c.peers[r]
		p.forget()
		c.drainPeer(now, p)
		for _, s := range p.known() {
			c.tickParked(now, p, s)
		}
		c.tickReceiver(now, p)
		for _, o := range p.outbounds() {
			c.tickSender(now, p, o)
		}
	}
	c.tickCatchUp(now)
	c.tellHave(now)
	c.countOwed(now)
	c.watchOutboxes(now)
	c.housekeep(now)
	c.tellMarks = true
}

// housekeep renews the reservation and persists positions, in one write at a time.
func (c *Core) housekeep(now time.Time) {
	if c.keeping {
		return
	}
	due := !now.Before(c.keepAfter)
	low := c.reserved < chat.HLCFromTime(now.Add(reserveAhead/2))
	if !due && !(low && c.reserved <= c.clock.Last()) {
		return
	}
	rows := c.unstoredPositions(now)
	if len(rows) == 0 && !low {
		return
	}
	c.keeping = true
	c.keepAfter = now.Add(positionsEvery)
	c.issue(now, &write{
		batch: &chat.Batch{Positions: rows, HighWater: chat.HLCFromTime(now.Add(reserveAhead))},
		settle: func(now time.Time, err error) {
			c.keeping = false
			if err != nil {
				c.keepAfter = now.Add(pause)
				return
			}
			for _, row := range rows {
				c.positionStored(row)
			}
		},
	})
}

// unstoredPositions gives what regions have acknowledged and the store does not know yet.
func (c *Core) unstoredPositions(now time.Time) []chat.PositionRow {
	var rows []chat.PositionRow
	for _, r := range c.order {
		for _, o := range c.peers[r].outbounds() {
			if o.acked > o.persisted {
				rows = append(rows, chat.PositionRow{Stream: o.log.stream, To: r, Seq: o.acked})
			}
		}
		rows = append(rows, c.peers[r].unstoredHandOns()...)
		rows = append(rows, c.unstoredShown(now, c.peers[r])...)
	}
	return append(rows, c.unstoredRetired()...)
}

// positionStored notes that the store knows a position.
func (c *Core) positionStored(row chat.PositionRow) {
	if row.To == c.cfg.Self && row.Stream.Region == c.cfg.Self {
		c.siblings[row.Stream].marked = true
		return
	}
	if row.To == c.cfg.Self {
		s := c.peers[row.Stream.Region].inbound(row.Stream)
		s.sure = max(s.sure, row.Seq)
		return
	}
	p := c.peers[row.To]
	if o := p.out[row.Stream]; o != nil {
		o.persisted = max(o.persisted, row.Seq)
	}
	if h := p.handed[row.Stream]; h != nil {
		h.persisted = max(h.persisted, row.Seq)
	}
}
