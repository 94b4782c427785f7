package replication

import (
	"testing"
	"time"

	"meridian/chat"
)

// Of the lives of a node that are over, the latest eight are remembered, and whoever tells of no older ones is not taken to lack them.
func TestLivesThatAreOverAreForgotten(t *testing.T) {
	const lives = 3 * livesKept
	r := newRig(t, "eu", Restored{})
	life := func(n int) chat.StreamID {
		return chat.StreamID{Region: "us", Node: "n1", Incarnation: chat.Incarnation(n)}
	}
	r.step(PeerUp{Peer: usNode})
	for n := 1; n <= lives; n++ {
		r.settle(r.step(from("us", Frame{Kind: FrameLives, Stream: life(n), Lives: []chat.StreamID{life(n)}})))
		r.core.Marks(r.now)
		r.settle(r.step(Tick{}))
	}
	known := r.core.peers["us"].known()
	if len(known) != livesKept || known[0].id != life(lives-livesKept+1) || known[livesKept-1].id != life(lives) {
		t.Fatalf("%d lives are remembered, from %v", len(known), known[0].id)
	}
	told := map[chat.StreamID]bool{}
	for _, s := range known {
		told[s.id] = true
	}
	if !longOver(life(1), told) {
		t.Error("a life that is forgotten is taken for lacking")
	}
	delete(told, life(lives-3))
	told[life(1)] = true
	if longOver(life(lives-3), told) {
		t.Error("a life that is lacking is taken for forgotten")
	}
}

// However many lives a node left behind that another region has not heard of, one frame tells it of the latest and of as many as it takes;
// of the rest it learns the ends, and takes none for complete.
func TestManyLivesAreTold(t *testing.T) {
	const lives = 3 * maxLives
	var rows []chat.NodeRow
	for n := 1; n <= lives; n++ {
		rows = append(rows, chat.NodeRow{Stream: chat.StreamID{Region: "eu", Node: "n1", Incarnation: chat.Incarnation(n)}, LastSeq: 1, AdoptedBy: "n1"})
	}
	r := newRig(t, "eu", Restored{Identity: chat.Identity{Incarnation: lives + 1}, Lives: rows})
	told := map[chat.StreamID]bool{}
	for _, s := range only[Send](r.step(PeerUp{Peer: usNode})) {
		if s.Frame.Kind != FrameLives {
			continue
		}
		if n := len(s.Frame.Lives); n > maxLives || s.Frame.Lives[n-1] != r.core.Stream() {
			t.Fatalf("%d lives, the last %v", n, s.Frame.Lives[n-1])
		}
		for _, id := range s.Frame.Lives {
			told[id] = true
		}
		for _, end := range s.Frame.Applied {
			told[end.Stream] = end.Seq == 1
		}
	}
	for _, row := range rows {
		if !told[row.Stream] {
			t.Fatalf("nothing is told of %v", row.Stream)
		}
	}
}

// Of what the store has of the lives of a node, the latest eight count when a node starts: the others of its region, which have forgotten
// the older ones, do not tell of them, and they are not brought once more.
func TestOldLivesAreNotRestored(t *testing.T) {
	var rows []chat.AppliedRow
	var shown []chat.PositionRow
	for n := 1; n <= 3*livesKept; n++ {
		life := chat.StreamID{Region: "us", Node: "n1", Incarnation: chat.Incarnation(n)}
		rows = append(rows, chat.AppliedRow{Stream: life, Seq: 9})
		shown = append(shown, chat.PositionRow{Stream: life, To: "eu", Seq: 9})
	}
	r := newShared(t, Restored{Applied: rows, HandedOn: shown})
	if known := r.core.peers["us"].known(); len(known) != livesKept || known[0].id != rows[2*livesKept].Stream {
		t.Fatalf("%d lives are restored, from %v", len(known), known[0].id)
	}
}

// An old life that is not kept in mind is taken up where the region shows it, when somebody relays its op log once more: whether the
// store knew of it when the node started, or the node has forgotten it since.
func TestOldLivesAreTakenUpWhereTheyWere(t *testing.T) {
	life := func(n int) chat.StreamID {
		return chat.StreamID{Region: "us", Node: "n1", Incarnation: chat.Incarnation(n)}
	}
	var rows []chat.AppliedRow
	var shown []chat.PositionRow
	for n := 1; n <= 3*livesKept; n++ {
		rows = append(rows, chat.AppliedRow{Stream: life(n), Seq: 9})
		shown = append(shown, chat.PositionRow{Stream: life(n), To: "eu", Seq: 7})
	}
	asks := func(r *rig, id chat.StreamID, want uint64) {
		t.Helper()
		r.step(from("us", Frame{Kind: FrameOpen, Stream: id}))
		if s := r.core.peers["us"].inbound(id); s.durable != want {
			t.Errorf("life %d is asked for from %d, want %d", id.Incarnation, s.durable, want)
		}
	}
	alone := newRig(t, "eu", Restored{Applied: rows, HandedOn: shown[:0]})
	alone.step(PeerUp{Peer: usNode})
	asks(alone, life(1), 9)
	shared := newShared(t, Restored{Applied: rows, HandedOn: shown})
	shared.step(PeerUp{Peer: usNode})
	asks(shared, life(1), 7) // what is stored and not known to be shown comes once more

	forgetting := newRig(t, "eu", Restored{Applied: rows[:1]})
	forgetting.step(PeerUp{Peer: usNode})
	for n := 2; n <= 3*livesKept; n++ {
		forgetting.settle(forgetting.step(from("us", Frame{Kind: FrameLives, Stream: life(n), Lives: []chat.StreamID{life(n)}})))
		forgetting.core.Marks(forgetting.now)
		forgetting.settle(forgetting.step(Tick{}))
	}
	if forgetting.core.peers["us"].streams[life(1)] != nil {
		t.Fatal("the first life is not forgotten")
	}
	asks(forgetting, life(1), 9)
}

// Each restart of a region adopts the op logs that it still keeps: one that was relayed and shown to its end is noted as such, and whoever
// adopts it next shows nothing of it again.
func TestWhatWasShownToItsEndIsNotShownAgain(t *testing.T) {
	life := chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}
	last := testMessage("eu", 4, chat.HLCFromTime(testStart.Add(-10*time.Minute)), 1, "x")
	last.Stream, last.To = life, []chat.Region{"us"}
	row := chat.NodeRow{Stream: life, Until: chat.HLCFromTime(testStart.Add(-9 * time.Minute)), Low: last.Logged - 1, LastSeq: 4, AdoptedBy: "n3"}
	adopt := func(positions map[chat.Region]uint64) (r *rig, outs []Output) {
		r = newShared(t, Restored{Lives: []chat.NodeRow{row}})
		for _, peer := range []chat.Region{"us", "in"} {
			r.step(PeerUp{Peer: chat.NodeRef{Region: peer, Node: "n1"}})
		}
		now := row
		now.AdoptedBy = "n1"
		return r, r.settle(r.step(Adopted{Life: life, Row: now, Positions: positions, Tail: []chat.Op{last}}))
	}
	positions := func(outs []Output, into map[chat.Region]uint64) {
		for _, w := range only[Write](outs) {
			for _, p := range w.Batch.Positions {
				if p.Stream == life {
					into[p.To] = p.Seq
				}
			}
		}
	}
	shows := func(outs []Output) (n int) {
		for _, w := range only[Write](outs) {
			n += len(w.Batch.Inbox)
		}
		return n
	}
	stored := map[chat.Region]uint64{"us": 4, "in": 4}
	r, outs := adopt(stored)
	if shows(outs) == 0 {
		t.Fatal("what the dead may have left half done is not shown")
	}
	for range int(2*lateFor/time.Second) + 10 {
		positions(outs, stored)
		r.now = r.now.Add(time.Second)
		var next []Output
		for _, review := range only[Review](outs) {
			next = append(next, r.step(Reviewed{Review: review.ID, Sends: make([][]chat.RetryRow, len(review.Sends))})...)
		}
		for _, read := range only[ReadLog](outs) {
			next = append(next, r.step(LogRead{Stream: read.Stream, After: read.After, UpTo: read.UpTo})...)
		}
		for _, peer := range []chat.Region{"us", "in"} {
			next = append(next, r.step(Received{Peer: chat.NodeRef{Region: peer, Node: "n1"}, Frame: Frame{Kind: FramePosition, Stream: life, UpTo: 4}})...)
		}
		next = append(next, r.step(Renewed{Until: r.core.lease.askedFor, Nodes: []chat.NodeRow{{Stream: r.core.stream}, row}})...)
		outs = r.settle(append(next, r.step(Tick{})...))
	}
	if stored["eu"] != 4 {
		t.Fatalf("it is not noted that the op log was shown to its end: %v", stored)
	}
	if _, outs = adopt(stored); shows(outs) != 0 {
		t.Errorf("%d entries are shown again", shows(outs))
	}
}
