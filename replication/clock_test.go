package replication

import (
	"slices"
	"testing"
	"time"

	"meridian/chat"
)

// guardedRig is a core that knows no time yet, right after a start.
func guardedRig(t *testing.T, restored Restored) *rig {
	r := newRig(t, "eu", restored)
	cfg := r.core.cfg
	cfg.Guarded = true
	restored.Identity.Incarnation = 1
	r.core = New(cfg, restored)
	return r
}

// Before the time is known nothing is stamped, nothing is reserved and no mark moves, whatever the clock says; then what waited
// is done, in its order, by the time that is right.
func TestNothingBeforeTheTimeIsKnown(t *testing.T) {
	const mark = 1000
	r := guardedRig(t, Restored{Identity: chat.Identity{HighWater: mark}})
	right := r.now
	r.now = right.Add(time.Hour)
	life := chat.StreamID{Region: "us", Node: "n3", Incarnation: 4}
	us, gone := chat.NodeRef{Region: "us", Node: "n1"}, chat.NodeRef{Region: "us", Node: "n2"}
	for _, in := range []Input{
		Tick{},
		PeerUp{Peer: us},
		r.submit(1, testMessage("", 0, 0, 1, "x"), 0),
		PeerUp{Peer: gone},
		PeerDown{Peer: gone},
		Tick{},
		Received{Peer: us, Frame: Frame{Kind: FrameBatch, Stream: chat.StreamID{Region: "us", Node: "n1", Incarnation: 1}, Watermark: chat.HLCFromTime(right)}},
		Received{Peer: us, Frame: Frame{Kind: FrameLives, Lives: []chat.StreamID{life}}},
	} {
		if outs := r.step(in); len(outs) != 0 {
			t.Fatalf("%T is answered: %+v", in, outs)
		}
	}
	if m := r.core.Marks(r.now); m.Local > mark {
		t.Fatalf("a mark of %v was given", m.Local.Time())
	}
	r.now = right
	outs := r.settle(r.step(ClockState{Known: true}))
	answers := only[Submitted](outs)
	if len(answers) != 1 || answers[0].Err != nil || answers[0].Op.Time > chat.HLCFromTime(right.Add(time.Second)) {
		t.Fatalf("the submit that waited: %+v", answers)
	}
	if !slices.ContainsFunc(r.core.Origins(r.now), func(o OriginStatus) bool { return o.Stream == life }) {
		t.Error("what was told once, of the other region's lives, is forgotten")
	}
	for _, s := range only[Send](outs) {
		if s.Peer == gone {
			t.Error("a frame for a link that is gone")
		}
	}
	if st := r.core.Peers(r.now); !st[len(st)-1].Up {
		t.Errorf("the link that came up before is not known: %+v", st)
	}
}

// A clock that is wrong from the start has every submit refused, to be tried elsewhere, as does one that turns out to be; what
// other regions bring is applied in the second case. Once it is right submits are taken.
func TestWrongClockRefuses(t *testing.T) {
	r := guardedRig(t, Restored{})
	skew := &chat.Error{Code: chat.CodeClockSkew, RetryAfter: time.Second}
	r.step(r.submit(1, testMessage("", 0, 0, 1, "x"), 0))
	refused := only[Submitted](append(r.step(ClockState{Refuse: skew}), r.step(r.submit(2, testMessage("", 0, 0, 2, "x"), 0))...))
	if len(refused) != 2 || chat.CodeOf(refused[0].Err) != chat.CodeClockSkew || chat.CodeOf(refused[1].Err) != chat.CodeClockSkew {
		t.Fatalf("at the start: %+v", refused)
	}
	r.step(ClockState{Known: true})
	if got := only[Submitted](r.settle(r.step(r.submit(3, testMessage("", 0, 0, 3, "x"), 0)))); len(got) != 1 || got[0].Err != nil {
		t.Fatalf("with the right time: %+v", got)
	}
	r.step(ClockState{Known: true, Refuse: skew})
	if got := only[Submitted](r.step(r.submit(4, testMessage("", 0, 0, 4, "x"), 0))); len(got) != 1 || chat.CodeOf(got[0].Err) != chat.CodeClockSkew {
		t.Fatalf("after a jump: %+v", got)
	}
	us := chat.NodeRef{Region: "us", Node: "n1"}
	stream := chat.StreamID{Region: "us", Node: "n1", Incarnation: 1}
	r.step(PeerUp{Peer: us})
	r.step(Received{Peer: us, Frame: Frame{Kind: FrameOpen, Stream: stream}})
	op := testMessage("us", 1, chat.HLCFromTime(r.now), 5, "x")
	if len(only[Write](r.step(Received{Peer: us, Frame: Frame{Kind: FrameBatch, Stream: stream, UpTo: 1, Ops: []chat.Op{op}}}))) != 1 {
		t.Error("what another region brings is not applied")
	}
}

// A node whose durable mark is an hour ahead of its clock refuses submits, with a reason, and takes them when the time has come:
// it stamps nothing an hour ahead, and nothing below the mark.
func TestMarkFarAhead(t *testing.T) {
	mark := chat.HLCFromTime(testStart.Add(time.Hour))
	r := newRig(t, "eu", Restored{Identity: chat.Identity{HighWater: mark}})
	got := only[Submitted](r.step(r.submit(1, testMessage("", 0, 0, 1, "x"), 0)))
	if len(got) != 1 || chat.CodeOf(got[0].Err) != chat.CodeClockSkew || chat.AsError(got[0].Err).RetryAfter != aheadRetry {
		t.Fatalf("%+v", got)
	}
	if err := r.core.FarAhead(r.now); err == nil {
		t.Fatal("the wait is not told")
	}
	r.now = testStart.Add(time.Hour)
	got = only[Submitted](r.settle(r.step(r.submit(2, testMessage("", 0, 0, 1, "x"), 0))))
	if len(got) != 1 || got[0].Err != nil || got[0].Op.Time <= mark || r.core.FarAhead(r.now) != nil {
		t.Fatalf("%+v", got)
	}
}
