package replication

import (
	"testing"
	"time"

	"meridian/chat"
)

// start is when the tests begin.
var start = chat.HLCFromTime(testStart)

// starting is a node that has just started, linked to us, where the store stands at the given sequence of its stream.
func starting(t *testing.T, seq uint64) (*rig, chat.StreamID) {
	stream := chat.StreamID{Region: "us", Node: "n1", Incarnation: 1}
	r := newRig(t, "eu", Restored{Applied: []chat.AppliedRow{{Stream: stream, Seq: seq, Watermark: start}}})
	r.now = r.now.Add(time.Hour)
	r.step(PeerUp{Peer: chat.NodeRef{Region: "us", Node: "n1"}})
	r.settle(r.step(Tick{}))
	return r, stream
}

// after lets time pass, and gives whether the node has caught up.
func (r *rig) after(d time.Duration) bool {
	r.now = r.now.Add(d)
	r.settle(r.step(Tick{}))
	return r.core.CaughtUp()
}

// brings gives a frame of us with no op, and the watermark of the rig's time.
func (r *rig) brings(stream chat.StreamID, upTo uint64) Received {
	return from("us", Frame{Kind: FrameBatch, Stream: stream, After: upTo, UpTo: upTo, Watermark: chat.HLCFromTime(r.now)})
}

// A node that has started serves once it has what each linked region originated before, and not sooner.
func TestCatchesUpBeforeItServes(t *testing.T) {
	r, stream := starting(t, 3)
	old := r.brings(stream, 3)
	if r.after(time.Second) {
		t.Fatal("served before anything came")
	}
	old.Frame.Watermark = start + 1
	r.settle(r.step(old))
	if r.after(0) {
		t.Fatal("served with what is older than its start")
	}
	r.settle(r.step(r.brings(stream, 3)))
	for _, region := range r.core.order {
		if region != "us" {
			if r.after(time.Second) {
				t.Fatalf("served without %s, which may still be linked", region)
			}
			break
		}
	}
	if !r.after(linkWithin) {
		t.Fatal("it waits for a region that is not there")
	}
}

// A linked region that brings nothing is waited for 10 s; while it brings something, it is waited for.
func TestCatchUpGoesOnWhileSomethingComes(t *testing.T) {
	r, stream := starting(t, 3)
	for i := range 10 {
		f := r.brings(stream, 3)
		f.Frame.Watermark = start + chat.HLC(i+1)
		r.settle(r.step(f))
		if r.after(catchUpStall - time.Second) {
			t.Fatalf("served in round %d, while it catches up", i)
		}
	}
	if r.after(time.Second / 2); r.core.CaughtUp() {
		t.Fatal("served too early")
	}
	if !r.after(catchUpStall) {
		t.Fatal("it waits for a region that brings nothing")
	}
}

// A region that knows less of an op log than it acknowledged was restored: what it lost is sent again, and counted as owed.
func TestAckTakenBack(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	us := chat.NodeRef{Region: "us", Node: "n1"}
	r.step(PeerUp{Peer: us})
	r.step(Received{Peer: us, Frame: Frame{Kind: FramePosition, Stream: r.core.Stream()}})
	for i := range 3 {
		r.settle(r.step(r.submit(uint64(i+1), testMessage("", 0, 0, i+1, "x"), 0)))
	}
	r.step(Received{Peer: us, Frame: Frame{Kind: FrameAck, Stream: r.core.Stream(), UpTo: 3}})
	if p := r.peer("us"); p.Acked != 3 || p.OutboxBytes != 0 {
		t.Fatalf("before: %+v", p)
	}
	outs := r.step(Received{Peer: us, Frame: Frame{Kind: FramePosition, Stream: r.core.Stream(), UpTo: 1}})
	sent := only[Send](outs)
	if len(sent) != 1 || sent[0].Frame.After != 1 || len(sent[0].Frame.Ops) != 2 {
		t.Fatalf("sent again: %+v", sent)
	}
	if p := r.peer("us"); p.Acked != 1 || p.OutboxBytes == 0 {
		t.Fatalf("after: %+v", p)
	}
	r.step(Received{Peer: us, Frame: Frame{Kind: FrameAck, Stream: r.core.Stream(), UpTo: 3}})
	if p := r.peer("us"); p.Acked != 3 || p.OutboxBytes != 0 {
		t.Fatalf("in the end: %+v", p)
	}
}

// peer gives how the relays to a region stand.
func (r *rig) peer(region chat.Region) PeerStatus {
	for _, p := range r.core.Peers(r.now) {
		if p.Region == region {
			return p
		}
	}
	return PeerStatus{}
}

// A life of another region is over for this one only when it has all that is still there of its op log: it may have lost some.
func TestLostTailIsAwaited(t *testing.T) {
	r, earlier := starting(t, 3)
	later := earlier
	later.Incarnation++
	lives := Frame{Kind: FrameLives, Stream: later, Lives: []chat.StreamID{later}, Applied: []chat.AppliedRow{{Stream: earlier, Seq: 5}}}
	r.settle(r.step(from("us", lives)))
	if len(r.core.Origins(r.now)) != 2 {
		t.Fatalf("the earlier life is over at 3 of 5: %+v", r.core.Origins(r.now))
	}
	tail := testMessage("us", 5, start+1, 5, "x")
	tail.Stream = earlier
	r.settle(r.step(from("us", Frame{Kind: FrameBatch, Stream: earlier, After: 3, UpTo: 5, Ops: []chat.Op{tail}})))
	r.settle(r.step(Tick{}))
	if list := r.core.Origins(r.now); len(list) != 1 || list[0].Stream != later {
		t.Fatalf("it is not over at its end: %+v", list)
	}
}
