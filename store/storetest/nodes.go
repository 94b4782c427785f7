package storetest

import (
	"slices"
	"testing"

	"meridian/chat"
)

func life(node chat.NodeID, inc chat.Incarnation) chat.StreamID {
	return chat.StreamID{Region: "eu-west", Node: node, Incarnation: inc}
}

// ownRow is an op of a life's own log.
func ownRow(of chat.StreamID, n int, seq uint64, to ...chat.Region) chat.LogRow {
	row := logRow(n, seq, to...)
	row.Op.Stream = of
	return row
}

// two opens a place and gives its first node's handle, n1, and another's, n2.
func two(t testing.TB, p Place) (first, second chat.Store) {
	t.Helper()
	first = openStore(t, p)
	second = got[chat.Store](t)(p.OpenNode("n2"))
	t.Cleanup(func() { _ = second.Close() })
	return first, second
}

// Two nodes share all rows and keep their own lives: what one commits the other reads; each has its own high-water mark and
// sequence; a node that comes later starts above what the first has reserved; all of it is there after opening again.
func testSharing(t *testing.T, f Factory) {
	p := f(t, DefaultConfig())
	s := openStore(t, p)
	must(t, Commit(s, &chat.Batch{HighWater: at(100)}))
	other := got[chat.Store](t)(p.OpenNode("n2"))
	id := got[chat.Identity](t)
	same(t, "the second node", id(other.Identity(ctx)), chat.Identity{Region: "eu-west", Node: "n2", Incarnation: 1, HighWater: at(100)})
	must(t, Commit(s, sendBatch(1)))
	same(t, "the first node's send, read by the second", got[int](t)(sendStored(other, 1)), sendRows)
	must(t, Commit(other, &chat.Batch{Log: []chat.LogRow{ownRow(life("n2", 1), 200, 7), ownRow(life("n1", 1), 300, 2)}}))
	must(t, Commit(s, &chat.Batch{Log: []chat.LogRow{ownRow(life("n1", 1), 120, 3)}}))
	check := func(s, other chat.Store) {
		t.Helper()
		same(t, "the first", id(s.Identity(ctx)), chat.Identity{Region: "eu-west", Node: "n1", Incarnation: 1, HighWater: at(120), LastSeq: 3})
		same(t, "the second", id(other.Identity(ctx)), chat.Identity{Region: "eu-west", Node: "n2", Incarnation: 1, HighWater: at(200), LastSeq: 7})
	}
	check(s, other)
	must(t, other.Close())
	wantCode(t, Commit(other, sendBatch(2)), chat.CodeRegionDegraded)
	must(t, Commit(s, sendBatch(2)))
	must(t, s.Close())
	s, other = two(t, p)
	check(s, other)
	must(t, Commit(s, &chat.Batch{Inbox: []chat.InboxRow{{Owner: user(1), Arrival: at(500), Op: message(3)}}}))
	begun := id(other.NewIncarnation(ctx, 0))
	same(t, "the second's new life", begun, chat.Identity{Region: "eu-west", Node: "n2", Incarnation: 2, HighWater: at(500)})
	same(t, "the first all the same", id(s.Identity(ctx)).HighWater, at(500))
}

// A lease keeps others from adopting a life while it runs, to the very end; an adopted life's lease is over for good; who
// adopts may ask again, another only when the adopter's own lease has ended.
func testLeases(t *testing.T, f Factory) {
	p := f(t, DefaultConfig())
	s, other := two(t, p)
	third := got[chat.Store](t)(p.OpenNode("n3"))
	defer third.Close()
	must(t, Commit(s, &chat.Batch{Log: []chat.LogRow{ownRow(life("n1", 1), 10, 4, "us-east")}, HighWater: at(30)}))
	must(t, s.Renew(ctx, at(100), at(20)))
	must(t, s.Renew(ctx, at(90), at(15))) // late on the way
	adopt := func(s chat.Store, now int) chat.NodeRow {
		t.Helper()
		return got[chat.NodeRow](t)(s.Adopt(ctx, life("n1", 1), at(now)))
	}
	refused := func(s chat.Store, now int) {
		t.Helper()
		_, err := s.Adopt(ctx, life("n1", 1), at(now))
		wantCode(t, err, chat.CodeVersionConflict)
	}
	refused(other, 50)
	refused(other, 100)
	refused(s, 200) // its own
	want := chat.NodeRow{Stream: life("n1", 1), Until: at(100), Low: at(20), HighWater: at(30), LastSeq: 4, AdoptedBy: "n2"}
	must(t, other.Renew(ctx, at(300), at(150)))
	same(t, "the adopted life", adopt(other, 101), want)
	same(t, "asked again", adopt(other, 102), want)
	refused(third, 300)
	wantCode(t, s.Renew(ctx, at(500), at(400)), chat.CodeVersionConflict)
	want.AdoptedBy = "n3"
	same(t, "adopted from an adopter that is gone", adopt(third, 301), want)
	refusedNow := at(301)
	must(t, third.Renew(ctx, at(900), at(300)))
	_, err := other.Adopt(ctx, life("n1", 1), refusedNow)
	wantCode(t, err, chat.CodeVersionConflict)
	_, err = other.Adopt(ctx, life("n9", 1), at(900))
	wantCode(t, err, chat.CodeInvalid)

	begun := got[chat.Identity](t)(s.NewIncarnation(ctx, 0))
	same(t, "the life after", begun.Incarnation, chat.Incarnation(2))
	if begun.HighWater < at(30) || begun.LastSeq != 0 {
		t.Fatalf("it starts at %+v", begun)
	}
	must(t, s.Renew(ctx, at(600), at(500)))
	nodes := got[[]chat.NodeRow](t)(other.Nodes(ctx))
	same(t, "the lives", nodes, []chat.NodeRow{
		want,
		{Stream: life("n1", 2), Until: at(600), Low: at(500), HighWater: begun.HighWater},
		{Stream: life("n2", 1), Until: at(300), Low: at(150)},
		{Stream: life("n3", 1), Until: at(900), Low: at(300), HighWater: nodes[3].HighWater},
	})
}

// A lease that is given up ends at once, and the life can be adopted.
func testLeaseGivenUp(t *testing.T, f Factory) {
	s, other := two(t, f(t, DefaultConfig()))
	must(t, s.Renew(ctx, at(100), at(20)))
	_, err := other.Adopt(ctx, life("n1", 1), at(50))
	wantCode(t, err, chat.CodeVersionConflict)
	must(t, s.Renew(ctx, chat.LeaseGivenUp, at(30)))
	row := got[chat.NodeRow](t)(other.Adopt(ctx, life("n1", 1), at(50)))
	same(t, "its low mark", row.Low, at(30))
}

// Lives, leases and adoptions are durable on return.
func testLeasesSurvive(t *testing.T, f Factory) {
	p := f(t, DefaultConfig())
	s, other := two(t, p)
	must(t, s.Renew(ctx, at(100), at(20)))
	must(t, other.Renew(ctx, at(900), at(30)))
	got[chat.NodeRow](t)(other.Adopt(ctx, life("n1", 1), at(101)))
	before := got[[]chat.NodeRow](t)(other.Nodes(ctx))
	p.Crash()
	s, _ = two(t, p)
	same(t, "the lives", got[[]chat.NodeRow](t)(s.Nodes(ctx)), before)
	wantCode(t, s.Renew(ctx, at(500), at(400)), chat.CodeVersionConflict)
	same(t, "the new life", got[chat.Identity](t)(s.NewIncarnation(ctx, 0)).Incarnation, chat.Incarnation(2))
	p.Crash()
	s, _ = two(t, p)
	same(t, "the new life after a crash", got[chat.Identity](t)(s.Identity(ctx)).Incarnation, chat.Incarnation(2))
	must(t, s.Renew(ctx, at(500), at(400)))
}

// What cannot be applied yet is kept whole, by stream and sequence, until it is removed; it moves no high-water mark.
func testParked(t *testing.T, f Factory) {
	p := f(t, DefaultConfig())
	s := openStore(t, p)
	foreign := chat.StreamID{Region: "us-east", Node: "n1", Incarnation: 1}
	parked := func(n int, seq uint64) chat.ParkedRow {
		row := ownRow(foreign, n, seq, "eu-west")
		row.Op.Kind, row.Op.Unknown = 99, nil
		return chat.ParkedRow{Op: row.Op, Reason: chat.CodeClockSkew}
	}
	rows := []chat.ParkedRow{parked(1000, 2), parked(1001, 2), parked(900, 3), parked(2000, 700)}
	for _, row := range slices.Backward(rows) {
		must(t, Commit(s, &chat.Batch{Parked: []chat.ParkedRow{row}}))
		must(t, Commit(s, &chat.Batch{Parked: []chat.ParkedRow{row}}))
	}
	read := got[[]chat.ParkedRow](t)
	same(t, "what is parked", read(s.Parked(ctx)), rows)
	same(t, "the high-water mark", got[chat.Identity](t)(s.Identity(ctx)).HighWater, chat.HLC(0))
	must(t, Commit(s, &chat.Batch{Unparked: rows[1:3], Rows: chat.Rows{Messages: []chat.MessageRow{messageRow(1, 1, 1)}}}))
	must(t, Commit(s, &chat.Batch{Unparked: rows[1:3]}))
	must(t, s.Close())
	s = openStore(t, p)
	same(t, "what is left", read(s.Parked(ctx)), []chat.ParkedRow{rows[0], rows[3]})
}

// Ops of foreign streams are kept, listed and read like own ones; they belong to no life.
func testForeignLogs(t *testing.T, f Factory) {
	p := f(t, DefaultConfig())
	s, _ := two(t, p)
	east, south := chat.StreamID{Region: "us-east", Node: "n1", Incarnation: 3}, chat.StreamID{Region: "ap-south", Node: "n10", Incarnation: 1}
	var ops []chat.Op
	for n := 1; n <= 5; n++ {
		row := ownRow(east, 1000+n, uint64(10*n), "eu-west", "in-west")
		row.Op.Logged = at(2000 + n)
		ops = append(ops, row.Op)
		must(t, Commit(s, &chat.Batch{Log: []chat.LogRow{row, ownRow(south, n, uint64(n)), ownRow(life("n1", 1), n, uint64(n))}}))
	}
	read := got[[]chat.Op](t)
	same(t, "a foreign log", read(s.ReadLog(ctx, east, 0, ^uint64(0), "", 100)), ops)
	same(t, "a part of it", read(s.ReadLog(ctx, east, 10, 40, "in-west", 2)), ops[1:3])
	same(t, "the streams", got[[]chat.StreamEnd](t)(s.Streams(ctx)), []chat.StreamEnd{{Stream: south, Seq: 5}, {Stream: life("n1", 1), Seq: 5}, {Stream: east, Seq: 50}})
	same(t, "the identity", got[chat.Identity](t)(s.Identity(ctx)), chat.Identity{Region: "eu-west", Node: "n1", Incarnation: 1, HighWater: at(5), LastSeq: 5})
	same(t, "the lives", len(got[[]chat.NodeRow](t)(s.Nodes(ctx))), 2)
}

// Foreign ops go like one's own, when they are old and every other destination is known to have them; so do old lives'; what entered a stream
// late is as old as its entry. A life that was adopted and whose log is gone is no longer told of, and its sequence is not given again.
func testSweepLogs(t *testing.T, f Factory) {
	cfg := DefaultConfig()
	cfg.Retention = Retention{OpLog: 14 * day}
	p := f(t, cfg)
	s, other := two(t, p)
	foreign := chat.StreamID{Region: "us-east", Node: "n1", Incarnation: 1}
	late := ownRow(life("n2", 1), 3, 1)
	late.Op.Logged = epoch.Add(20 * day)
	must(t, Commit(s, &chat.Batch{Log: []chat.LogRow{ownRow(foreign, 1, 1, "eu-west", "ap-south"), ownRow(life("n1", 1), 2, 9, "us-east"), late}}))
	got[chat.Identity](t)(s.NewIncarnation(ctx, 0))
	sweep := func(now chat.HLC) (left []chat.StreamEnd) {
		got[int](t)(other.Sweep(ctx, now))
		return got[[]chat.StreamEnd](t)(s.Streams(ctx))
	}
	same(t, "while all is young", len(sweep(epoch.Add(13*day))), 3)
	same(t, "what nobody is known to have", len(sweep(epoch.Add(21*day))), 3)
	must(t, Commit(other, &chat.Batch{Positions: []chat.PositionRow{{Stream: foreign, To: "ap-south", Seq: 1}}}))
	same(t, "after three weeks", sweep(epoch.Add(21*day)), []chat.StreamEnd{{Stream: life("n1", 1), Seq: 9}, {Stream: life("n2", 1), Seq: 1}})
	same(t, "the lives", len(got[[]chat.NodeRow](t)(s.Nodes(ctx))), 3)
	must(t, Commit(other, &chat.Batch{Positions: []chat.PositionRow{{Stream: life("n1", 1), To: "us-east", Seq: 9}}}))
	same(t, "when its destination has it", sweep(epoch.Add(21*day)), []chat.StreamEnd{{Stream: life("n2", 1), Seq: 1}})
	same(t, "the lives that are left", len(got[[]chat.NodeRow](t)(s.Nodes(ctx))), 3)
	got[chat.NodeRow](t)(other.Adopt(ctx, life("n1", 1), epoch.Add(21*day)))
	same(t, "the lives once somebody has adopted the one without a log", len(got[[]chat.NodeRow](t)(s.Nodes(ctx))), 2)
	same(t, "after two months", sweep(epoch.Add(60*day)), []chat.StreamEnd{})
	same(t, "the second node's last sequence", got[chat.Identity](t)(other.Identity(ctx)).LastSeq, uint64(1))
}
