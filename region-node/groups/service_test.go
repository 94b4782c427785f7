package groups

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/replication"
	"meridian/sim/memstore"
)

// counting counts the readings of all steps.
type counting struct {
	chat.Mailboxes
	reads atomic.Int64
	wait  chan struct{} // if not nil, a reading waits for it
}

func (c *counting) Members(ctx context.Context, owner chat.UserID, id chat.ConversationID, user chat.UserID) ([]chat.MemberRow, error) {
	if c.wait != nil {
		<-c.wait
	}
	c.reads.Add(1)
	return c.Mailboxes.Members(ctx, owner, id, user)
}

const start = chat.HLC(1_800_000_000_000_000)

func person(n int) chat.Owner {
	return chat.Owner{ID: chat.UserID{1, byte(n >> 8), byte(n)}, Zone: "world", Name: "p"}
}

func opAt(n int) chat.MessageID {
	return chat.NewMessageID(start+chat.HLC(n), person(0).ID, chat.ClientID{})
}

// world is a service over a store, with a clock that stands still.
type world struct {
	*Service
	store *memstore.Store
	reads *counting
	now   time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{store: memstore.Open(memstore.New("us-east", "n1"), memstore.Retention{}), now: start.Time()}
	t.Cleanup(func() { _ = w.store.Close() })
	w.reads = &counting{Mailboxes: w.store}
	cfg := config.Default()
	w.Service = New(Options{
		Self: "us-east", Limits: cfg.Limits, Topology: cfg.Topology(), Store: w.reads,
		Marks: func() replication.Marks { return replication.Marks{Local: start + 1_000_000} }, Now: func() time.Time { return w.now },
	})
	return w
}

// add writes a group of n people, of whom the first made it.
func (w *world) add(t *testing.T, id chat.ConversationID, n int) {
	t.Helper()
	b := &chat.Batch{}
	b.Groups = []chat.GroupRow{{Owner: chat.UserID(id), Conversation: id, Made: true, Name: "g", By: person(0).ID, ByZone: "world", Op: opAt(0)}}
	for i := range n {
		row := chat.MemberRow{Owner: chat.UserID(id), Conversation: id, User: person(i), Op: opAt(i), Role: chat.RoleMember, By: person(0).ID, ByZone: "world"}
		if i == 0 {
			row.Role, row.Made = chat.RoleOwner, true
		}
		b.Members = append(b.Members, row)
	}
	done := make(chan error, 1)
	w.store.Commit(b, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// The steps of a group of thousands are read once, however many ask, until something is heard of it, or for a while.
func TestStepsAreReadOnce(t *testing.T) {
	w := newWorld(t)
	id := chat.ConversationID{7}
	w.add(t, id, 5000)
	ask := func(want int64, when string) {
		t.Helper()
		g, err := w.Group(t.Context(), id)
		if err != nil || g.Members.Count() != 5000 || w.reads.reads.Load() != want {
			t.Fatalf("%s: %v, read %d times, want %d", when, err, w.reads.reads.Load(), want)
		}
	}
	for range 1000 {
		ask(1, "again")
	}
	w.Heard(id, start)
	ask(1, "after news that it has")
	w.Heard(id, start+2_000_000)
	ask(2, "after news")
	w.now = w.now.Add(cacheFor)
	ask(3, "after a while")
	if _, err := w.Group(t.Context(), chat.ConversationID{8}); chat.CodeOf(err) != chat.CodeUnknownConversation {
		t.Errorf("no group: %v", err)
	}
}

// Many who ask at once wait for one reading; one that began before some news is not what is kept or waited for after it.
func TestAskingAtOnce(t *testing.T) {
	w := newWorld(t)
	id := chat.ConversationID{7}
	w.add(t, id, 100)
	w.reads.wait = make(chan struct{})
	var all sync.WaitGroup
	ask := func() {
		all.Go(func() {
			if g, err := w.Group(t.Context(), id); err != nil || g.Members.Count() != 100 {
				t.Errorf("%v", err)
			}
		})
	}
	for range 100 {
		ask()
	}
	w.reads.wait <- struct{}{} // the first reading goes on; all others wait for it or find it
	all.Wait()
	if n := w.reads.reads.Load(); n != 1 {
		t.Errorf("read %d times", n)
	}
	w.Heard(id, ^chat.HLC(0))
	ask()
	w.waiting(t, id)
	w.Heard(id, ^chat.HLC(0))
	close(w.reads.wait)
	all.Wait()
	if _, kept := w.known[id]; kept {
		t.Error("what was read before the news is kept")
	}
}

// waiting waits until a reading of the group is under way.
func (w *world) waiting(t *testing.T, id chat.ConversationID) {
	t.Helper()
	for {
		w.mu.Lock()
		_, under := w.loading[id]
		w.mu.Unlock()
		if under {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// What is kept is bounded by the number of steps, and what was not used for longest goes first.
func TestCacheIsBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		id := chat.ConversationID{7, byte(i)}
		w.add(t, id, cacheSteps/20)
		w.now = w.now.Add(time.Millisecond)
		if _, err := w.Group(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Millisecond)
		if _, err := w.Group(t.Context(), chat.ConversationID{7, 0}); err != nil { // is used all the time
			t.Fatal(err)
		}
		if w.steps > cacheSteps {
			t.Fatalf("%d steps are kept", w.steps)
		}
	}
	if n := w.reads.reads.Load(); n != 30 {
		t.Errorf("read %d times for 30 groups", n)
	}
}
