package replication

import (
	"testing"
	"time"

	"meridian/chat"
	"meridian/sim/memstore"
)

// lot is a rig with a store behind it, which outlives it.
type lot struct {
	*rig
	tables *memstore.Tables
}

func newLot(t *testing.T) *lot {
	l := &lot{tables: memstore.New("eu", "n1")}
	l.rig = newRig(t, "eu", Restored{})
	return l
}

// restart starts the node anew on what is durable.
func (l *lot) restart() {
	now := l.now
	l.rig = newRig(l.t, "eu", Restored{Identity: l.tables.Identity(), Applied: l.tables.Applied(), Parked: l.tables.Parked()})
	l.now = now
}

// run does what outs ask for, and what comes of it; it gives all outputs.
func (l *lot) run(outs []Output) []Output {
	for i := 0; i < len(outs); i++ {
		switch out := outs[i].(type) {
		case Write:
			l.tables.ApplyOf("n1", out.Batch)
			outs = append(outs, l.step(Written{Write: out.ID})...)
		case ReadParked:
			outs = append(outs, l.step(ParkedRead{Stream: out.Stream, Rows: l.tables.Parked()})...)
		case Renew:
			outs = append(outs, l.step(Renewed{Until: out.Until})...)
		}
	}
	return outs
}

// bring has "us" bring ops, up to the last of them, with its time as the watermark.
func (l *lot) bring(ops ...chat.Op) []Output {
	last := ops[len(ops)-1]
	return l.run(l.step(from("us", Frame{Kind: FrameBatch, Stream: last.Stream, After: ops[0].Seq - 1, UpTo: last.Seq, Watermark: last.Logged, Ops: ops})))
}

// after lets time pass, in ticks of half a second.
func (l *lot) after(d time.Duration) (outs []Output) {
	for end := l.now.Add(d); l.now.Before(end); {
		l.now = l.now.Add(500 * time.Millisecond)
		outs = append(outs, l.run(l.step(Tick{}))...)
	}
	return outs
}

// shown gives the messages in the inbox log of user 2, in the order of their arrival.
func (l *lot) shown() (list []chat.MessageID) {
	for _, row := range l.tables.Inbox(testOwner(2, "world").ID, 0, ^chat.HLC(0), 1000) {
		list = append(list, row.Ref)
	}
	return list
}

// message is the n-th op of the stream, logged d after the start.
func lotMessage(n int, d time.Duration) chat.Op {
	op := testMessage("us", uint64(n), chat.HLCFromTime(testStart.Add(d)), n, "x")
	op.To = []chat.Region{"eu", "in"}
	return op
}

func (l *lot) origin() OriginStatus {
	l.t.Helper()
	o := l.core.Origins(l.now)
	if len(o) != 1 {
		l.t.Fatalf("origins %+v", o)
	}
	return o[0]
}

// An op ahead of the clock is parked and acknowledged in the batch that moves the stream's position, kept for whoever lacks
// it, and told once; it holds the watermark, not the stream, and is applied once the clock has come up.
func TestParkedAheadOfTheClock(t *testing.T) {
	l := newLot(t)
	one, two, three := lotMessage(1, 0), lotMessage(2, 2*time.Second), lotMessage(3, 2100*time.Millisecond)
	outs := l.bring(one, two)
	outs = append(outs, l.bring(three)...)
	w := only[Write](outs)
	if len(w) != 2 || len(w[0].Batch.Parked) != 1 || len(w[0].Batch.Applied) != 1 || w[0].Batch.Applied[0].Seq != 2 || len(w[0].Batch.Log) != 2 {
		t.Fatalf("written %+v", w)
	}
	if a := only[Alarm](outs); len(a) != 1 || a[0].Code != chat.CodeClockSkew {
		t.Fatalf("alarms %+v", a)
	}
	acks := only[Send](outs)
	if n := len(acks); n != 2 || acks[1].Frame.Kind != FrameAck || acks[1].Frame.UpTo != 3 {
		t.Fatalf("acks %+v", acks)
	}
	if o := l.origin(); o.Watermark >= two.Logged || o.Watermark < one.Logged || o.Parked != 2 || o.Queued != 0 || o.Seq != 3 {
		t.Fatalf("origin %+v", o)
	}
	if m := l.core.Marks(l.now); m.Global >= two.Logged || len(l.shown()) != 1 {
		t.Fatalf("marks %+v, shown %v", m, l.shown())
	}
	w = only[Write](l.after(2 * time.Second))
	if got := l.shown(); len(got) != 3 || got[1] != two.ID || got[2] != three.ID || len(l.tables.Parked()) != 0 {
		t.Fatalf("shown %v, parked %v", got, l.tables.Parked())
	}
	for _, x := range w {
		if len(x.Batch.Messages) > 0 && len(x.Batch.Unparked) != len(x.Batch.Messages)/2 {
			t.Fatalf("applied and not unparked at once: %+v", x.Batch)
		}
	}
	if o := l.origin(); o.Watermark != three.Logged || o.Parked != 0 {
		t.Fatalf("origin %+v", o)
	}
	if m := l.core.Marks(l.now); m.Local <= three.Logged {
		t.Fatalf("the ops do not push the clock: %+v", m)
	}
}

// What is parked outlives the process: it holds the watermark that the origin tells then, and is applied when its time comes.
func TestParkedOutlivesARestart(t *testing.T) {
	l := newLot(t)
	one := lotMessage(1, 3*time.Second)
	l.bring(one)
	l.restart()
	l.run(l.step(from("us", Frame{Kind: FrameBatch, Stream: one.Stream, After: 1, UpTo: 1, Watermark: one.Logged + 100})))
	if o := l.origin(); o.Watermark >= one.Logged || o.Parked != 1 {
		t.Fatalf("origin %+v", o)
	}
	l.after(3 * time.Second)
	if o := l.origin(); o.Watermark != one.Logged+100 || len(l.shown()) != 1 || len(l.tables.Parked()) != 0 {
		t.Fatalf("origin %+v, shown %v", o, l.shown())
	}
}

// What the stream brings after a parked op waits for it, though its own time has come.
func TestParkedKeepsTheOrder(t *testing.T) {
	l := newLot(t)
	one, two := lotMessage(1, time.Second), lotMessage(2, 1100*time.Millisecond)
	l.bring(one)
	l.now = l.now.Add(time.Second)
	l.bring(two)
	if got := l.shown(); len(got) != 0 {
		t.Fatalf("shown before what stands before it: %v", got)
	}
	l.after(time.Second)
	if got := l.shown(); len(got) != 2 || got[0] != one.ID || got[1] != two.ID {
		t.Fatalf("shown %v, want %s before %s", got, one.ID, two.ID)
	}
}

// No more than a bounded part of a stream is parked; beyond it the stream waits, and nothing of it is lost.
func TestParkedIsBounded(t *testing.T) {
	l := newLot(t)
	const n = parkedBytes/maxBodyBytes + 20
	var ops []chat.Op
	for i := range n {
		op := lotMessage(i+1, time.Hour+time.Duration(i)*time.Millisecond)
		op.Body = make([]byte, maxBodyBytes)
		op = prepare(op)
		op.ID, op.Client = chat.NewMessageID(op.Time, op.Author.ID, chat.ClientID(testID(3, i))), chat.ClientID(testID(3, i))
		ops = append(ops, op)
	}
	l.bring(ops...)
	o := l.origin()
	if o.Parked < n/2 || o.Parked >= parkedBytes/maxBodyBytes || o.Parked+o.Queued != n || o.Seq != uint64(o.Parked) || len(l.tables.Parked()) != o.Parked {
		t.Fatalf("origin %+v of %d ops", o, n)
	}
	l.now = l.now.Add(time.Hour)
	l.after(2 * time.Second)
	if got := l.shown(); len(got) != n || l.origin().Parked != 0 {
		t.Fatalf("%d of %d shown, origin %+v", len(got), n, l.origin())
	}
}

// without makes this an older build, which does not know a kind of op, until the test or upgrade ends that.
func without(t *testing.T, kind chat.OpKind) (upgrade func()) {
	shape := shapes[kind]
	delete(shapes, kind)
	upgrade = func() { shapes[kind] = shape }
	t.Cleanup(upgrade)
	return upgrade
}

// edit is an op that changes message one.
func edit(one *chat.Op) chat.Op {
	op := lotMessage(2, time.Millisecond)
	op.Kind, op.Change = chat.OpChange, &chat.Change{Kind: chat.ChangeEdit, Target: one.ID}
	return op
}

// An op of a kind that only a newer build knows is parked as it came; the stream goes on after it, and the newer build applies
// it when it starts, whole.
func TestParkedUntilTheUpgrade(t *testing.T) {
	l := newLot(t)
	upgrade := without(t, chat.OpChange)
	one, three := lotMessage(1, 0), lotMessage(3, 2*time.Millisecond)
	two := edit(&one)
	outs := l.bring(one, two, three)
	if a := only[Alarm](outs); len(a) != 1 || a[0].Code != chat.CodeUpgradePending {
		t.Fatalf("alarms %+v", a)
	}
	if got := l.shown(); len(got) != 2 || got[1] != three.ID {
		t.Fatalf("the stream does not go on: %v", got)
	}
	l.after(5 * time.Second)
	if o := l.origin(); o.Watermark >= two.Logged || o.Parked != 1 || o.Seq != 3 || len(only[Write](outs)[0].Batch.DeadLetters) != 0 {
		t.Fatalf("origin %+v", o)
	}
	if l.core.peers["us"].caughtUp(three.Logged) < three.Logged {
		t.Fatal("an older build never has what it can show")
	}
	upgrade()
	l.restart()
	l.run(l.step(from("us", Frame{Kind: FrameBatch, Stream: one.Stream, After: 3, UpTo: 3, Watermark: three.Logged})))
	l.after(time.Second)
	_, last := GroupQuery{Since: 1}.Targets(nil, false)
	changes := l.tables.Changes(testOwner(2, "world").ID, one.Conversation, chat.NoMessage, last, 10)
	if o := l.origin(); len(changes) != 1 || changes[0].Op != two.ID || o.Parked != 0 || o.Watermark != three.Logged {
		t.Fatalf("origin %+v, changes %+v", o, changes)
	}
}

// Of a kind that this build does not know nothing is kept here unless the envelope alone allows it.
func TestUnknownKindStaysInItsZone(t *testing.T) {
	without(t, chat.OpChange)
	one := lotMessage(1, 0)
	inDeny, inSolo := testOwner(5, "deny"), testOwner(6, "solo")
	for name, forge := range map[string]func(op *chat.Op){
		"not for this region":          func(op *chat.Op) { op.To = []chat.Region{"in"} },
		"nobody served here":           func(op *chat.Op) { op.Owners = []chat.Owner{{ID: op.Author.ID, Zone: "deny"}} },
		"of nobody":                    func(op *chat.Op) { op.Owners = nil },
		"by the system":                func(op *chat.Op) { op.Author = chat.Owner{} },
		"brought by a mailbox's side":  func(op *chat.Op) { op.Author, op.Owners = inSolo, []chat.Owner{inSolo, op.Owners[0]} },
		"out of a deny zone":           func(op *chat.Op) { op.Author, op.Owners = inDeny, []chat.Owner{inDeny, op.Owners[0]} },
		"a destination without a name": func(op *chat.Op) { op.To = []chat.Region{"", "eu"} },
	} {
		l := newLot(t)
		op := edit(&one)
		forge(&op)
		op.ID = chat.NewMessageID(op.Time, op.Author.ID, op.Client)
		outs := l.bring(one, op)
		b := only[Write](outs)[0].Batch
		kept := len(b.Parked)
		for _, row := range b.Log {
			if row.Op.ID == op.ID {
				kept++
			}
		}
		if kept != 0 || len(b.DeadLetters) != 1 || len(only[Alarm](outs)) != 1 || l.origin().Seq != 2 {
			t.Errorf("%s: %d rows kept, dead letters %+v", name, kept, b.DeadLetters)
		}
	}
}

// What may not be here by the topology of now is not applied when its time comes: it is refused, and leaves the table.
func TestParkedIsInspectedAgain(t *testing.T) {
	l := newLot(t)
	one := lotMessage(1, 2*time.Second)
	l.bring(one)
	rows := l.tables.Parked()
	rows[0].Op.Author.Zone = "deny"
	l.tables.ApplyOf("n1", &chat.Batch{Parked: rows})
	w := only[Write](l.after(2 * time.Second))
	letters := 0
	for _, x := range w {
		letters += len(x.Batch.DeadLetters)
	}
	if letters != 1 || len(l.shown()) != 0 || len(l.tables.Parked()) != 0 || l.origin().Watermark != one.Logged {
		t.Fatalf("%d dead letters, shown %v, parked %v, origin %+v", letters, l.shown(), l.tables.Parked(), l.origin())
	}
}

// A parked op that could not be written is not parked: the stream asks for it again.
func TestParkedIsNotBelievedBeforeItIsDurable(t *testing.T) {
	l := newLot(t)
	one := lotMessage(1, 2*time.Second)
	w := only[Write](l.step(from("us", Frame{Kind: FrameBatch, Stream: one.Stream, UpTo: 1, Watermark: one.Logged, Ops: []chat.Op{one}})))
	outs := l.step(Written{Write: w[0].ID, Err: &chat.Error{Code: chat.CodeStoreFull}})
	if o := l.origin(); o.Parked != 0 || o.Seq != 0 || o.Watermark != 0 {
		t.Fatalf("origin %+v after %+v", o, outs)
	}
	for _, s := range only[Send](outs) {
		if s.Frame.Kind == FrameAck {
			t.Fatalf("acknowledged: %+v", s)
		}
	}
}

// newSharedLot is a lot whose store has a second node besides.
func newSharedLot(t *testing.T) *lot {
	l := newLot(t)
	l.core.cfg.Lease = 10 * time.Second
	l.core.lease = lease{held: true, renewedAt: l.now, askedAt: l.now}
	return l
}

// siblingParks has the other node of the region park ops, the last of which is applied there.
func (l *lot) siblingParks(ops ...chat.Op) {
	b := &chat.Batch{Applied: []chat.AppliedRow{{Stream: ops[0].Stream, Seq: ops[len(ops)-1].Seq}}}
	for i := range ops {
		b.Parked = append(b.Parked, chat.ParkedRow{Op: ops[i], Reason: chat.CodeClockSkew})
	}
	l.tables.ApplyOf("n2", b)
}

// The node at which a stream is opened asks the store what another node of the region has parked of it, and looks after that.
func TestParkedByAnotherNode(t *testing.T) {
	l := newSharedLot(t)
	one := lotMessage(1, time.Second)
	l.siblingParks(one)
	l.step(PeerUp{Peer: usNode})
	l.run(l.step(Tick{}))
	l.tell(1, chat.HLCFromTime(l.now), 0)
	outs := l.open()
	if got := positions(outs); len(got) != 0 {
		t.Fatalf("position %v before the store was asked", got)
	}
	l.now = l.now.Add(100 * time.Millisecond)
	if got := positions(l.run(l.step(Tick{}))); len(got) != 1 || got[0] != 1 {
		t.Fatalf("position %v, want what the other node told", got)
	}
	idle := from("us", Frame{Kind: FrameBatch, Stream: one.Stream, After: 1, UpTo: 1, Watermark: one.Logged + 100})
	l.run(l.step(idle))
	if o := l.origin(); o.Watermark >= one.Logged || o.Parked != 1 {
		t.Fatalf("origin %+v", o)
	}
	w := only[Write](l.after(500 * time.Millisecond))
	if o := l.origin(); o.Watermark != one.Logged+100 || len(l.shown()) != 1 || len(l.tables.Parked()) != 0 {
		t.Fatalf("origin %+v, shown %v", o, l.shown())
	}
	for _, x := range w {
		if len(x.Batch.Messages) > 0 && len(x.Batch.Unparked) > 0 {
			t.Fatalf("out of the table before it is shown: %+v", x.Batch)
		}
	}
}

// What a dead node had parked is applied by the one that adopts its op log, also where nobody brings the stream any more.
func TestParkedIsAdopted(t *testing.T) {
	l := newSharedLot(t)
	one := lotMessage(1, time.Second)
	l.siblingParks(one)
	l.run(l.step(Adopted{Life: chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}, Parked: l.tables.Parked()}))
	l.after(parkedGrace)
	if got := l.shown(); len(got) != 0 {
		t.Fatalf("applied before whoever may have the stream open had the time for it: %v", got)
	}
	l.after(2 * time.Second)
	if got := l.shown(); len(got) != 1 || len(l.tables.Parked()) != 0 {
		t.Fatalf("shown %v, parked %v", got, l.tables.Parked())
	}
}

// A stream has ended for a node once the store has told what another one has parked of it.
func TestParkedOfAnEndedStream(t *testing.T) {
	l := newSharedLot(t)
	one := lotMessage(1, time.Second)
	l.siblingParks(one)
	next := one.Stream
	next.Incarnation++
	l.core.peers["us"].inbound(one.Stream)
	l.step(from("us", Frame{Kind: FrameLives, Stream: next, Lives: []chat.StreamID{next}}))
	s := l.core.peers["us"].inbound(one.Stream)
	reads := only[ReadParked](l.step(Tick{}))
	if s.watermark != 0 || len(reads) != 1 {
		t.Fatalf("watermark %d, reads %+v", s.watermark, reads)
	}
	l.run(l.step(ParkedRead{Stream: one.Stream, Rows: l.tables.Parked()}))
	l.run(l.step(Tick{}))
	if s.watermark != one.Logged-1 {
		t.Fatalf("watermark %d, want %d", s.watermark, one.Logged-1)
	}
	l.after(4 * time.Second)
	if s.watermark != endOfStream || len(l.shown()) != 1 {
		t.Fatalf("watermark %d, shown %v", s.watermark, l.shown())
	}
}

// What another node has applied is not applied again, and is covered only once the region shows what that node has stamped.
func TestParkedAppliedByAnotherNode(t *testing.T) {
	l := newSharedLot(t)
	one := lotMessage(1, time.Second)
	l.siblingParks(one)
	l.core.meetParked(l.tables.Parked())
	l.step(PeerUp{Peer: chat.NodeRef{Region: "us", Node: "n1"}})
	l.run(l.step(from("us", Frame{Kind: FrameBatch, Stream: one.Stream, After: 0, UpTo: 1, Watermark: one.Logged})))
	l.tables.ApplyOf("n2", &chat.Batch{Unparked: l.tables.Parked()})
	l.now = l.now.Add(time.Second)
	high := chat.HLCFromTime(l.now.Add(time.Second))
	for _, out := range l.step(Tick{}) {
		if r, ok := out.(ReadParked); ok {
			l.run(l.step(ParkedRead{Stream: r.Stream, High: high}))
		} else {
			l.run([]Output{out})
		}
	}
	l.run(l.step(Tick{}))
	if o := l.origin(); o.Parked != 0 || o.Watermark >= one.Logged || len(l.shown()) != 0 {
		t.Fatalf("before the low mark covers it: origin %+v, shown %v", o, l.shown())
	}
	l.after(1500 * time.Millisecond)
	if o := l.origin(); o.Watermark != one.Logged || len(l.shown()) != 0 {
		t.Fatalf("origin %+v, shown %v", o, l.shown())
	}
}

// A write that parks may reach the store after the one that took the op out: it is found, taken out again, and not applied twice.
func TestParkedComesBackLate(t *testing.T) {
	l := newLot(t)
	one := lotMessage(1, time.Second)
	l.bring(one)
	late := l.tables.Parked()
	l.after(time.Second)
	l.tables.ApplyOf("n1", &chat.Batch{Parked: late})
	l.after(parkedLate + time.Second)
	if len(l.tables.Parked()) != 0 || len(l.shown()) != 1 {
		t.Fatalf("parked %v, shown %v", l.tables.Parked(), l.shown())
	}
}

// A frozen node's write may come when its life is over: an op that it applied stays in the table, and is shown by another node.
func TestParkedStaysUntilItIsShown(t *testing.T) {
	l := newSharedLot(t)
	one := lotMessage(1, time.Second)
	l.siblingParks(one)
	l.core.meetParked(l.tables.Parked())
	l.step(PeerUp{Peer: usNode})
	l.run(l.step(from("us", Frame{Kind: FrameBatch, Stream: one.Stream, UpTo: 1, Watermark: one.Logged})))
	l.now = l.now.Add(time.Second)
	var late []Write
	for _, r := range only[ReadParked](l.step(Tick{})) {
		late = append(late, only[Write](l.step(ParkedRead{Stream: r.Stream, Rows: l.tables.Parked()}))...)
	}
	if len(late) != 1 || len(late[0].Batch.Messages) == 0 || len(late[0].Batch.Unparked) != 0 {
		t.Fatalf("written %+v", late)
	}
	l.now = l.now.Add(time.Minute)
	l.tables.ApplyOf("n1", late[0].Batch)
	l.run(l.step(Written{Write: late[0].ID}))
	if len(l.tables.Parked()) != 1 {
		t.Fatal("taken out of the table by a life that is over")
	}
}
