package replication

import (
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/chat"
)

// budgetRig is a node of eu with a budget, whose peers are away.
func budgetRig(t *testing.T, budget int64, restored Restored) *rig {
	r := newRig(t, "eu", restored)
	r.core.cfg.OutboxBytes = budget
	r.settle(r.step(Tick{}))
	return r
}

// send submits the n-th message and gives what came of it at once, its writes done.
func (r *rig) send(n int) []Output {
	return r.settle(r.step(r.submit(uint64(n), numbered(n, strings.Repeat("x", 700)), 0)))
}

// numbered gives the n-th message; testMessage tells only some of them apart.
func numbered(n int, body string) chat.Op {
	op := testMessage("", 0, 0, 0, body)
	binary.BigEndian.PutUint64(op.Client[8:], uint64(n))
	return op
}

// outboxOf gives how the outbox to a region stands.
func (r *rig) outboxOf(region chat.Region) PeerStatus {
	list := r.core.Peers(r.now)
	return list[slices.IndexFunc(list, func(p PeerStatus) bool { return p.Region == region })]
}

// fill sends until the budget of a region is used up to ratio, each send after the wait that it is given.
func (r *rig) fill(first int, region chat.Region, ratio float64) (next int) {
	for n := first; ; n++ {
		if r.outboxOf(region).OutboxRatio >= ratio {
			return n
		}
		answers := only[Submitted](r.send(n))
		if len(answers) == 0 {
			r.now = r.now.Add(slowMost)
			answers = only[Submitted](r.settle(r.step(Tick{})))
		}
		if len(answers) != 1 || answers[0].Err != nil {
			r.t.Fatalf("send %d: %+v", n, answers)
		}
	}
}

// While a region is away, who writes to its people is answered later and later, in order, and then refused before anything is
// stored; who writes to others is not held up, and what takes something away is never refused. When the region is back, all goes on.
func TestOutboxBudget(t *testing.T) {
	r := budgetRig(t, 64<<10, Restored{})
	next := r.fill(1, "us", slowAt)
	if st := r.outboxOf("us"); st.Slowed != 0 || st.OutboxBytes < 40<<10 {
		t.Fatalf("below the first level: %+v", st)
	}
	next = r.fill(next, "us", 0.85)
	var alarms []Alarm
	for n := range 3 {
		if outs := r.send(next + n); len(outs) != 0 {
			t.Fatalf("a send at %.2f is not slowed: %+v", r.outboxOf("us").OutboxRatio, outs)
		}
	}
	var tokens []uint64
	for range 40 { // 2 s
		r.now = r.now.Add(50 * time.Millisecond)
		outs := r.settle(r.step(Tick{}))
		alarms = append(alarms, only[Alarm](outs)...)
		for _, s := range only[Submitted](outs) {
			tokens = append(tokens, s.Token)
		}
	}
	if want := []uint64{uint64(next), uint64(next + 1), uint64(next + 2)}; !slices.Equal(tokens, want) {
		t.Fatalf("answered %v, want %v", tokens, want)
	}
	next = r.fill(next+3, "us", refuseAt)
	outs := r.send(next)
	answers := only[Submitted](outs)
	if len(outs) != 1 || len(answers) != 1 || chat.CodeOf(answers[0].Err) != chat.CodeBusy || chat.AsError(answers[0].Err).RetryAfter != refusedDown {
		t.Fatalf("at the second level: %+v", outs)
	}
	alarms = append(alarms, only[Alarm](r.settle(r.step(Tick{})))...)
	if len(alarms) < 2 {
		t.Fatalf("alarms %+v", alarms)
	}
	local := testMessage("", 0, 0, next+1, "x")
	local.Owners = []chat.Owner{testOwner(5, "solo"), testOwner(6, "solo")}
	local.Author, local.Conversation = local.Owners[0], chat.DirectConversation(local.Owners[0].ID, local.Owners[1].ID)
	revoked := testMessage("", 0, 0, next+2, "")
	revoked.Kind, revoked.Owners, revoked.Session = chat.OpSession, revoked.Owners[:1], &chat.Session{User: revoked.Author.ID, Zone: "world", Revoked: true}
	for _, op := range []chat.Op{local, revoked} {
		if s := only[Submitted](r.settle(r.step(r.submit(900, op, 0)))); len(s) != 1 || s[0].Err != nil {
			t.Errorf("kind %d: %+v", op.Kind, s)
		}
	}
	if st := r.outboxOf("in"); st.Refused != 1 || st.Slowed < 3 { // of two that are as full the first is named
		t.Fatalf("counted: %+v", st)
	}
	r.acknowledge("us")
	if st := r.outboxOf("us"); st.OutboxBytes != 0 || st.Oldest != 0 {
		t.Fatalf("when the region has all: %+v", st)
	}
	r.acknowledge("in")
	if s := only[Submitted](r.send(next)); len(s) != 1 || s[0].Err != nil {
		t.Fatalf("the refused send again: %+v", s)
	}
}

// acknowledge has a region be linked and have all that there is.
func (r *rig) acknowledge(region chat.Region) {
	r.step(PeerUp{Peer: chat.NodeRef{Region: region, Node: "n1"}})
	r.settle(r.step(from(region, Frame{Kind: FramePosition, Stream: r.core.Stream(), UpTo: r.core.LastSeq()})))
}

// countReads gives the questions for ops that are counted.
func countReads(outs []Output) []ReadLog {
	return slices.DeleteFunc(only[ReadLog](outs), func(q ReadLog) bool { return !q.Count })
}

// What is owed is right after a restart: guessed at once, counted when the op log was read, and acknowledged like what came since.
func TestOutboxAfterRestart(t *testing.T) {
	r := budgetRig(t, 1<<20, Restored{})
	var log []chat.Op
	for n := range 700 {
		outs := r.send(n + 1)
		if len(only[Submitted](outs)) != 1 {
			t.Fatalf("send %d: %+v", n, outs)
		}
		for _, w := range only[Write](outs) {
			for _, row := range w.Batch.Log {
				log = append(log, row.Op)
			}
		}
	}
	was := r.outboxOf("us")
	life := chat.NodeRow{Stream: log[0].Stream, LastSeq: 700}
	again := newRig(t, "eu", Restored{Identity: chat.Identity{Incarnation: 2, HighWater: log[699].Time}, Lives: []chat.NodeRow{life}})
	again.settle(again.step(Tick{}))
	again.step(Adopted{Life: life.Stream, Row: life, Positions: map[chat.Region]uint64{"us": 10, "in": 650}})
	perOp := was.OutboxBytes / 700
	if got := again.outboxOf("us").OutboxBytes; got != 690*opBytesGuess {
		t.Fatalf("guessed %d for 690 ops", got)
	}
	pages := 0
	for reads := countReads(again.step(Tick{})); len(reads) > 0; pages++ {
		q := reads[0]
		page := slices.DeleteFunc(slices.Clone(log), func(op chat.Op) bool { return op.Seq <= q.After || op.Seq > q.UpTo })
		if len(page) > q.Limit {
			page = page[:q.Limit]
			q.UpTo = page[q.Limit-1].Seq
		}
		reads = countReads(again.step(LogRead{Stream: q.Stream, After: q.After, UpTo: q.UpTo, Count: q.Count, Ops: page}))
	}
	us, in := again.outboxOf("us"), again.outboxOf("in")
	if pages != 2 || us.OutboxBytes > was.OutboxBytes || us.OutboxBytes < 690*perOp*98/100 || in.OutboxBytes != 50*perOp {
		t.Fatalf("counted in %d pages: us %d, in %d; it was %d", pages, us.OutboxBytes, in.OutboxBytes, was.OutboxBytes)
	}
	if age := us.Oldest; age < 0 || again.core.oldestOwed(log[10].Logged.Time().Add(time.Hour), again.core.peers["us"]) != time.Hour {
		t.Fatalf("the oldest is %s old", age)
	}
	again.step(PeerUp{Peer: usNode})
	again.step(from("us", Frame{Kind: FramePosition, Stream: life.Stream, UpTo: 700}))
	if got := again.outboxOf("us").OutboxBytes; got != 0 {
		t.Fatalf("%d bytes are owed when all is acknowledged", got)
	}
}

// A write that fails owes nothing.
func TestOutboxOfFailedWrite(t *testing.T) {
	r := budgetRig(t, 1<<20, Restored{})
	w := only[Write](r.step(r.submit(1, testMessage("", 0, 0, 1, "x"), 0)))
	if r.outboxOf("us").OutboxBytes == 0 {
		t.Fatal("what is being written does not count")
	}
	r.step(Written{Write: w[0].ID, Err: &chat.Error{Code: chat.CodeStoreFull}})
	if st := r.outboxOf("us"); st.OutboxBytes != 0 || st.Oldest != 0 {
		t.Fatalf("after the failure: %+v", st)
	}
}

// What is owed for nearly as long as op logs are kept is told once.
func TestOutboxNearExpiry(t *testing.T) {
	r := budgetRig(t, 1<<20, Restored{})
	r.core.cfg.OpLogKeep = time.Hour
	r.send(1)
	told := 0
	for range 50 {
		r.now = r.now.Add(time.Minute)
		for _, a := range only[Alarm](r.settle(r.step(Tick{}))) {
			if a.Code != chat.CodeRegionDegraded { // nobody is linked, and the node starts without them
				told++
			}
		}
		if want := r.now.Sub(testStart) > 48*time.Minute; (told == 2) != want || r.outboxOf("us").Expiring != want {
			t.Fatalf("after %s: %d alarms", r.now.Sub(testStart), told)
		}
	}
}

// A hundred thousand ops for regions that are away leave the node's memory as it was: the op log on the disk is the buffer.
func TestMemoryWithPeersAway(t *testing.T) {
	const ops, limit = 100_000, 6 << 20
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	r := budgetRig(t, 1<<40, Restored{})
	before := heap()
	for n := 1; n <= ops; n++ {
		r.now = r.now.Add(time.Millisecond)
		r.settle(r.step(r.submit(uint64(n), numbered(n, "x"), 0)))
		if n%1000 == 0 {
			r.settle(r.step(Tick{}))
		}
	}
	if grown := int64(heap()) - int64(before); grown > limit {
		t.Errorf("memory grew by %d bytes, at most %d are allowed", grown, limit)
	}
	if st := r.outboxOf("us"); st.OutboxBytes < ops*256 {
		t.Errorf("%d bytes are owed for %d ops", st.OutboxBytes, ops)
	}
	runtime.KeepAlive(r)
}

// The nodes of a region share a budget evenly while they live; who is left has all of it.
func TestOutboxBudgetIsShared(t *testing.T) {
	r := budgetRig(t, 1000, Restored{})
	r.core.cfg.Lease, r.core.cfg.AdoptWait = 2*time.Second, time.Second
	lease := func(until time.Time) {
		r.core.meet([]chat.NodeRow{
			{Stream: r.core.Stream(), Until: chat.HLCFromTime(until)},
			{Stream: chat.StreamID{Region: "eu", Node: "n2", Incarnation: 1}, Until: chat.HLCFromTime(until)},
			{Stream: chat.StreamID{Region: "eu", Node: "n1"}, Until: chat.HLCFromTime(until)}, // an earlier life of this node
		})
	}
	lease(r.now.Add(2 * time.Second))
	for after, want := range map[time.Duration]int64{0: 500, 2500 * time.Millisecond: 500, 4 * time.Second: 1000} {
		if r.core.shareBudget(r.now.Add(after)); r.core.budget != want {
			t.Errorf("after %s the part is %d, want %d", after, r.core.budget, want)
		}
	}
}
