package sim

import (
	"math"
	"time"

	"meridian/chat"
	"meridian/replication"
	"meridian/replication/drift"
	"meridian/sim/memstore"
)

// node is one process of a region: the real core, the region's store, and the shells around them.
type node struct {
	w      *world
	site   *site
	ref    chat.NodeRef
	region chat.Region
	tables *memstore.Tables // the site's
	core   *replication.Core
	paths  map[chat.NodeRef]*link // by the far end

	up       bool
	life     int  // counts boots
	narrow   bool // it runs the build before
	ticks    int
	skew     time.Duration
	guard    *drift.Guard
	judged   drift.Judgement
	belief   belief
	began    chat.HLC      // of this life, by a clock that is known; 0: it is not yet
	serves   bool          // it has caught up
	paused   time.Duration // until then nothing of the process runs
	stranded time.Duration // until then the way to the store is slow
	unsynced []*commit
	sessions []*session
	groups   map[chat.ConversationID]*replication.Members // folds made so far
	told     map[chat.ConversationID]knownRoles
	tokens   map[uint64]func(replication.Submitted)
	zoned    map[uint64]func()
	token    uint64
	without  chat.Region        // taken out of the configuration; "": none
	aimed    func(*node, *site) // the fault that waits for what it writes, brought by that region; nil: none
	// lastWrite is the latest write of this life.
	lastWrite uint64
}

// commit is a batch on its way to the disk.
type commit struct {
	batch *chat.Batch
	gone  bool
	held  bool // given to the disk only when the process goes on
}

func (n *node) name() string {
	if !n.site.shared() {
		return string(n.region)
	}
	return n.ref.String()
}

// clock is the node's own reading of the time.
func (n *node) clock() time.Time { return n.w.mood.tick(start.Add(n.w.now + n.skew + n.site.skew)) }

// runs says that the process is there, and not frozen.
func (n *node) runs() bool { return n.up && n.w.now >= n.paused }

// boot starts the process on what is durable.
func (n *node) boot() {
	if n.site.lost {
		return
	}
	n.life++
	n.up = true
	n.sessions, n.unsynced, n.lastWrite = nil, nil, 0
	n.groups, n.told = map[chat.ConversationID]*replication.Members{}, map[chat.ConversationID]knownRoles{}
	n.tokens, n.zoned = map[uint64]func(replication.Submitted){}, map[uint64]func(){}
	last := n.lastOps()
	id := n.tables.NewIncarnationOf(n.ref.Node, replication.FirstIncarnation(n.clock()))
	n.guardClock(id)
	cfg := replication.Config{
		Self: n.region, Node: n.ref.Node, Topology: n.topology(), MaxDrift: maxDrift, Guarded: !n.w.mood.unjudged, Watermark: 250 * time.Millisecond,
		Resend: 3 * time.Second, WindowOps: 24, WindowBytes: 64 << 10, TailOps: 30, BatchOps: 6, BatchBytes: 4 << 10, InFlight: 200,
		ForwardAfter: forwardAfter, OutboxBytes: n.w.mood.outbox, OpLogKeep: n.w.mood.opLog,
	}
	if n.site.shared() {
		cfg.Lease, cfg.AdoptWait = leaseFor, adoptWait
	}
	n.core = replication.New(cfg, replication.Restored{
		Identity: id, Applied: n.tables.Applied(), Lives: n.tables.Nodes(), HandedOn: n.handedOn(), Last: n.seen(last), Parked: n.seenParked(n.tables.Parked()),
	})
	n.began, n.serves = 0, false
	if n.w.mood.unjudged {
		n.began = chat.HLCFromTime(n.clock())
	}
	n.w.note(n.name(), "boot, life %d", id.Incarnation)
	n.later(0, n.ticking)
}

// handedOn gives the stored positions of foreign streams.
func (n *node) handedOn() []chat.PositionRow {
	var rows []chat.PositionRow
	for _, s := range n.tables.Applied() {
		positions := n.tables.Positions(s.Stream)
		for _, r := range n.w.topology.Regions {
			if seq, ok := positions[r]; ok {
				rows = append(rows, chat.PositionRow{Stream: s.Stream, To: r, Seq: seq})
			}
		}
	}
	return rows
}

func (n *node) ticking() {
	n.ticks++
	n.w.roll("tick", n.name(), n.ticks)
	n.later(50*time.Millisecond, n.ticking)
	n.step(replication.Tick{})
	n.caughtUp()
	if n.ticks%ticksASweep == 0 {
		n.sweep()
	}
}

// later has do happen in this life of the process, after a pause if there is one.
func (n *node) later(d time.Duration, do func()) {
	life := n.life
	var run func()
	run = func() {
		switch {
		case n.life != life || !n.up:
		case n.w.now < n.paused:
			n.w.after(n.paused-n.w.now, run)
		default:
			do()
		}
	}
	n.w.after(d, run)
}

// crash ends the process: writes that are not synced are lost, or reached the disk without anybody hearing of it.
func (n *node) crash() {
	n.up = false
	kept := 0
	for _, c := range n.unsynced {
		if !c.gone && n.w.chance(n.w.mood.partialLoss) {
			n.apply(c.batch)
			kept++
		}
		c.gone = true
	}
	n.w.note(n.name(), "crash, %d unsynced writes, %d reached the disk", len(n.unsynced), kept)
	n.unsynced = nil
	for _, s := range n.sessions {
		s.drop(n.w.between(10*time.Millisecond, 6*time.Second))
	}
	n.sessions = nil
	for _, l := range n.w.links {
		l.endDown(n)
	}
}

// step gives the core an input, with the time to go by, and does what it asks for.
func (n *node) step(in replication.Input) {
	if now, ok := n.judge(); ok {
		n.carryOut(n.core.Step(now, in))
	}
}

func (n *node) carryOut(outs []replication.Output) {
	n.proveOrder(outs)
	for _, out := range outs {
		switch out := n.outward(out).(type) {
		case replication.Write:
			n.commit(out)
		case replication.Send:
			if f := &out.Frame; f.Kind == replication.FrameBatch {
				n.site.toldWatermark[f.Stream] = max(n.site.toldWatermark[f.Stream], f.Watermark)
			}
			n.w.sendFrame(n, out)
		case replication.ReadLog:
			n.readLog(out)
		case replication.ReadParked:
			n.readParked(out)
		case replication.Renew:
			n.renew(out)
		case replication.Adopt:
			n.adopt(out)
		case replication.Left:
			n.hasLeft()
		case replication.Review:
			n.review(out)
		case replication.Look:
			n.look(out)
		case replication.Prove:
			n.prove(out)
		case replication.LifeOver:
			n.lifeOver(out.Reason)
			return
		case replication.Submitted:
			done := n.tokens[out.Token]
			delete(n.tokens, out.Token)
			n.w.checked(PromiseProtocol)
			if done == nil {
				n.w.violate(PromiseProtocol, "%s answered token %d twice", n.region, out.Token)
				return
			}
			if chat.CodeOf(out.Err) == chat.CodeBusy {
				n.w.faults["submit refused as busy"]++
			}
			done(out)
		case replication.ZoneAcked:
			for _, t := range out.Tokens {
				if done := n.zoned[t]; done != nil {
					delete(n.zoned, t)
					done()
				}
			}
		case replication.Visible:
			for _, sibling := range n.site.nodes {
				sibling.hear(n, out.Owners)
			}
		case replication.Alarm:
			n.w.note(n.name(), "alarm %s from %s: %s", out.Code, out.Peer, out.Detail)
			if n.unexpected(out) {
				n.w.violate(PromiseProtocol, "%s: alarm %s about %s: %s", n.region, out.Code, out.Peer, out.Detail)
			}
		}
	}
}

// unexpected says that no honest world with these faults may raise the alarm.
func (n *node) unexpected(a replication.Alarm) bool {
	switch a.Code {
	case chat.CodeBusy, chat.CodeClockSkew, chat.CodeRegionDegraded, chat.CodeUnknownOutcome:
		return false
	case chat.CodeUpgradePending:
		return !n.narrow
	case chat.CodeInvalid:
		return n.w.mood.poison == 0
	case chat.CodeDenied:
		return n.w.mood.forged == 0 || !a.Buried
	}
	return true
}

// commit writes a batch, in the time and with the luck of this world.
func (n *node) commit(out replication.Write) {
	w := n.w
	c := &commit{batch: out.Batch}
	n.proveNew(out)
	n.unsynced = append(n.unsynced, c)
	n.provoke(out.Batch)
	took := n.writeTime()
	apply := func() {
		if !c.gone {
			c.gone = true
			n.apply(out.Batch)
			n.sweepUnsynced()
		}
	}
	if n.poisoned(out.Batch) {
		c.gone = true
		n.later(took, func() {
			n.sweepUnsynced()
			n.step(replication.Written{Write: out.ID, Err: &chat.Error{Code: chat.CodeInvalid, Op: "sim.Commit", Message: "poison"}})
		})
		return
	}
	if !w.healed && w.chance(w.mood.badWrites) {
		if w.chance(0.4) {
			w.faults["write fails"]++
			n.later(took, func() {
				c.gone = true
				n.sweepUnsynced()
				w.note(n.name(), "write %d fails", out.ID)
				n.step(replication.Written{Write: out.ID, Err: &chat.Error{Code: chat.CodeRegionDegraded, Op: "sim.Commit"}})
				if w.chance(0.1) { // a failing disk often takes the process with it
					n.later(w.between(0, 600*time.Millisecond), func() { w.crashFor(n, w.between(50*time.Millisecond, time.Second)) })
				}
			})
			return
		}
		w.faults["write of unknown outcome"]++
		if w.chance(0.5) { // it applies late, perhaps after the same write was given again
			life := n.life
			w.after(took+w.between(0, 400*time.Millisecond), func() {
				if n.life == life {
					apply()
				}
			})
		} else {
			c.gone = true
		}
		n.later(took, func() {
			w.note(n.name(), "write %d: outcome unknown", out.ID)
			n.step(replication.Written{Write: out.ID, Err: &chat.Error{Code: chat.CodeUnknownOutcome, Op: "sim.Commit"}})
		})
		return
	}
	life := n.life
	var done func()
	done = func() {
		if n.life != life || !n.up {
			return
		}
		if c.held && w.now < n.paused {
			w.after(n.paused-w.now+w.between(0, 4*time.Millisecond), done)
			return
		}
		apply()
		n.later(0, func() { n.step(replication.Written{Write: out.ID}) })
	}
	w.after(took, done)
}

// writeTime draws how long a write takes.
func (n *node) writeTime() time.Duration {
	took := n.w.between(time.Millisecond, 6*time.Millisecond)
	if n.w.chance(n.w.mood.slowWrites) {
		took = n.w.between(50*time.Millisecond, n.w.mood.slowest)
	}
	return took + max(0, n.site.stalled-n.w.now)
}

// apply makes a batch durable.
func (n *node) apply(b *chat.Batch) {
	n.site.entered(b)
	n.site.comesLate(b)
	n.tables.ApplyOf(n.ref.Node, b)
	n.w.noteLogged(b)
	n.site.shown.stored(b)
	n.countParked(b)
}

// proveNew checks that nothing new is stamped at or below what was given out as complete, before or after a restart.
func (n *node) proveNew(out replication.Write) {
	if out.ID <= n.lastWrite {
		return // given again
	}
	n.lastWrite = out.ID
	n.proveTime(out.Batch)
	n.w.checked(PromiseNoGap)
	for i := range out.Batch.Inbox {
		if at := out.Batch.Inbox[i].Arrival; at <= n.site.givenLocal {
			n.w.violate(PromiseNoGap, "%s stamps an arrival %s below a local mark that its region gave", n.name(), n.site.givenLocal.Time().Sub(at.Time()))
		}
	}
	for i := range out.Batch.Log {
		op := &out.Batch.Log[i].Op
		if told := n.site.toldWatermark[op.Stream]; op.Logged <= told {
			n.w.violate(PromiseNoGap, "%s stamps an op %s below a watermark that was told", n.name(), told.Time().Sub(op.Logged.Time()))
		}
	}
}

// marks takes the core's marks, and remembers that they were given out.
func (n *node) marks() replication.Marks {
	m := n.core.Marks(n.now())
	n.site.givenLocal = max(n.site.givenLocal, m.Local)
	n.proveParked(m)
	n.proveGlobal(m.Local, m.Global)
	return m
}

func (n *node) sweepUnsynced() {
	for len(n.unsynced) > 0 && n.unsynced[0].gone {
		n.unsynced = n.unsynced[1:]
	}
}

func (n *node) readLog(out replication.ReadLog) {
	n.later(n.slowRead(time.Millisecond, 8*time.Millisecond), func() {
		ops := n.seen(n.tables.ReadLog(out.Stream, out.After, out.UpTo, out.To, out.Limit))
		upTo := out.UpTo
		if len(ops) == out.Limit {
			upTo = ops[len(ops)-1].Seq
		}
		n.step(replication.LogRead{Stream: out.Stream, To: out.To, After: out.After, UpTo: upTo, Count: out.Count, Ops: ops})
	})
}

// received brings a frame: the stored retry rows are read first, and may be a little old when the core sees them.
func (n *node) received(peer chat.NodeRef, f replication.Frame) {
	f.Ops = n.seen(f.Ops)
	known := map[int][]chat.RetryRow{}
	for i := range f.Ops {
		if rows := n.retries(&f.Ops[i]); len(rows) > 0 {
			known[i] = rows
		}
	}
	n.step(replication.Received{Peer: peer, Frame: f, Known: known})
}

// retries gives the stored retry rows of the sends that op is, or brings.
func (n *node) retries(op *chat.Op) (rows []chat.RetryRow) {
	switch op.Kind {
	case chat.OpMessage:
		return n.tables.Retries(op.Author.ID, op.Client)
	case chat.OpRows:
		for i := range op.Rows.Messages {
			row := &op.Rows.Messages[i]
			rows = append(rows, n.tables.Retries(row.Sender, row.Client)...)
		}
	}
	return rows
}

// submit gives the core an op; done is told the answer, zoned (if set) the zone's.
func (n *node) submit(in replication.Submit, done func(replication.Submitted), zoned func()) {
	n.token++
	in.Token = n.token
	n.tokens[in.Token] = done
	if zoned != nil {
		n.zoned[in.Token] = zoned
	}
	n.step(in)
}

// durableIn counts the regions of zone where the send is durable as owner's message, as an alias of it, or parked. A lost one
// counts, and so does one restored from an old copy: it had the send on its disk.
func (w *world) durableIn(zone chat.Zone, s *send) int {
	count := 0
	for _, n := range w.sites {
		if w.topology.InZone(n.region, zone) && (s.remembered(n.tables) || n.parks(s) || n == w.restored.site && w.restored.had(s)) {
			count++
		}
	}
	return count
}

// floor is where the node's inbox logs are said to begin.
func (n *node) floor() chat.HLC {
	if n.w.mood.retention == 0 {
		return 0
	}
	return chat.HLCFromTime(n.now().Add(-n.w.mood.retention))
}

const everything = math.MaxInt
