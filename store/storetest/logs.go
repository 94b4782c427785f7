package storetest

import (
	"slices"
	"testing"
	"time"

	"meridian/chat"
)

// An op log is read by sequence and destination, whole ops, in pages.
func testLog(t *testing.T, f Factory) {
	s := fresh(t, f)
	var all, east []chat.Op
	for n := 1; n <= 40; n++ {
		to := [][]chat.Region{nil, {"us-east"}, {"ap-south", "us-east"}}[n%3]
		row := logRow(n, uint64(n), to...)
		all = append(all, row.Op)
		if slices.Contains(to, "us-east") {
			east = append(east, row.Op)
		}
		other := row
		other.Op.Stream.Incarnation = 2
		must(t, Commit(s, &chat.Batch{Log: []chat.LogRow{other, row}}))
	}
	read := got[[]chat.Op](t)
	same(t, "the whole log", read(s.ReadLog(ctx, stream(1), 0, ^uint64(0), "", 1000)), all)
	same(t, "a part", read(s.ReadLog(ctx, stream(1), 10, 20, "", 1000)), all[10:20])
	same(t, "a page", read(s.ReadLog(ctx, stream(1), 10, 20, "", 3)), all[10:13])
	same(t, "one region's ops", read(s.ReadLog(ctx, stream(1), 0, 40, "us-east", 1000)), east)
	same(t, "a page of them", read(s.ReadLog(ctx, stream(1), 0, 40, "us-east", 5)), east[:5])
	same(t, "an unknown region's ops", read(s.ReadLog(ctx, stream(1), 0, 40, "us", 1000)), []chat.Op{})
	same(t, "an unknown stream", read(s.ReadLog(ctx, stream(3), 0, 40, "", 1000)), []chat.Op{})
}

// Logs of more rows than a store reads, or writes, at a time are whole.
func testLongLogs(t *testing.T, f Factory) {
	s := fresh(t, f)
	const long = 1100
	var b chat.Batch
	var ops []chat.Op
	for n := 1; n <= long; n++ {
		row := logRow(n, uint64(n), "us-east")
		ops = append(ops, row.Op)
		b.Log = append(b.Log, row)
		b.Inbox = append(b.Inbox, chat.InboxRow{
			Owner: user(1), Arrival: at(n), Op: message(n), Kind: chat.InboxMessage, Conversation: conversation(1), Actor: user(n % 3), Ref: message(n),
		})
	}
	must(t, Commit(s, &b))
	same(t, "the op log", got[[]chat.Op](t)(s.ReadLog(ctx, stream(1), 0, ^uint64(0), "us-east", 2*long)), ops)
	same(t, "the inbox log", got[[]chat.InboxRow](t)(s.Inbox(ctx, user(1), 0, ^chat.HLC(0), 2*long)), b.Inbox)
}

// Positions, applied streams and dead letters: the larger sequence wins, also of watermarks at one sequence.
func testStreams(t *testing.T, f Factory) {
	s := fresh(t, f)
	for _, seq := range []uint64{5, 9, 7} {
		must(t, Commit(s, &chat.Batch{
			Positions: []chat.PositionRow{{Stream: stream(1), To: "us-east", Seq: seq}, {Stream: stream(1), To: "us", Seq: seq - 1}, {Stream: stream(2), To: "us", Seq: 1}},
			Applied:   []chat.AppliedRow{{Stream: stream(1), Seq: seq, Watermark: at(int(seq))}},
		}))
	}
	must(t, Commit(s, &chat.Batch{Applied: []chat.AppliedRow{{Stream: stream(1), Seq: 9, Watermark: at(12)}, {Stream: stream(2), Seq: 3, Watermark: at(1)}}}))
	must(t, Commit(s, &chat.Batch{Applied: []chat.AppliedRow{{Stream: stream(1), Seq: 9, Watermark: at(10)}}}))
	same(t, "the positions", got[map[chat.Region]uint64](t)(s.Positions(ctx, stream(1))), map[chat.Region]uint64{"us-east": 9, "us": 8})
	applied := got[[]chat.AppliedRow](t)(s.Applied(ctx))
	slices.SortFunc(applied, func(a, b chat.AppliedRow) int { return int(a.Stream.Incarnation) - int(b.Stream.Incarnation) })
	same(t, "what is applied", applied, []chat.AppliedRow{
		{Stream: stream(1), Seq: 9, Watermark: at(12)}, {Stream: stream(2), Seq: 3, Watermark: at(1)},
	})

	var dead []chat.DeadLetterRow
	for n := range 5 {
		row := chat.DeadLetterRow{Stream: stream(2), Seq: uint64(n + 1), Op: message(n), Reason: chat.CodeDenied, Detail: "why", At: at(10 - n)}
		dead = append(dead, row)
		must(t, Commit(s, &chat.Batch{DeadLetters: []chat.DeadLetterRow{row}}))
		must(t, Commit(s, &chat.Batch{DeadLetters: []chat.DeadLetterRow{row}}))
	}
	same(t, "the dead letters", got[[]chat.DeadLetterRow](t)(s.DeadLetters(ctx, 3)), dead[:3])
}

// What was refused of somebody's ops is found by the op, each once, whoever else was refused something; written again it stays
// as it is.
func testRefusals(t *testing.T, f Factory) {
	s := fresh(t, f)
	row := func(op, told int, region chat.Region) chat.RefusalRow {
		return chat.RefusalRow{Told: message(told), Refusal: chat.Refusal{
			Region: region, Stream: stream(1), Seq: uint64(op), Op: message(op), Author: chat.Owner{ID: user(1), Zone: "eu", Name: "ann"},
			Client: chat.ClientID{7}, Conversation: chat.ConversationID{8}, Code: chat.CodeDenied, Detail: "why",
		}}
	}
	rows := []chat.RefusalRow{row(1, 11, "us-east"), row(1, 12, "ap-south"), row(2, 13, "us-east"), row(3, 14, "us-east")}
	for _, i := range []int{3, 1, 0, 2, 1} {
		must(t, Commit(s, &chat.Batch{Refusals: rows[i : i+1]}))
	}
	read := got[[]chat.RefusalRow](t)
	same(t, "the refusals of two ops", read(s.Refusals(ctx, []chat.MessageID{message(2), message(1), message(2)})), rows[:3])
	same(t, "those of an op that nobody refused", read(s.Refusals(ctx, []chat.MessageID{message(4)})), []chat.RefusalRow{})
	same(t, "those of no op", read(s.Refusals(ctx, nil)), []chat.RefusalRow{})
}

// The identity is made at first open, its high-water mark lies at or above every time of its op log and of the inbox logs
// that it wrote, and a new incarnation starts its stream at 1.
func testIdentity(t *testing.T, f Factory) {
	p := f(t, DefaultConfig())
	s := openStore(t, p)
	id := got[chat.Identity](t)
	same(t, "the first identity", id(s.Identity(ctx)), chat.Identity{Region: "eu-west", Node: "n1", Incarnation: 1})
	must(t, Commit(s, &chat.Batch{HighWater: at(100)}))
	must(t, Commit(s, &chat.Batch{HighWater: at(50), Log: []chat.LogRow{logRow(1, 1), logRow(2, 2)}}))
	want := chat.Identity{Region: "eu-west", Node: "n1", Incarnation: 1, HighWater: at(100), LastSeq: 2}
	same(t, "the identity", id(s.Identity(ctx)), want)
	must(t, Commit(s, &chat.Batch{Inbox: []chat.InboxRow{{Owner: user(1), Arrival: at(500), Op: message(3)}}}))
	want.HighWater = at(500)
	same(t, "after a later time was stored", id(s.Identity(ctx)), want)
	must(t, s.Close())
	s = openStore(t, p)
	same(t, "after reopening", id(s.Identity(ctx)), want)
	want.Incarnation, want.LastSeq = 2, 0
	same(t, "the new incarnation", id(s.NewIncarnation(ctx, 0)), want)
	must(t, s.Close())
	s = openStore(t, p)
	same(t, "the new incarnation after reopening", id(s.Identity(ctx)), want)
	want.Incarnation = 1 << 50
	same(t, "an incarnation by the clock", id(s.NewIncarnation(ctx, 1<<50)), want)
	want.Incarnation++
	same(t, "the next by a clock that went back", id(s.NewIncarnation(ctx, 1<<49)), want)
}

const day = 24 * time.Hour

// Sweep drops what outlived its retention, an op only when every destination has it, and nothing else; sequence numbers
// are not given twice.
func testSweep(t *testing.T, f Factory) {
	cfg := DefaultConfig()
	cfg.Retention = Retention{Inbox: 30 * day, OpLog: 14 * day, Retries: 30 * day}
	p := f(t, cfg)
	s := openStore(t, p)
	const perDay = 86_400 * 1_000_000
	for d := range 40 {
		b := sendBatch(d*perDay + 1)
		b.Log = []chat.LogRow{logRow(d*perDay+1, uint64(d+1), "us-east")}
		must(t, Commit(s, b))
	}
	read := got[[]chat.Op](t)
	now := at(40 * perDay)
	dropped := got[int](t)(s.Sweep(ctx, now))
	if dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	same(t, "the op log that nobody has", len(read(s.ReadLog(ctx, stream(1), 0, 100, "", 100))), 40)
	floor := got[chat.HLC](t)(s.InboxFloor(ctx))
	if floor < now.Add(-32*day) || floor > now.Add(-30*day) {
		t.Fatalf("the floor is %v, now is %v", floor.Time(), now.Time())
	}
	for d := range 40 {
		n := d*perDay + 1
		in := got[[]chat.InboxRow](t)(s.Inbox(ctx, user(1), at(n)-1, at(n), 1))
		if (len(in) == 1) != (at(n) > floor) {
			t.Fatalf("day %d has %d inbox entries; the floor is %v", d, len(in), floor.Time())
		}
		retries := got[[]chat.RetryRow](t)(s.Retries(ctx, user(n%3), client(n)))
		if len(retries) == 0 && at(n) > now.Add(-30*day) {
			t.Fatalf("the retry row of day %d is gone", d)
		}
		if _, ok, err := s.Message(ctx, user(1), conversation(1), message(n)); !ok || err != nil {
			t.Fatalf("the message of day %d is gone: %v", d, err)
		}
	}
	position := func(seq uint64) {
		must(t, Commit(s, &chat.Batch{Positions: []chat.PositionRow{{Stream: stream(1), To: "us-east", Seq: seq}}}))
	}
	later := now.Add(400 * day)
	got[int](t)(s.Sweep(ctx, later))
	same(t, "old ops that nobody has", len(read(s.ReadLog(ctx, stream(1), 0, 100, "", 100))), 40)
	position(40)
	got[int](t)(s.Sweep(ctx, now))
	same(t, "ops younger than the retention", len(read(s.ReadLog(ctx, stream(1), 26, 100, "", 100))), 14)
	must(t, Commit(s, &chat.Batch{Log: []chat.LogRow{logRow(39*perDay+2, 41, "us-east")}}))
	got[int](t)(s.Sweep(ctx, later))
	same(t, "the old op that its destination does not have", len(read(s.ReadLog(ctx, stream(1), 40, 100, "", 100))), 1)
	position(41)
	got[int](t)(s.Sweep(ctx, later))
	same(t, "the op log after a year", read(s.ReadLog(ctx, stream(1), 0, 100, "", 100)), []chat.Op{})
	same(t, "the retry rows after a year", got[[]chat.RetryRow](t)(s.Retries(ctx, user((39*perDay+1)%3), client(39*perDay+1))), []chat.RetryRow{})
	must(t, s.Close())
	s = openStore(t, p)
	same(t, "the last sequence", got[chat.Identity](t)(s.Identity(ctx)).LastSeq, uint64(41))
	same(t, "a sweep with nothing to do", got[int](t)(s.Sweep(ctx, now.Add(400*day))), 0)
	must(t, Commit(s, &chat.Batch{Log: []chat.LogRow{logRow(42, 42, "us-east")}}))
	same(t, "the log goes on", len(read(s.ReadLog(ctx, stream(1), 0, 100, "", 100))), 1)
}
