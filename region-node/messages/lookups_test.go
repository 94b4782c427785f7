package messages_test

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meridian/chat"
	"meridian/region-node/messages"
	"meridian/replication"
	"meridian/replication/drift"
	"meridian/sim/memstore"
)

// held is a store whose answers to some look-ups, and whose ends of writes, wait for the test.
type held struct {
	chat.Store
	mu      sync.Mutex
	asked   chan chat.ClientID
	lookUps map[chat.ClientID]chan struct{} // the look-up reads, and then waits for this
	all     chan struct{}                   // if set, all of them do
	writes  map[chat.ClientID]chan struct{}
}

func (h *held) gate(of map[chat.ClientID]chan struct{}, c chat.ClientID) func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	gate := make(chan struct{})
	of[c] = gate
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(of, c)
		close(gate)
	})
}

func (h *held) Retries(ctx context.Context, sender chat.UserID, c chat.ClientID) ([]chat.RetryRow, error) {
	rows, err := h.Store.Retries(ctx, sender, c)
	h.mu.Lock()
	gate := h.lookUps[c]
	if gate == nil {
		gate = h.all
	}
	h.mu.Unlock()
	h.asked <- c
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return rows, err
}

func (h *held) Commit(b *chat.Batch, done func(error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range b.Retries {
		if gate := h.writes[b.Retries[i].Client]; gate != nil {
			go func() {
				<-gate
				h.Store.Commit(b, done)
			}()
			return
		}
	}
	h.Store.Commit(b, done)
}

// trusted is a clock that the test sets.
type trusted struct{ ahead atomic.Int64 }

func (c *trusted) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *trusted) Judge() drift.Judgement {
	return drift.Judgement{Standing: drift.Trusted, Now: c.now()}
}

type nowhere struct{}

func (nowhere) SendRelay(chat.NodeRef, replication.Frame) bool       { return false }
func (nowhere) Tell(chat.Region, string, []byte)                     {}
func (nowhere) Count(string, ...string)                              {}
func (nowhere) Observe(string, float64, ...string)                   {}
func (nowhere) Set(string, float64, ...string)                       {}
func (nowhere) Start(p, _ string, _ ...string) (string, func(error)) { return p, func(error) {} }

// onHeld runs a service on a store that waits for the test.
func onHeld(t *testing.T) (*messages.Service, *held, *trusted) {
	t.Helper()
	clock := &trusted{}
	h := &held{
		Store: memstore.Open(memstore.New("eu", "n1"), memstore.Retention{}), asked: make(chan chat.ClientID, 100),
		lookUps: map[chat.ClientID]chan struct{}{}, writes: map[chat.ClientID]chan struct{}{},
	}
	world := chat.ZoneSpec{Name: "world", Regions: []chat.Region{"eu"}, Ack: chat.AckRegion}
	s, err := messages.New(t.Context(), messages.Options{
		Core: replication.Config{
			Self: "eu", Node: "n1", Topology: chat.Topology{Regions: world.Regions, Zones: map[chat.Zone]chat.ZoneSpec{"world": world}},
			MaxDrift: time.Second, Watermark: time.Second, Resend: time.Second, WindowOps: 100, WindowBytes: 1 << 20, TailOps: 100,
			BatchOps: 100, BatchBytes: 1 << 20, InFlight: 100, Remember: time.Hour, OutboxBytes: 1 << 20, OpLogKeep: time.Hour,
		},
		Store: h, Link: nowhere{}, Now: clock.now, Clock: clock, Log: slog.New(slog.DiscardHandler), Metrics: nowhere{}, Tracer: nowhere{},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Run()
	t.Cleanup(s.Close)
	return s, h, clock
}

// submit sends the message that a device calls client, and gives where its answer comes.
func submit(s *messages.Service, client byte) chan replication.Submitted {
	answer := make(chan replication.Submitted, 1)
	ann, bob := chat.Owner{ID: chat.UserID{1}, Zone: "world"}, chat.Owner{ID: chat.UserID{2}, Zone: "world"}
	body := []byte("hello")
	s.SubmitAsync(messages.Request{
		Op: chat.Op{
			Kind: chat.OpMessage, Author: ann, Owners: []chat.Owner{ann, bob}, Client: chat.ClientID{client},
			Conversation: chat.DirectConversation(ann.ID, bob.ID), Body: body, BodyHash: sha256.Sum256(body),
		},
		Answer: func(a replication.Submitted) { answer <- a },
	})
	return answer
}

const patience = time.Minute

func got[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %v", what, patience)
		panic("unreachable")
	}
}

// acked gives the id under which a send was acknowledged.
func acked(t *testing.T, what string, c <-chan replication.Submitted) chat.MessageID {
	t.Helper()
	a := got(t, what, c)
	if a.Err != nil {
		t.Fatalf("%s: %v", what, a.Err)
	}
	return a.Op.ID
}

// A store that does not answer for one send holds up those that came after it, and nothing that is under way: a write that ends is
// told at once.
func TestSlowLookUp(t *testing.T) {
	s, h, _ := onHeld(t)
	write := h.gate(h.writes, chat.ClientID{1})
	first := submit(s, 1)
	got(t, "look-up of the first", h.asked)
	release := h.gate(h.lookUps, chat.ClientID{2})
	second, third := submit(s, 2), submit(s, 3)
	got(t, "look-up of the second", h.asked)
	got(t, "look-up of the third, beside it", h.asked)
	write()
	one := acked(t, "the first, while the second is looked up", first)
	if len(second)+len(third) > 0 {
		t.Fatal("a send was acknowledged before it was looked up, or out of turn")
	}
	release()
	two, three := acked(t, "the second", second), acked(t, "the third", third)
	if one.Compare(two) >= 0 || two.Compare(three) >= 0 {
		t.Errorf("out of order: %v, %v, %v", one, two, three)
	}
}

// A send that comes again while it is being written has one id, also when what was read of it is from before the write ended, and so
// old that the core does not remember the write.
func TestOldLookUp(t *testing.T) {
	s, h, clock := onHeld(t)
	write := h.gate(h.writes, chat.ClientID{1})
	first := submit(s, 1)
	got(t, "look-up of the first", h.asked)
	release := h.gate(h.lookUps, chat.ClientID{1})
	again := submit(s, 1)
	got(t, "look-up of the second", h.asked)
	write()
	id := acked(t, "the first", first)
	clock.ahead.Store(int64(time.Minute))
	for deadline := time.Now().Add(patience); s.Marks().Local < chat.HLCFromTime(time.Now().Add(50*time.Second)); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the node does not go on")
		}
	}
	release()
	if a := got(t, "answer to the second", again); a.Err != nil || a.Op.ID != id || !a.Known {
		t.Errorf("sent again: %+v; want %v, known", a, id)
	}
}

// Who still waits for a look-up when the service ends is told that the outcome is not known.
func TestEndsWhileLookingUp(t *testing.T) {
	s, h, _ := onHeld(t)
	h.gate(h.lookUps, chat.ClientID{1})
	first, second := submit(s, 1), submit(s, 2)
	got(t, "look-up of the first", h.asked)
	s.Close()
	for _, answer := range []chan replication.Submitted{first, second} {
		if a := got(t, "answer", answer); a.Err == nil {
			t.Errorf("acknowledged: %+v", a)
		}
	}
}
