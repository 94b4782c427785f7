package replication

import (
	"slices"
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
	r.step(PeerUp{Peer: usNode})
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
		r.step(PeerUp{Peer: usNode})
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

// A node that starts alone beside a shared store believes of it what is known there to be shown: the rest may have come too late, and is
// brought once more. What it shows then it notes there, once it has looked again whether another node had the same sends under other ids:
// who starts after both died does that with what is brought once more.
func TestBelievesWhatWasShown(t *testing.T) {
	late := chat.HLCFromTime(testStart.Add(-time.Second))
	r := newShared(t, Restored{
		Applied:  []chat.AppliedRow{{Stream: usStream, Seq: 9, Watermark: late}},
		HandedOn: []chat.PositionRow{{Stream: usStream, To: "eu", Seq: 7}},
	})
	r.step(PeerUp{Peer: usNode})
	if got := positions(append(r.open(), r.settle(r.step(Tick{}))...)); len(got) != 1 || got[0] != 7 {
		t.Fatalf("position %v, want 7", got)
	}
	if mark := r.core.peers["us"].applied(r.core.low(r.now), r.core.low(r.now)); mark >= late {
		t.Fatalf("the watermark %s is believed of what may not be shown", mark.Time())
	}
	var ops []chat.Op
	for seq := 8; seq <= 9; seq++ {
		op := testMessage("us", uint64(seq), chat.HLCFromTime(testStart)+chat.HLC(seq), seq, "x")
		op.To = []chat.Region{"eu"}
		ops = append(ops, op)
	}
	reviews := only[Review](r.settle(r.step(from("us", Frame{Kind: FrameBatch, Stream: usStream, After: 7, UpTo: 9, Ops: ops}))))
	noted := func() (rows []chat.PositionRow) {
		r.now = r.now.Add(positionsEvery)
		r.core.lease.renewedAt = r.now
		for _, w := range only[Write](r.settle(r.step(Tick{}))) {
			rows = append(rows, w.Batch.Positions...)
		}
		return rows
	}
	want := chat.PositionRow{Stream: usStream, To: "eu", Seq: 9}
	if got := noted(); len(reviews) != 1 || slices.Contains(got, want) {
		t.Fatalf("noted %+v before the review %+v", got, reviews)
	}
	r.settle(r.step(Reviewed{Review: reviews[0].ID, Sends: make([][]chat.RetryRow, len(reviews[0].Sends))}))
	if got := noted(); !slices.Contains(got, want) {
		t.Fatalf("noted %+v, want %+v", got, want)
	}
}

// A node that starts tells other regions how far a lost one's stream is shown here, not how far it stands in the store: what a
// frozen node has written late must be handed on, and shown, once more. Before it knows it tells nothing.
func TestTellsWhatIsShown(t *testing.T) {
	r := newShared(t, Restored{Applied: []chat.AppliedRow{{Stream: usStream, Seq: 9}}})
	r.core.cfg.ForwardAfter = 10 * time.Second
	r.core.lease.joinAt = r.now.Add(time.Second)
	r.step(PeerUp{Peer: chat.NodeRef{Region: "in", Node: "n1"}})
	r.tell(7, chat.HLCFromTime(r.now), 0)
	told := func() (list []uint64) {
		for _, s := range only[Send](r.settle(r.step(Tick{}))) {
			if f := s.Frame; f.Kind == FrameHave && f.Stream.Region == "us" && len(f.Applied) == 1 {
				list = append(list, f.Applied[0].Seq)
			}
		}
		return list
	}
	if early := told(); len(early) != 0 {
		t.Errorf("told %v before the node takes part", early)
	}
	r.now = r.now.Add(time.Second)
	if got := told(); len(got) != 1 || got[0] != 7 {
		t.Errorf("told %v, want 7", got)
	}
}

// The other regions are told of a new life of this region when the store names it, also where that life told its marks before.
func TestTellsOfANewLife(t *testing.T) {
	r := newShared(t, Restored{})
	r.step(PeerUp{Peer: usNode})
	r.tell(1, chat.HLCFromTime(r.now), 0)
	life := chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}
	outs := r.step(Renewed{Nodes: []chat.NodeRow{{Stream: r.core.stream}, {Stream: life}}})
	for _, s := range only[Send](outs) {
		if s.Peer == usNode && s.Frame.Kind == FrameLives && slices.Contains(s.Frame.Lives, life) {
			return
		}
	}
	t.Fatalf("us is not told of %v: %+v", life, outs)
}

// looksForLate lets the search for late rows of a life run, which finds one; outs are what came before.
func (r *rig) looksForLate(outs []Output, life chat.NodeRow, late chat.Op) (more []Output) {
	for range 3 {
		r.now = r.now.Add(lateEvery / 2)
		more = append(more, r.settle(r.step(Renewed{Nodes: []chat.NodeRow{{Stream: r.core.stream}, life}}))...)
	}
	for _, read := range only[ReadLog](slices.Concat(outs, more)) {
		if read.Stream == life.Stream && read.To == "" {
			more = append(more, r.settle(r.step(LogRead{Stream: read.Stream, After: read.After, UpTo: read.UpTo, Ops: []chat.Op{late}}))...)
		}
	}
	return more
}

// What reached the op log of a frozen life after the first adopter had told its end is logged anew by the next one, too.
func TestLateRowAfterAnotherAdopter(t *testing.T) {
	life := chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}
	late := testMessage("eu", 3, chat.HLCFromTime(testStart.Add(-4*time.Second)), 1, "x")
	late.Stream, late.To = life, []chat.Region{"us"}
	row := chat.NodeRow{Stream: life, Until: chat.HLCFromTime(testStart.Add(-3 * time.Second)), Low: late.Logged - 1, LastSeq: 4}
	for by, want := range map[chat.NodeID]int{"n3": 1, "": 0} {
		row.AdoptedBy = by
		r := newShared(t, Restored{Lives: []chat.NodeRow{row}})
		now := row
		now.AdoptedBy = "n1"
		outs := r.settle(r.step(Adopted{Life: life, Row: now, Positions: map[chat.Region]uint64{"us": 4}, Tail: []chat.Op{late}}))
		outs = append(outs, r.looksForLate(outs, now, late)...)
		if logged := r.loggedAnew(outs, late.ID); logged != want {
			t.Errorf("adopted from %q: logged anew %d times, want %d", by, logged, want)
		}
	}
}

// So is what came late where the store knows less of what the first adopter has relayed than the receiver does.
func TestLateRowBeyondWhatTheStoreKnows(t *testing.T) {
	life := chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}
	late := testMessage("eu", 3, chat.HLCFromTime(testStart.Add(-4*time.Second)), 1, "x")
	late.Stream, late.To = life, []chat.Region{"us"}
	row := chat.NodeRow{Stream: life, Until: chat.HLCFromTime(testStart.Add(-3 * time.Second)), Low: late.Logged - 1, LastSeq: 4, AdoptedBy: "n3"}
	for stated, want := range map[uint64]int{2: 0, 4: 1} {
		r := newShared(t, Restored{Lives: []chat.NodeRow{row}})
		r.step(PeerUp{Peer: usNode})
		now := row
		now.AdoptedBy = "n1"
		outs := r.settle(r.step(Adopted{Life: life, Row: now, Positions: map[chat.Region]uint64{"us": 1}, Tail: []chat.Op{late}}))
		outs = append(outs, r.step(Received{Peer: usNode, Frame: Frame{Kind: FramePosition, Stream: life, UpTo: stated}})...)
		outs = append(outs, r.looksForLate(outs, now, late)...)
		if logged := r.loggedAnew(outs, late.ID); logged != want {
			t.Errorf("at position %d: logged anew %d times, want %d", stated, logged, want)
		}
	}
}

// What this node has written and not looked at again for other ids of the same sends stands after the mark that its lease leaves: whoever
// adopts this life does it.
func TestAdopterReviewsWhatWasNot(t *testing.T) {
	r := newShared(t, Restored{})
	outs := r.settle(r.step(r.submit(1, testMessage("", 0, 0, 1, "x"), 0)))
	reviews := only[Review](outs)
	if len(reviews) != 1 {
		t.Fatalf("reviews %+v", reviews)
	}
	var op chat.Op
	for _, w := range only[Write](outs) {
		for _, row := range w.Batch.Log {
			op = row.Op
		}
	}
	logged := op.Logged
	left := func() chat.HLC {
		r.now = r.now.Add(r.core.cfg.Lease / 2)
		renews := only[Renew](r.settle(r.step(Tick{})))
		if len(renews) != 1 {
			t.Fatalf("renews %+v", renews)
		}
		r.step(r.renewed())
		return renews[0].Low
	}
	left() // what is shown is reserved by now
	if low := left(); low >= logged {
		t.Errorf("the mark %d covers an op of %d that is not reviewed", low, logged)
	}
	op.ID = chat.NewMessageID(op.Time-1, op.Author.ID, op.Client)
	aliases := only[Write](r.step(Reviewed{Review: reviews[0].ID, Sends: [][]chat.RetryRow{{retryRow(&op)}}}))
	if low := left(); len(aliases) != 1 || low >= logged {
		t.Errorf("the mark %d covers an op of %d that becomes an alias: %+v", low, logged, aliases)
	}
	r.settle(r.step(Written{Write: aliases[0].ID}))
	if low := left(); low < logged {
		t.Errorf("the mark %d does not cover an op of %d that is reviewed", low, logged)
	}
}

// What this node wrote and reviewed just before another died is reviewed once more: the dead may have written the same sends at the same
// time, and not have lived to look.
func TestReviewsAgainAfterADeath(t *testing.T) {
	r := newShared(t, Restored{})
	reviews := only[Review](r.settle(r.step(r.submit(1, testMessage("", 0, 0, 1, "x"), 0))))
	if len(reviews) != 1 {
		t.Fatalf("reviews %+v", reviews)
	}
	r.settle(r.step(Reviewed{Review: reviews[0].ID, Sends: make([][]chat.RetryRow, 1)}))
	dead := chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}
	outs := r.settle(r.step(Adopted{Life: dead, Row: chat.NodeRow{Stream: dead, Until: chat.HLCFromTime(testStart), AdoptedBy: "n1"}}))
	if again := only[Review](outs); len(again) != 1 || !slices.Equal(again[0].Sends, reviews[0].Sends) {
		t.Fatalf("after the death %+v are reviewed, want %+v", again, reviews)
	}
}

// A send that is repeated at another node is brought in that node's op log too, under its id, so that it leaves the region before
// what its author sends next; not when another region of the zone has it.
func TestRepeatAtAnotherNode(t *testing.T) {
	for acked, want := range map[uint64]int{0: 1, 7: 0} {
		r := newShared(t, Restored{})
		n2 := chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}
		op := testMessage("", 0, chat.HLCFromTime(testStart.Add(-time.Second)), 1, "x")
		row := retryRow(&op)
		row.Stream, row.Seq = n2, 7
		r.step(Received{Peer: chat.NodeRef{Region: "eu", Node: "n2"}, Frame: Frame{
			Kind: FrameMarks, Stream: n2, Low: 1, Positions: []chat.PositionRow{{Stream: n2, To: "us", Seq: acked}},
		}})
		in := r.submit(1, op, 0)
		in.Known = []chat.RetryRow{row}
		outs := r.step(in)
		if logged := r.loggedAnew(outs, op.ID); logged != want {
			t.Errorf("acknowledged up to %d: logged anew %d times, want %d", acked, logged, want)
		}
	}
}

// loggedAnew counts the entries of an op in the own op log.
func (r *rig) loggedAnew(outs []Output, id chat.MessageID) (n int) {
	for _, w := range only[Write](outs) {
		for i := range w.Batch.Log {
			if op := &w.Batch.Log[i].Op; op.Stream == r.core.stream && op.ID == id {
				n++
			}
		}
	}
	return n
}

// A life is adopted only if its lease ended as long ago as its node's clock may be behind: it may have been renewed since it was read.
func TestAdoptsByTheWait(t *testing.T) {
	r := newShared(t, Restored{})
	life := chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}
	for by, want := range map[time.Duration]int{-time.Millisecond: 1, time.Millisecond: 0} {
		until := chat.HLCFromTime(r.now.Add(by - r.core.cfg.AdoptWait))
		adopts := only[Adopt](r.step(r.renewed(chat.NodeRow{Stream: r.core.stream}, chat.NodeRow{Stream: life, Until: until})))
		if len(adopts) != want {
			t.Fatalf("%d adoptions, want %d", len(adopts), want)
		}
		for _, a := range adopts {
			if a.Life != life || a.Before != chat.HLCFromTime(r.now.Add(-r.core.cfg.AdoptWait)) {
				t.Fatalf("%+v", a)
			}
		}
		r.core.siblings[life].adopting = false
	}
}
