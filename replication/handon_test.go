package replication

import (
	"testing"
	"time"

	"meridian/chat"
)

func from(region chat.Region, f Frame) Received {
	return Received{Peer: chat.NodeRef{Region: region, Node: "n1"}, Frame: f, Known: map[int][]chat.RetryRow{}}
}

// What a region has received for others too is handed on, once, to one that does not hear the origin; what is the
// recipient's own is not kept at all.
func TestHandOn(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	r.step(PeerUp{Peer: chat.NodeRef{Region: "in", Node: "n1"}})
	op := testMessage("us", 1, chat.HLCFromTime(testStart), 1, "x")
	op.To = []chat.Region{"eu", "in"}
	alone := testMessage("us", 2, op.Time+1, 2, "y")
	alone.To = []chat.Region{"eu"}
	w := only[Write](r.settle(r.step(from("us", Frame{Kind: FrameBatch, Stream: op.Stream, UpTo: 2, Ops: []chat.Op{op, alone}}))))
	if len(w) != 1 || len(w[0].Batch.Log) != 1 || w[0].Batch.Log[0].Op.ID != op.ID || w[0].Batch.Log[0].Op.Stream != op.Stream {
		t.Fatalf("kept %+v", w)
	}
	have := from("in", Frame{Kind: FrameHave, Stream: chat.StreamID{Region: "us"}})
	reads := only[ReadLog](r.step(have))
	if len(reads) != 1 || reads[0].Stream != op.Stream || reads[0].To != "in" || reads[0].After != 0 {
		t.Fatalf("read %+v", reads)
	}
	reviews := only[Review](r.step(LogRead{Stream: op.Stream, To: "in", UpTo: 1, Ops: []chat.Op{op}}))
	if len(reviews) != 1 {
		t.Fatalf("reviews %+v", reviews)
	}
	outs := r.settle(r.step(Reviewed{Review: reviews[0].ID, Sends: [][]chat.RetryRow{{retryRow(&op)}}}))
	w = only[Write](outs)
	if len(w) == 0 || len(w[0].Batch.Log) != 1 || len(w[0].Batch.Retries) != 0 {
		t.Fatalf("logged anew %+v", w)
	}
	if got := w[0].Batch.Log[0].Op; got.ID != op.ID || got.Stream.Region != "eu" || len(got.To) != 1 || got.To[0] != "in" || got.Logged <= op.Logged {
		t.Fatalf("logged anew %+v", got)
	}
	if reads = only[ReadLog](r.step(have)); len(reads) != 1 || reads[0].After != 1 {
		t.Fatalf("read again %+v", reads)
	}
}

// What this region's store will not take is handed on all the same: an op that was parked is kept for others before it is known
// that it will be refused here.
func TestHandsOnWhatIsRefusedHere(t *testing.T) {
	r := newRig(t, "eu", Restored{Applied: []chat.AppliedRow{{Stream: usStream, Seq: 1}}})
	r.step(PeerUp{Peer: chat.NodeRef{Region: "in", Node: "n1"}})
	op := testMessage("us", 1, chat.HLCFromTime(testStart), 1, "x")
	op.To = []chat.Region{"eu", "in"}
	have := from("in", Frame{Kind: FrameHave, Stream: chat.StreamID{Region: "us"}})
	r.step(have)
	outs := r.step(LogRead{Stream: op.Stream, To: "in", UpTo: 1, Ops: []chat.Op{op}})
	outs = r.step(Reviewed{Review: only[Review](outs)[0].ID, Sends: make([][]chat.RetryRow, 1)})
	brought := false
	for i := 0; i < len(outs) && i < 20*buryTries; i++ {
		w, ok := outs[i].(Write)
		switch {
		case !ok:
		case len(w.Batch.Messages) > 0:
			outs = append(outs, r.step(Written{Write: w.ID, Err: &chat.Error{Code: chat.CodeInvalid}})...)
			r.now = r.now.Add(pause)
			outs = append(outs, r.step(Tick{})...)
		default:
			if log := w.Batch.Log; len(log) > 0 {
				brought = log[0].Op.ID == op.ID && log[0].Op.Stream.Region == "eu" && concerns(&log[0].Op, "in")
			}
			outs = append(outs, r.step(Written{Write: w.ID})...)
		}
	}
	if !brought {
		t.Fatal("an op that is refused here is not handed on")
	}
	if reads := only[ReadLog](r.step(have)); len(reads) != 1 || reads[0].After != 1 {
		t.Fatalf("read again %+v", reads)
	}
}

// What was received of a group is handed on also by a node that starts after a crash before its position was durable: the origin may
// be lost, and then nobody else brings it, or names its stream.
func TestHandOnAfterACutOffLook(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	op := groupMessage(chat.HLCFromTime(testStart), "world")
	op.To = []chat.Region{"eu", "in"}
	w := only[Write](r.step(from("us", Frame{Kind: FrameBatch, Stream: op.Stream, UpTo: 1, Watermark: op.Logged, Ops: []chat.Op{op}})))
	if len(w) != 1 || len(w[0].Batch.Log) != 1 {
		t.Fatalf("kept %+v", w)
	}
	applied := w[0].Batch.Applied
	if len(applied) != 1 || applied[0].Seq != 0 || applied[0].Watermark != 0 {
		t.Fatalf("stored as applied before the group was looked at: %+v", applied)
	}
	r = newRig(t, "eu", Restored{Applied: applied})
	r.step(PeerUp{Peer: chat.NodeRef{Region: "in", Node: "n1"}})
	reads := only[ReadLog](r.step(from("in", Frame{Kind: FrameHave, Stream: chat.StreamID{Region: "us"}})))
	if len(reads) != 1 || reads[0].Stream != op.Stream || reads[0].To != "in" || reads[0].After != 0 {
		t.Fatalf("read %+v", reads)
	}
}

// A region that does not hear another tells the rest how far it has its streams, again and again, and only then.
func TestTellHave(t *testing.T) {
	r := newRig(t, "eu", Restored{Applied: []chat.AppliedRow{{Stream: chat.StreamID{Region: "us", Node: "n1", Incarnation: 1}, Seq: 7}}})
	r.core.cfg.ForwardAfter = 10 * time.Second
	r.step(PeerUp{Peer: chat.NodeRef{Region: "in", Node: "n1"}})
	told := 0
	for range 24 {
		r.now = r.now.Add(500 * time.Millisecond)
		r.step(from("in", Frame{Kind: FrameBatch, Stream: chat.StreamID{Region: "in", Node: "n1", Incarnation: 1}}))
		for _, s := range only[Send](r.step(Tick{})) {
			if f := s.Frame; f.Kind == FrameHave && f.UpTo != haveHeard {
				told++
				if s.Peer.Region != "in" || f.Stream.Region != "us" || len(f.Applied) != 1 || f.Applied[0].Seq != 7 {
					t.Fatalf("told %+v", s)
				}
			}
		}
	}
	if told != 1 {
		t.Fatalf("told %d times in 12 s, want once", told)
	}
}

// A region tells now and then how far it has the streams of those that it hears too; who hears that hands nothing on, and
// remembers what need not be kept any more.
func TestTellHaveOfThoseHeard(t *testing.T) {
	us := chat.StreamID{Region: "us", Node: "n1", Incarnation: 1}
	r := newRig(t, "eu", Restored{Applied: []chat.AppliedRow{{Stream: us, Seq: 7}}})
	r.core.cfg.ForwardAfter = 10 * time.Second
	r.step(PeerUp{Peer: chat.NodeRef{Region: "in", Node: "n1"}})
	told := 0
	for range 150 {
		r.now = r.now.Add(time.Second)
		r.step(from("us", Frame{Kind: FrameBatch, Stream: us, After: 7, UpTo: 7}))
		for _, s := range only[Send](r.settle(r.step(Tick{}))) {
			if f := s.Frame; f.Kind == FrameHave && f.Stream.Region == "us" {
				told++
				if f.UpTo != haveHeard {
					t.Fatalf("asked for what a region has that is heard: %+v", f)
				}
			}
		}
	}
	if told != 3 {
		t.Fatalf("told %d times in 150 s, want at once and each minute", told)
	}
	r.core.keepAfter = r.now
	outs := r.step(from("in", Frame{Kind: FrameHave, Stream: chat.StreamID{Region: "us"}, UpTo: haveHeard, Applied: []chat.AppliedRow{{Stream: us, Seq: 5}}}))
	if reads := only[ReadLog](outs); len(reads) != 0 {
		t.Fatalf("hands on %+v", reads)
	}
	var rows []chat.PositionRow
	for _, w := range only[Write](r.settle(r.step(Tick{}))) {
		rows = append(rows, w.Batch.Positions...)
	}
	if len(rows) != 1 || rows[0] != (chat.PositionRow{Stream: us, To: "in", Seq: 5}) {
		t.Fatalf("remembered %+v", rows)
	}
}

// What the side of a mailbox brings is kept for the owners whom it serves; once the author's side has told of the same
// message it stands in every mailbox under the smallest id.
func TestMailboxSide(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	sender, reader := testOwner(7, "pair"), testOwner(8, "world")
	at := chat.HLCFromTime(testStart)
	early := testMessage("us", 1, at, 1, "x")
	early.Author, early.Owners = sender, []chat.Owner{sender, reader}
	early.Conversation = chat.DirectConversation(sender.ID, reader.ID)
	early.ID = chat.NewMessageID(early.Time, sender.ID, early.Client)
	early.Stream.Region, early.To = "in", []chat.Region{"eu"}
	w := only[Write](r.settle(r.step(from("in", Frame{Kind: FrameBatch, Stream: early.Stream, UpTo: 1, Ops: []chat.Op{early}}))))
	if len(w) != 1 || len(w[0].Batch.Messages) != 1 || w[0].Batch.Messages[0].Owner != reader.ID {
		t.Fatalf("written %+v", w[0].Batch)
	}
	known := w[0].Batch.Retries
	late := early
	late.Time, late.Logged = at+100, at+100
	late.ID = chat.NewMessageID(late.Time, sender.ID, late.Client)
	late.Stream.Region = "us"
	in := from("us", Frame{Kind: FrameBatch, Stream: late.Stream, UpTo: 1, Ops: []chat.Op{late}})
	in.Known[0] = known
	w = only[Write](r.settle(r.step(in)))
	copies, aliases := 0, 0
	for _, row := range w[0].Batch.Messages {
		switch {
		case row.ID == early.ID && row.AliasOf == chat.NoMessage:
			copies++
		case row.ID == late.ID && row.AliasOf == early.ID:
			aliases++
		}
	}
	if copies != 2 || aliases != 2 {
		t.Fatalf("%d copies and %d aliases of 2: %+v", copies, aliases, w[0].Batch.Messages)
	}
	// The client sends it again here, where only the mailbox's side has told of it.
	r = newRig(t, "eu", Restored{})
	send := r.submit(1, early, 0)
	send.Known = known
	w = only[Write](r.settle(r.step(send)))
	if len(w) == 0 || len(w[0].Batch.Log) != 1 || w[0].Batch.Log[0].Op.ID != early.ID || len(w[0].Batch.Messages) != 2 {
		t.Fatalf("completed %+v", w)
	}
}

// While a lost region is taken out of the configuration, node by node, those that count it no more are told of it by the others: that
// is nothing to be alarmed about.
func TestToldOfARegionThatIsTakenOut(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	f := Frame{Kind: FrameHave, Stream: chat.StreamID{Region: "gone"}, Applied: []chat.AppliedRow{{Stream: chat.StreamID{Region: "gone", Node: "n1", Incarnation: 1}, Seq: 3}}}
	if outs := r.step(from("us", f)); len(only[Alarm](outs)) != 0 || len(only[ReadLog](outs)) != 0 {
		t.Errorf("%+v", outs)
	}
}

// What a life that is over has brought here, and not to another region, is handed on though that one hears the origin: the origin may have
// been restored, and does not know of it any more.
func TestHandsOnOfALifeThatIsOver(t *testing.T) {
	r, earlier := starting(t, 5)
	later := earlier
	later.Incarnation++
	in := chat.NodeRef{Region: "in", Node: "n1"}
	r.step(PeerUp{Peer: in})
	have := Frame{Kind: FrameHave, Stream: chat.StreamID{Region: "us"}, UpTo: haveHeard, Applied: []chat.AppliedRow{{Stream: earlier, Seq: 3}}}
	reads := func() []ReadLog { return only[ReadLog](r.step(from("in", have))) }
	if got := reads(); len(got) != 0 {
		t.Fatalf("read %+v of a life that may go on", got)
	}
	r.settle(r.step(from("us", Frame{Kind: FrameLives, Stream: later, Lives: []chat.StreamID{later}})))
	if got := reads(); len(got) != 1 || got[0].Stream != earlier || got[0].After != 3 || got[0].To != "in" {
		t.Fatalf("read %+v, want what comes after 3", got)
	}
}

// An op log that every region has to its end is relayed no more; who has lost some of it with its store is brought that once more.
func TestRetiredOpLogIsBroughtAgain(t *testing.T) {
	life := chat.StreamID{Region: "eu", Node: "n1", Incarnation: 1}
	row := chat.NodeRow{Stream: life, LastSeq: 5}
	r := newRig(t, "eu", Restored{Identity: chat.Identity{Region: "eu", Node: "n1", Incarnation: 2}, Lives: []chat.NodeRow{row}})
	us := chat.NodeRef{Region: "us", Node: "n1"}
	r.step(PeerUp{Peer: us})
	adopt := func() []Output {
		asked := only[Adopt](r.step(Tick{}))
		if len(asked) != 1 || asked[0].Life != life {
			t.Fatalf("adopts %+v", asked)
		}
		positions := map[chat.Region]uint64{}
		for _, region := range r.core.order {
			positions[region] = 5
		}
		row.AdoptedBy = "n1"
		return r.step(Adopted{Life: life, Row: row, Positions: positions})
	}
	for _, s := range only[Send](adopt()) {
		if s.Frame.Kind == FrameOpen {
			t.Fatalf("everybody has it, and it is opened: %+v", s)
		}
		if ends := s.Frame.Applied; s.Peer == us && (len(ends) != 1 || ends[0].Stream != life || ends[0].Seq != 5) {
			t.Fatalf("its end is not told: %+v", s.Frame)
		}
	}
	r.step(Received{Peer: us, Frame: Frame{Kind: FramePosition, Stream: life, UpTo: 2}})
	opened := false
	for _, s := range only[Send](adopt()) {
		opened = opened || s.Peer == us && s.Frame.Kind == FrameOpen && s.Frame.Stream == life
	}
	if !opened {
		t.Fatal("it is not opened for who has lost some of it")
	}
	reads := only[ReadLog](r.step(Received{Peer: us, Frame: Frame{Kind: FramePosition, Stream: life, UpTo: 2}}))
	if len(reads) == 0 || reads[0].After != 2 {
		t.Fatalf("read %+v, want what comes after 2", reads)
	}
}
