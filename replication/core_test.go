package replication

import (
	"testing"
	"time"

	"meridian/chat"
)

var testStart = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

// rig drives one core by hand.
type rig struct {
	t    *testing.T
	core *Core
	now  time.Time
}

func newRig(t *testing.T, self chat.Region, restored Restored) *rig {
	restored.Identity.Incarnation = max(1, restored.Identity.Incarnation)
	return &rig{t: t, now: testStart, core: New(Config{
		Self: self, Node: "n1", Topology: testTopology, MaxDrift: 500 * time.Millisecond, Watermark: 250 * time.Millisecond,
		Resend: 3 * time.Second, WindowOps: 100, WindowBytes: 1 << 20, TailOps: 100, BatchOps: 10, BatchBytes: 1 << 16, InFlight: 10,
	}, restored)}
}

func (r *rig) step(in Input) []Output { return r.core.Step(r.now, in) }

// settle answers the writes of outs as done, and those that come of it; it gives all outputs.
func (r *rig) settle(outs []Output) []Output {
	for i := 0; i < len(outs); i++ {
		switch out := outs[i].(type) {
		case Write:
			outs = append(outs, r.step(Written{Write: out.ID})...)
		case ReadParked:
			outs = append(outs, r.step(ParkedRead{Stream: out.Stream})...)
		}
	}
	return outs
}

// only gives the outputs of type T.
func only[T Output](outs []Output) []T {
	var list []T
	for _, o := range outs {
		if v, ok := o.(T); ok {
			list = append(list, v)
		}
	}
	return list
}

func (r *rig) submit(token uint64, op chat.Op, previous int) Submit {
	op.ID, op.Time, op.Stream, op.Seq = chat.NoMessage, 0, chat.StreamID{}, 0
	in := Submit{Token: token, Op: op}
	if previous > 0 {
		in.Previous = chat.ClientID(testID(2, previous))
	}
	return in
}

// No mark leaves the node above what is reserved durably: a restart stamps right above the reservation.
func TestMarksStayBelowReservation(t *testing.T) {
	r := newRig(t, "eu", Restored{Identity: chat.Identity{HighWater: 1000}})
	w := only[Write](r.step(Tick{}))
	if len(w) != 1 || w[0].Batch.HighWater == 0 {
		t.Fatalf("the first tick reserves: %+v", w)
	}
	r.now = r.now.Add(time.Minute)
	if m := r.core.Marks(r.now); m.Local != 1000 {
		t.Fatalf("local mark %d before the reservation is durable, want 1000", m.Local)
	}
	r.step(Written{Write: w[0].ID})
	if m := r.core.Marks(r.now); m.Local != w[0].Batch.HighWater {
		t.Fatalf("local mark %d, reserved %d", m.Local, w[0].Batch.HighWater)
	}
	for _, s := range only[Submitted](r.settle(r.step(r.submit(1, testMessage("", 0, 0, 1, "x"), 0)))) {
		if s.Err != nil {
			t.Fatal(s.Err)
		}
	}
	again := newRig(t, "eu", Restored{Identity: chat.Identity{HighWater: w[0].Batch.HighWater}})
	again.now = testStart.Add(-5 * time.Second) // the clock came back late
	if outs := again.step(again.submit(1, testMessage("", 0, 0, 2, "x"), 0)); len(outs) != 0 {
		t.Fatalf("a stamp far ahead of the clock was given: %+v", outs)
	}
	again.now = testStart.Add(2 * time.Second)
	var stamped []chat.HLC
	for _, wrote := range only[Write](again.step(Tick{})) {
		for _, row := range wrote.Batch.Log {
			stamped = append(stamped, row.Op.Time)
		}
	}
	if len(stamped) != 1 || stamped[0] <= w[0].Batch.HighWater {
		t.Fatalf("the op that waited for the clock is not written above the reservation %d: %d", w[0].Batch.HighWater, stamped)
	}
}

// A send that is repeated while it is under way is written once; both are answered with its id, when it is durable.
func TestRepeatWhileUnderWay(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	op := testMessage("", 0, 0, 1, "x")
	first := r.step(r.submit(1, op, 0))
	if outs := r.step(r.submit(2, op, 0)); len(outs) != 0 {
		t.Fatalf("the repeat is not held: %+v", outs)
	}
	other := testMessage("", 0, 0, 1, "another text")
	r.step(r.submit(3, other, 0))
	answers := only[Submitted](r.settle(first))
	if len(answers) != 3 || answers[0].Op.ID != answers[1].Op.ID || answers[0].Known || !answers[1].Known {
		t.Fatalf("answers %+v", answers)
	}
	if chat.CodeOf(answers[2].Err) != chat.CodeClientIDReused {
		t.Fatalf("another text under the same client id: %v", answers[2].Err)
	}
}

// A pipeline of sends is stamped in its order, each after the one before is durable; one that follows nothing is refused.
func TestPreviousHolds(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	first := r.step(r.submit(1, testMessage("", 0, 0, 1, "a"), 0))
	r.step(r.submit(2, testMessage("", 0, 0, 2, "b"), 1))
	r.step(r.submit(3, testMessage("", 0, 0, 3, "c"), 2))
	lost := only[Submitted](r.step(r.submit(4, testMessage("", 0, 0, 4, "d"), 9)))
	if len(lost) != 1 || chat.CodeOf(lost[0].Err) != chat.CodeAfterUnknown {
		t.Fatalf("a send after one that nobody knows: %+v", lost)
	}
	answers := only[Submitted](r.settle(first))
	if len(answers) != 3 {
		t.Fatalf("%d answers", len(answers))
	}
	for i, a := range answers {
		if a.Err != nil || a.Token != uint64(i+1) || i > 0 && a.Op.Time <= answers[i-1].Op.Time {
			t.Errorf("answer %d: %+v", i, a)
		}
	}
}

// When the first of a pipeline fails, what follows it is refused too: the client sends all of it again, in order.
func TestPreviousFails(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	w := only[Write](r.step(r.submit(1, testMessage("", 0, 0, 1, "a"), 0)))
	r.step(r.submit(2, testMessage("", 0, 0, 2, "b"), 1))
	answers := only[Submitted](r.step(Written{Write: w[0].ID, Err: &chat.Error{Code: chat.CodeStoreFull}}))
	if len(answers) != 2 || chat.CodeOf(answers[0].Err) != chat.CodeStoreFull || chat.CodeOf(answers[1].Err) != chat.CodeAfterUnknown {
		t.Fatalf("answers %+v", answers)
	}
	if n := r.core.Submits(); n != 0 {
		t.Fatalf("%d submits left", n)
	}
}

// A region that lies can plant nothing: each forged op is kept out and told, and the stream goes on after it.
func TestForgedOps(t *testing.T) {
	at := chat.HLCFromTime(testStart)
	good := testMessage("us", 1, at, 1, "x")
	forge := func(f func(op *chat.Op)) chat.Op {
		op := good
		f(&op)
		return op
	}
	inDeny, inSolo := testOwner(5, "deny"), testOwner(6, "solo")
	for name, op := range map[string]chat.Op{
		"another region's stream":   forge(func(op *chat.Op) { op.Stream.Region = "in" }),
		"sequence out of the range": forge(func(op *chat.Op) { op.Seq = 99 }),
		"author of a foreign zone":  forge(func(op *chat.Op) { op.Author, op.Owners = inDeny, []chat.Owner{inDeny, op.Owners[1]} }),
		"zone the peer does not serve": forge(func(op *chat.Op) {
			op.Kind, op.Author, op.Owners, op.Block = chat.OpBlock, inSolo, []chat.Owner{inSolo, op.Owners[1]}, &chat.BlockChange{By: inSolo}
		}),
		"author of no zone":         forge(func(op *chat.Op) { op.Author.Zone = "" }),
		"not for this region":       forge(func(op *chat.Op) { op.Owners = []chat.Owner{{ID: op.Author.ID, Zone: "deny"}} }),
		"mailbox of somebody else":  forge(func(op *chat.Op) { op.Owners = op.Owners[1:] }),
		"altered body":              forge(func(op *chat.Op) { op.Body = []byte("z") }),
		"another author's id":       forge(func(op *chat.Op) { op.ID = chat.NewMessageID(op.Time, op.Owners[1].ID, op.Client) }),
		"time that is not the id's": forge(func(op *chat.Op) { op.Time++ }),
		"too many owners":           forge(func(op *chat.Op) { op.Owners = make([]chat.Owner, chat.MaxOwners+1) }),
		"no owner":                  forge(func(op *chat.Op) { op.Owners = nil }),
		"kind without its content":  forge(func(op *chat.Op) { op.Kind = chat.OpMark }),
		"unknown kind":              forge(func(op *chat.Op) { op.Kind = 200 }),
		"somebody else's account": forge(func(op *chat.Op) {
			op.Kind, op.Account = chat.OpAccount, &chat.Account{ID: op.Owners[1].ID, Zone: "world"}
		}),
		"account moved to a zone":   forge(func(op *chat.Op) { op.Kind, op.Account = chat.OpAccount, &chat.Account{ID: op.Author.ID, Zone: "pair"} }),
		"somebody else's block":     forge(func(op *chat.Op) { op.Kind, op.Block = chat.OpBlock, &chat.BlockChange{By: op.Owners[1]} }),
		"somebody else's read mark": forge(func(op *chat.Op) { op.Kind, op.Mark = chat.OpMark, &chat.Mark{User: op.Owners[1].ID} }),
		"somebody else's revocation": forge(func(op *chat.Op) {
			op.Kind, op.Session = chat.OpSession, &chat.Session{User: op.Owners[1].ID, Zone: "world"}
		}),
		"claim of nobody": forge(func(op *chat.Op) {
			op.Kind, op.Author, op.Owners, op.Claim = chat.OpClaim, chat.Owner{}, nil, &chat.Claim{Zone: "world"}
		}),
		"claim of another's zone": forge(func(op *chat.Op) {
			op.Kind, op.Author, op.Owners, op.Claim = chat.OpClaim, chat.Owner{Zone: "world"}, nil, &chat.Claim{Zone: "solo"}
		}),
	} {
		r := newRig(t, "eu", Restored{})
		next := testMessage("us", 2, at+1, 2, "y")
		outs := r.settle(r.step(Received{Peer: chat.NodeRef{Region: "us", Node: "n1"}, Frame: Frame{Kind: FrameBatch, Stream: good.Stream, UpTo: 2, Watermark: at + 1, Ops: []chat.Op{op, next}}}))
		if len(only[Alarm](outs)) != 1 {
			t.Errorf("%s: alarms %+v", name, only[Alarm](outs))
		}
		w := only[Write](outs)
		if len(w) != 1 || len(w[0].Batch.DeadLetters) != 1 || len(w[0].Batch.Messages) != 2 || w[0].Batch.Messages[0].ID != next.ID {
			t.Errorf("%s: written %+v", name, w)
			continue
		}
		if len(w[0].Batch.Accounts)+len(w[0].Batch.Blocks)+len(w[0].Batch.Marks)+len(w[0].Batch.Sessions)+len(w[0].Batch.Claims) > 0 {
			t.Errorf("%s: planted %+v", name, w[0].Batch)
		}
	}
}

// A peer that claims to know more of this life than it ever originated is told of in an alarm, and nothing counts as acknowledged.
func TestImplausiblePosition(t *testing.T) {
	r := newRig(t, "eu", Restored{Identity: chat.Identity{LastSeq: 10}})
	r.step(PeerUp{Peer: chat.NodeRef{Region: "us", Node: "n1"}})
	for _, kind := range []FrameKind{FramePosition, FrameAck} {
		outs := r.step(Received{Peer: chat.NodeRef{Region: "us", Node: "n1"}, Frame: Frame{Kind: kind, Stream: r.core.Stream(), UpTo: 11}})
		if alarms := only[Alarm](outs); len(alarms) != 1 || alarms[0].Code != chat.CodeVersionConflict || len(only[Send](outs)) > 0 {
			t.Fatalf("outputs %+v", outs)
		}
		if p := r.core.Peers(r.now)[0]; p.Ready || p.Acked != 0 {
			t.Fatalf("after %d the relay stands at %+v", kind, p)
		}
	}
}

// A send to a zone whose policy, or the author's, forbids it is refused and written nowhere; so is one of a zone that this
// region does not serve.
func TestSubmitAsksResidency(t *testing.T) {
	denied := testMessage("", 0, 0, 1, "x")
	denied.Author, denied.Owners = testOwner(5, "deny"), []chat.Owner{testOwner(5, "deny"), testOwner(2, "world")}
	denied.Conversation = chat.DirectConversation(denied.Owners[0].ID, denied.Owners[1].ID)
	for _, self := range []chat.Region{"in", "eu"} {
		r := newRig(t, self, Restored{})
		outs := r.step(r.submit(1, denied, 0))
		if s := only[Submitted](outs); len(outs) != 1 || len(s) != 1 || chat.CodeOf(s[0].Err) != chat.CodeDenied {
			t.Errorf("%s: %+v", self, outs)
		}
	}
}

// An id from the year 2100 is refused and does not move the clock; one beyond the in-flight bound is told to wait.
func TestSubmitBounds(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	in := r.submit(1, testMessage("", 0, 0, 1, "x"), 0)
	in.After = []chat.MessageID{chat.NewMessageID(chat.HLCFromTime(testStart.AddDate(74, 0, 0)), in.Op.Author.ID, chat.NoClient)}
	if s := only[Submitted](r.step(in)); len(s) != 1 || chat.CodeOf(s[0].Err) != chat.CodeClockSkew {
		t.Fatalf("answers %+v", s)
	}
	if r.core.clock.Last() > chat.HLCFromTime(r.now) {
		t.Fatal("the clock moved")
	}
	for i := range 10 {
		r.step(r.submit(uint64(i), testMessage("", 0, 0, i+1, "x"), 0))
	}
	s := only[Submitted](r.step(r.submit(99, testMessage("", 0, 0, 99, "x"), 0)))
	if len(s) != 1 || chat.CodeOf(s[0].Err) != chat.CodeBusy || chat.AsError(s[0].Err).RetryAfter == 0 {
		t.Fatalf("answers %+v", s)
	}
}
