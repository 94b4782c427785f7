package events_test

import (
	"context"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"meridian/chat"
	"meridian/store/embedded"
	"meridian/store/events"
	"meridian/store/storetest"
)

// opLog is a node's store with an op log, and what pumps of it use.
type opLog struct {
	t       *testing.T
	store   *embedded.Store
	settled atomic.Uint64
	sink    string
	// mend, if set, is what an operator does with a broker that runs again and confirms nothing (runbooks/broker-down.md).
	mend func()
}

func newOpLog(t *testing.T, sink string) *opLog {
	t.Helper()
	s, err := embedded.Open(embedded.Options{
		Dir: filepath.Join(t.TempDir(), "store"), Region: "eu-west", Node: "n1", Codec: storetest.JSONCodec{}, CacheBytes: 1 << 20, MemTableBytes: 4 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &opLog{t: t, store: s, sink: sink}
}

// write adds n sends to the op log; all up to the last one is settled.
func (l *opLog) write(first, n int) (ids []string) {
	l.t.Helper()
	batch, ids := storetest.EventOps(first, n)
	if err := storetest.Commit(l.store, batch); err != nil {
		l.t.Fatal(err)
	}
	l.settled.Store(uint64(storetest.EventTime(first + n - 1)))
	return ids
}

// pump runs a pump until stop is called.
func (l *opLog) pump(open func(context.Context) (chat.Events, error)) (stop func()) {
	p := events.NewPump(events.PumpOptions{
		Store: l.store, Sink: l.sink, Open: open, Now: time.Now, Keep: time.Hour,
		Settled: func() chat.HLC { return chat.HLC(l.settled.Load()) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
		}
	}
	l.t.Cleanup(stop)
	return stop
}

// moved waits until the durable position is at a sequence.
func (l *opLog) moved(seq uint64) {
	l.t.Helper()
	id, err := l.store.Identity(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	stream := chat.StreamID{Region: id.Region, Node: id.Node, Incarnation: id.Incarnation}
	var have map[chat.Region]uint64
	began := time.Now()
	for end := began.Add(2 * patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if l.mend != nil && time.Since(began) > 30*time.Second {
			l.mend()
			l.mend = nil
		}
		if have, err = l.store.Positions(context.Background(), stream); err != nil {
			l.t.Fatal(err)
		}
		if have[chat.Region("events/"+l.sink)] == seq {
			return
		}
	}
	l.t.Fatalf("the positions are %v, want %d", have, seq)
}

// both runs a test with each broker.
func both(t *testing.T, test func(t *testing.T, sink string, p storetest.EventsPlace)) {
	t.Run("rabbitmq", func(t *testing.T) { test(t, "rabbitmq", newRabbit(t)) })
	t.Run("redis", func(t *testing.T) { test(t, "redis", newRedis(t)) })
}

func wantOnce(t *testing.T, p storetest.EventsPlace, want []string) {
	t.Helper()
	have, _ := p.Read()
	if have = storetest.Once(have); !slices.Equal(have, want) {
		t.Fatalf("%d events are there, repeats apart, want %d; the first that differs is number %d", len(have), len(want), differs(have, want))
	}
}

func differs(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// What happens while the broker is down, before the pump starts, or while the broker is killed in the middle of publishing comes, all of it, in
// the order of the op log; and a pump that starts again goes on where the last one was.
func TestPump(t *testing.T) {
	both(t, func(t *testing.T, sink string, p storetest.EventsPlace) {
		l := newOpLog(t, sink)
		want := l.write(1, 700) // more than a page
		stop := l.pump(p.Open)
		l.moved(700)
		wantOnce(t, p, want)

		if r, ok := p.(*rabbitPlace); ok { // a queue that has been there for long: its name is on the disk
			r.restart("so that the name of the queue is on the disk")
			l.mend = func() { r.restart("the queue has no leader after the kill") }
		}
		p.Kill()
		for i := range 20 {
			want = append(want, l.write(701+i*50, 50)...)
			if i == 10 {
				p.Start()
			}
		}
		l.moved(1700)
		wantOnce(t, p, want)

		stop()
		before, _ := p.Read()
		want = append(want, l.write(1701, 5)...)
		l.pump(p.Open)
		l.moved(1705)
		after, _ := p.Read()
		if len(after) != len(before)+5 {
			t.Errorf("a new pump published %d events, want 5", len(after)-len(before))
		}
		wantOnce(t, p, want)
	})
}

// kept notes what is published, and may refuse.
type kept struct {
	ids    chan string
	refuse atomic.Bool
	tries  atomic.Int64
}

func (k *kept) open(context.Context) (chat.Events, error) { return k, nil }
func (k *kept) Close() error                              { return nil }

func (k *kept) Publish(_ context.Context, list []chat.Event) error {
	k.tries.Add(1)
	if k.refuse.Load() {
		return &chat.Error{Code: chat.CodeRegionDegraded}
	}
	for i := range list {
		k.ids <- list[i].ID
	}
	return nil
}

// Nothing beyond what is settled is published: what is under way may still come before it.
func TestPumpWaitsForSettled(t *testing.T) {
	k := &kept{ids: make(chan string, 100)}
	l := newOpLog(t, "kept")
	batch, ids := storetest.EventOps(1, 3)
	late := batch.Log[1]
	batch.Log = append(batch.Log[:1:1], batch.Log[2]) // the second is still on its way
	if err := storetest.Commit(l.store, batch); err != nil {
		t.Fatal(err)
	}
	l.settled.Store(uint64(storetest.EventTime(1)))
	l.pump(k.open)
	l.moved(1)
	if err := storetest.Commit(l.store, &chat.Batch{Log: []chat.LogRow{late}}); err != nil {
		t.Fatal(err)
	}
	l.settled.Store(uint64(storetest.EventTime(3)))
	l.moved(3)
	for _, want := range ids {
		if have := <-k.ids; have != want {
			t.Fatalf("%s is published, want %s", have, want)
		}
	}
}

// The op logs of lives that the node has adopted are published too; those that nobody has adopted are not touched.
func TestPumpOfAdoptedLives(t *testing.T) {
	k := &kept{ids: make(chan string, 100)}
	l := newOpLog(t, "kept")
	before := l.write(1, 10)
	if _, err := l.store.NewIncarnation(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	l.pump(k.open)
	select {
	case id := <-k.ids:
		t.Fatalf("%s of a life that nobody has adopted is published", id)
	case <-time.After(time.Second):
	}
	old := chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: 1}
	if _, err := l.store.Adopt(context.Background(), old, storetest.EventTime(1_000_000)); err != nil {
		t.Fatal(err)
	}
	for _, want := range before {
		if have := <-k.ids; have != want {
			t.Fatalf("%s is published, want %s", have, want)
		}
	}
}
