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
	// recentFor is how long a settled send is remembered beyond its write, so that retry rows that were read from the store a
	// moment before that write are not believed to be complete.
	recentFor = 5 * time.Second
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

	own   ownLog
	sends sends
	peers map[chat.Region]*peer
	order []chat.Region // of peers, sorted
	// global is the largest Global given: what was true stays true.
	global    chat.HLC
	needsLife bool
	zoneWait  map[chat.Zone][]zoneToken
}

// New makes the core of a node that restarts, or starts, with what its store knew.
func New(cfg Config, restored Restored) *Core {
	id := restored.Identity
	c := &Core{
		cfg:      cfg,
		stream:   chat.StreamID{Region: cfg.Self, Node: cfg.Node, Incarnation: id.Incarnation},
		clock:    chat.HLCClock{MaxDrift: cfg.MaxDrift},
		reserved: id.HighWater,
		writes:   map[uint64]*write{},
		own:      ownLog{last: id.LastSeq, settled: id.LastSeq, tailFrom: id.LastSeq},
		sends:    sends{keys: map[sendKey]*keyState{}},
		peers:    map[chat.Region]*peer{},
		zoneWait: map[chat.Zone][]zoneToken{},
	}
	c.clock.Restore(id.HighWater)
	for _, r := range cfg.Topology.Regions {
		if r == cfg.Self {
			continue
		}
		acked := restored.Positions[r]
		c.peers[r] = &peer{region: r, acked: acked, persisted: acked, streams: map[chat.StreamID]*inStream{}}
		c.order = append(c.order, r)
	}
	slices.Sort(c.order)
	for _, row := range restored.Applied {
		if p, ok := c.peers[row.Stream.Region]; ok {
			s := p.inbound(row.Stream)
			s.accepted, s.durable, s.watermark = row.Seq, row.Seq, row.Watermark
		}
	}
	return c
}

// Step takes the time and one thing that happened, and gives what is to be done, in order. The outputs and what they point
// to belong to the caller; ops in them are shared and must not be changed.
func (c *Core) Step(now time.Time, in Input) []Output {
	c.out = nil
	switch in := in.(type) {
	case Submit:
		c.submit(now, in)
	case Written:
		c.written(now, in)
	case PeerUp:
		c.peerUp(now, in.Peer)
	case PeerDown:
		if p, ok := c.peers[in.Peer]; ok {
			p.up = false
		}
	case Received:
		c.received(now, in)
	case LogRead:
		c.logRead(now, in)
	case Tick:
		c.tick(now)
	}
	c.runReady(now)
	return c.out
}

func (c *Core) emit(o Output) { c.out = append(c.out, o) }

func (c *Core) alarm(a Alarm) { c.emit(a) }

// NeedsNewIncarnation says that a peer knows more of this node's stream than its store does: the store is an old copy.
// Going on would give out sequences that peers take for known, so submits are refused until the store is given a new
// incarnation (Store.NewIncarnation) and the core is made anew.
func (c *Core) NeedsNewIncarnation() bool { return c.needsLife }

// peerUp starts a link anew: the receiver of each direction states its position first.
func (c *Core) peerUp(now time.Time, region chat.Region) {
	p, ok := c.peers[region]
	if !ok {
		return
	}
	p.up, p.ready = true, false
	p.forgetWindow()
	p.reading = false
	c.ask(now, p, "")
}

// tick does what time asks for.
func (c *Core) tick(now time.Time) {
	c.giveAgain(now)
	c.sends.expire(c.oldestWaiting(now))
	c.readyClockHeld(now)
	for _, r := range c.order {
		p := c.peers[r]
		c.drainPeer(now, p)
		c.tickReceiver(now, p)
		c.tickSender(now, p)
	}
	c.housekeep(now)
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
	var rows []chat.PositionRow
	upTo := map[chat.Region]uint64{}
	for _, r := range c.order {
		if p := c.peers[r]; p.acked > p.persisted {
			rows = append(rows, chat.PositionRow{Stream: c.stream, To: r, Seq: p.acked})
			upTo[r] = p.acked
		}
	}
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
			for _, r := range c.order {
				c.peers[r].persisted = max(c.peers[r].persisted, upTo[r])
			}
		},
	})
}
