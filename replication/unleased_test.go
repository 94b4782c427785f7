package replication

import (
	"testing"
	"time"

	"meridian/chat"
)

// renewed answers the last question for the lease.
func (r *rig) renewed(rows ...chat.NodeRow) Renewed {
	return Renewed{Until: r.core.lease.askedFor, Nodes: rows}
}

// The answer to a question that had waited at a slow store gives the lease that it asked for, which has ended, and not the one of
// a later question: others may adopt this life by what the store knows.
func TestALateAnswerGivesNoLease(t *testing.T) {
	r := newShared(t, Restored{})
	lease := r.core.cfg.Lease
	r.now = r.now.Add(lease)
	early := only[Renew](r.step(Tick{}))
	r.now = r.now.Add(lease)
	late := only[Renew](r.step(Tick{}))
	if len(early) != 1 || len(late) != 1 {
		t.Fatalf("asked %+v, then %+v", early, late)
	}
	r.step(Renewed{Until: early[0].Until})
	if r.core.mayStamp(r.now) {
		t.Error("stamps by a lease that has ended")
	}
	if again := only[Renew](r.step(Tick{})); len(again) != 0 {
		t.Errorf("asks again while the later question waits: %+v", again)
	}
	r.step(Renewed{Until: late[0].Until})
	if !r.core.mayStamp(r.now) {
		t.Error("has no lease by the answer to its last question")
	}
}

// A node whose lease has ended gives no later marks: it may have slept, and not know who stamps now.
func TestMarksStandWithoutALease(t *testing.T) {
	r := newShared(t, Restored{})
	r.settle(r.step(Tick{}))
	r.step(r.renewed())
	r.settle(r.step(Tick{}))
	given := r.core.Marks(r.now)
	r.now = r.now.Add(r.core.cfg.Lease)
	r.settle(r.step(Tick{}))
	if m := r.core.Marks(r.now); m != given {
		t.Errorf("without a lease: %+v after %+v", m, given)
	}
	other := chat.NodeRow{Stream: chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}, Until: chat.HLCFromTime(r.now.Add(time.Minute)), Low: given.Local + 1}
	r.step(r.renewed(other))
	r.settle(r.step(Tick{}))
	if m := r.core.Marks(r.now); m.Local != other.Low {
		t.Errorf("with a lease: the local mark is %d, want that of the other node, %d", m.Local, other.Low)
	}
}

// What a node has written of a foreign stream when its lease had ended it neither acknowledges nor tells the others of its region as
// shown: another may have adopted its life, and given out cursors beyond. When it has the lease again it does both.
func TestWhatIsWrittenAfterALeaseIsNotShown(t *testing.T) {
	r := newShared(t, Restored{})
	r.step(PeerUp{Peer: usNode})
	r.step(PeerUp{Peer: chat.NodeRef{Region: "eu", Node: "n2"}})
	r.settle(r.step(Tick{}))
	op := testMessage("us", 1, chat.HLCFromTime(testStart), 1, "x")
	op.To = []chat.Region{"eu"}
	w := only[Write](r.step(from("us", Frame{Kind: FrameBatch, Stream: usStream, UpTo: 1, Ops: []chat.Op{op}})))
	if len(w) != 1 {
		t.Fatalf("writes %+v", w)
	}
	told := func(outs []Output) (acked, shown uint64) {
		for _, s := range only[Send](outs) {
			switch f := s.Frame; {
			case f.Kind == FrameAck, f.Kind == FramePosition:
				acked = max(acked, f.UpTo)
			case f.Kind == FrameMarks && len(f.Applied) > 0:
				shown = max(shown, f.Applied[0].Seq)
			}
		}
		return acked, shown
	}
	r.now = r.now.Add(2 * r.core.cfg.Resend)
	outs := r.step(Written{Write: w[0].ID})
	for range 2 {
		outs = append(outs, r.settle(r.step(Tick{}))...)
	}
	if acked, shown := told(outs); acked != 0 || shown != 0 {
		t.Errorf("without a lease: acknowledged up to %d, told as shown up to %d", acked, shown)
	}
	r.step(r.renewed())
	if acked, shown := told(r.settle(r.step(Tick{}))); acked != 1 || shown != 1 {
		t.Errorf("with a lease: acknowledged up to %d, told as shown up to %d, want 1", acked, shown)
	}
}

// A submit waits for the lease as long as a start takes, or a moment beyond a lease that ran out; then it is refused so that it
// may be tried elsewhere, and what comes after the lease is back is taken.
func TestSubmitsWithoutALeaseAreRefused(t *testing.T) {
	const lease = 2 * time.Second
	r := newRig(t, "eu", Restored{})
	cfg := r.core.cfg
	cfg.Lease, cfg.AdoptWait = lease, time.Second
	r.core = New(cfg, Restored{Identity: chat.Identity{Region: "eu", Node: "n1", Incarnation: 1}})
	token := uint64(0)
	logged := 0 // ops of the own log that were written
	answers := func(in Input) []Submitted {
		outs := r.settle(r.step(in))
		for _, w := range only[Write](outs) {
			logged += len(w.Batch.Log)
		}
		return only[Submitted](outs)
	}
	submit := func() []Submitted {
		token++
		return answers(r.submit(token, testMessage("", 0, 0, int(token), "x"), 0))
	}
	tick := func(after time.Duration) []Submitted {
		r.now = r.now.Add(after)
		return answers(Tick{})
	}
	refused := func(answers []Submitted) bool {
		return len(answers) == 1 && answers[0].Token == token && chat.CodeOf(answers[0].Err) == chat.CodeRegionDegraded
	}
	if early := append(submit(), tick(lease+leaseWait/2)...); len(early) != 0 {
		t.Fatalf("answered while the node may be starting: %+v", early)
	}
	if late := tick(cfg.MaxDrift + leaseWait); !refused(late) {
		t.Fatalf("a lease that never came: %+v", late)
	}
	answers(r.renewed())
	if refusals := submit(); len(refusals) != 0 || logged != 1 {
		t.Fatalf("with a lease %d ops were logged: %+v", logged, refusals)
	}
	tick(lease)
	if early := append(submit(), tick(leaseWait/2)...); len(early) != 0 {
		t.Fatalf("answered while the lease may come back: %+v", early)
	}
	if late := tick(leaseWait); !refused(late) {
		t.Fatalf("a lease that ran out: %+v", late)
	}
	if early := append(submit(), tick(leaseWait/2)...); len(early) != 0 {
		t.Fatalf("answered without a moment's wait: %+v", early)
	}
	answers(r.renewed())
	if refusals := tick(10 * time.Millisecond); len(refusals) != 0 || logged != 2 {
		t.Fatalf("the lease is back, and %d ops are logged: %+v", logged, refusals)
	}
}

// A node of the region that has begun a life and has had no lease yet, whatever it waits for, holds nothing back here; once it
// has one it does, until it tells how far it is.
func TestALifeWithoutALeaseHoldsNothingBack(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	cfg := r.core.cfg
	cfg.Lease, cfg.AdoptWait = 2*time.Second, time.Second
	r.core = New(cfg, Restored{Identity: chat.Identity{Region: "eu", Node: "n1", Incarnation: 1}})
	other := chat.NodeRow{Stream: chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}}
	local := func(rows ...chat.NodeRow) chat.HLC {
		for range 2 { // what is shown now is reserved by the next write
			r.now = r.now.Add(600 * time.Millisecond)
			r.settle(r.step(Tick{}))
			r.settle(r.step(r.renewed(rows...)))
			r.settle(r.step(Tick{}))
		}
		return r.core.Marks(r.now).Local
	}
	alone := local()
	waiting := local(other)
	if waiting <= alone {
		t.Errorf("a life without a lease holds the mark at %v", waiting.Time())
	}
	other.Until, other.Low = chat.HLCFromTime(r.now.Add(time.Minute)), waiting
	if held := local(other); held > waiting {
		t.Errorf("a life with a lease lets the mark move on to %v", held.Time())
	}
}
