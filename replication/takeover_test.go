package replication

import (
	"testing"
	"time"

	"meridian/chat"
)

// A node that shares its store, beside n2.
func newShared(t *testing.T, restored Restored) *rig {
	restored.Identity.Incarnation = 1
	restored.Identity.HighWater = chat.HLCFromTime(testStart.Add(400 * time.Millisecond))
	r := newRig(t, "eu", Restored{})
	cfg := r.core.cfg
	cfg.Lease, cfg.AdoptWait = 2*time.Second, time.Second
	r.core = New(cfg, restored)
	r.core.lease = lease{held: true, renewedAt: r.now, askedAt: r.now}
	return r
}

var (
	usStream = chat.StreamID{Region: "us", Node: "n1", Incarnation: 1}
	usNode   = chat.NodeRef{Region: "us", Node: "n1"}
)

// tell has n2 tell how far it has applied the stream of us, visible by its low mark.
func (r *rig) tell(seq uint64, low, watermark chat.HLC) {
	n2 := chat.NodeRef{Region: "eu", Node: "n2"}
	f := Frame{
		Kind: FrameMarks, Stream: chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}, Low: low,
		Applied: []chat.AppliedRow{{Stream: usStream, Seq: seq, Watermark: watermark}},
	}
	r.step(Received{Peer: n2, Frame: f})
}

func (r *rig) open() []Output {
	return r.step(Received{Peer: usNode, Frame: Frame{Kind: FrameOpen, Stream: usStream}})
}

// positions gives the positions that were stated in the stream of us.
func positions(outs []Output) (list []uint64) {
	for _, s := range only[Send](outs) {
		if s.Frame.Kind == FramePosition && s.Frame.Stream == usStream {
			list = append(list, s.Frame.UpTo)
		}
	}
	return list
}

// A stream that another node has brought goes on from what that node told, once this node's low mark covers what is shown of it.
func TestTakesStreamOver(t *testing.T) {
	r := newShared(t, Restored{})
	r.step(PeerUp{Peer: usNode, Protocol: ProtocolNodes})
	r.settle(r.step(Tick{}))
	writes := only[Write](r.step(r.submit(1, testMessage("", 0, 0, 1, "x"), 0)))
	if len(writes) != 1 {
		t.Fatalf("%d writes", len(writes))
	}
	r.tell(5, chat.HLCFromTime(r.now.Add(450*time.Millisecond)), chat.HLCFromTime(r.now))
	if got := positions(append(r.open(), r.settle(r.step(Tick{}))...)); len(got) != 0 {
		t.Fatalf("position %v while an older write is under way here", got)
	}
	outs := r.settle(r.step(Written{Write: writes[0].ID}))
	if got := positions(append(outs, r.step(Tick{})...)); len(got) != 1 || got[0] != 5 {
		t.Fatalf("position %v, want what the other node told", got)
	}
	if low := r.core.low(r.now); low < chat.HLCFromTime(r.now.Add(450*time.Millisecond)) {
		t.Fatalf("the low mark %s does not cover what is shown", low.Time())
	}
}

// A node that starts believes the others about a foreign stream, not the store: a write of a frozen node may have come there late.
// Alone it believes the store.
func TestBelievesTheOthers(t *testing.T) {
	late := chat.HLCFromTime(testStart.Add(-time.Second))
	shown := chat.HLCFromTime(testStart.Add(-2 * time.Second))
	for name, want := range map[string]uint64{"beside another": 7, "alone": 9} {
		r := newShared(t, Restored{Applied: []chat.AppliedRow{{Stream: usStream, Seq: 9, Watermark: late}}})
		r.core.lease.joinAt = r.now.Add(time.Second)
		r.step(PeerUp{Peer: usNode, Protocol: ProtocolNodes})
		outs := r.open()
		if name != "alone" {
			r.tell(7, chat.HLCFromTime(r.now), shown)
		}
		if got := positions(append(outs, r.step(Tick{})...)); len(got) != 0 {
			t.Fatalf("%s: position %v before the node takes part", name, got)
		}
		if mark := r.core.peers["us"].applied(r.core.low(r.now), r.core.low(r.now)); mark > shown {
			t.Fatalf("%s: the watermark %s is believed before the node takes part", name, mark.Time())
		}
		r.now = r.now.Add(time.Second)
		if got := positions(r.settle(r.step(Tick{}))); len(got) != 1 || got[0] != want {
			t.Fatalf("%s: position %v, want %d", name, got, want)
		}
		if mark := r.core.peers["us"].applied(r.core.low(r.now), r.core.low(r.now)); (mark == late) != (want == 9) {
			t.Fatalf("%s: watermark %s", name, mark.Time())
		}
	}
}
