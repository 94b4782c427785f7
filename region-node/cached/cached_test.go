package cached

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"meridian/chat"
	"meridian/sim/memstore"
	"meridian/store/memory"
)

// counts is a Metrics.
type counts map[string]int

func (c counts) Count(name string, labels ...string) { c[fmt.Sprint(name, labels)]++ }

func (c counts) Observe(string, float64, ...string) {}

// world is one owner's mailbox with a cache before it.
type world struct {
	t       *testing.T
	rnd     *rand.Rand
	store   chat.Store
	writes  chat.Store
	reads   chat.Store
	layer   *Layer
	metrics counts
	arrival chat.HLC // of the newest entry
	ids     []chat.MessageID
}

var (
	owner = chat.UserID{1}
	peer  = chat.UserID{2}
	rooms = []chat.ConversationID{{3}, {4}}
)

// Mark is Logs's: everything that was written is visible.
func (w *world) Mark() chat.HLC { return w.arrival }

// Since is Logs's: nothing is known without reading.
func (w *world) Since(chat.UserID, bool, chat.HLC) ([]chat.InboxRow, bool) { return nil, false }

func newWorld(t *testing.T, seed uint64, cache chat.Cache) *world {
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), store: memstore.Open(memstore.New("eu-west", "n1"), memstore.Retention{}), metrics: counts{}, arrival: 1000}
	w.layer = New(cache, w.metrics)
	w.writes, w.reads = w.layer.Writes(w.store), w.layer.Reads(w.store, w)
	return w
}

func (w *world) commit(b *chat.Batch) {
	w.t.Helper()
	done := make(chan error, 1)
	w.writes.Commit(b, func(err error) { done <- err })
	if err := <-done; err != nil {
		w.t.Fatal(err)
	}
}

// entry gives an entry of the log about a message.
func (w *world) entry(kind chat.InboxKind, room chat.ConversationID, op, ref chat.MessageID) chat.InboxRow {
	w.arrival += chat.HLC(1 + w.rnd.IntN(50))
	return chat.InboxRow{Owner: owner, Arrival: w.arrival, Op: op, Kind: kind, Conversation: room, Actor: peer, Ref: ref}
}

func (w *world) id(at int) chat.MessageID {
	return chat.NewMessageID(chat.HLC(at), peer, chat.ClientID{byte(w.rnd.IntN(256)), byte(w.rnd.IntN(256)), byte(w.rnd.IntN(256)), 9})
}

// step writes something: a message, perhaps an old one that comes late, a change, another name of a message.
func (w *world) step(n int) {
	room := rooms[w.rnd.IntN(len(rooms))]
	at := 1000 + n
	if w.rnd.IntN(4) == 0 {
		at = 1 + w.rnd.IntN(1000+n)
	}
	id := w.id(at)
	message := chat.MessageRow{Owner: owner, OwnerZone: "eu", Conversation: room, ID: id, Sender: peer, SenderName: "Peer", Client: chat.ClientID{byte(n)}, Body: []byte(fmt.Sprint("sealed ", n))}
	target := id
	if len(w.ids) > 0 {
		target = w.ids[w.rnd.IntN(len(w.ids))]
	}
	change := chat.ChangeRow{Owner: owner, OwnerZone: "eu", Conversation: room, Target: target, Kind: chat.ChangeEdit, User: peer, Op: id, Version: id.Time(), Body: []byte(fmt.Sprint("edit ", n))}
	switch w.rnd.IntN(6) {
	case 0, 1, 2:
		w.ids = append(w.ids, id)
		w.commit(&chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{message}}, Inbox: []chat.InboxRow{w.entry(chat.InboxMessage, room, id, id)}})
	case 3:
		w.commit(&chat.Batch{Rows: chat.Rows{Changes: []chat.ChangeRow{change}}, Inbox: []chat.InboxRow{w.entry(chat.InboxChange, room, id, target)}})
	case 4:
		message.AliasOf, message.Body, message.SenderName = target, nil, ""
		w.commit(&chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{message}}, Inbox: []chat.InboxRow{w.entry(chat.InboxAlias, room, id, target)}})
	case 5: // what a repair brings of another name has no entry
		change.Kind, change.Body = chat.ChangeAlias, nil
		w.commit(&chat.Batch{Rows: chat.Rows{Changes: []chat.ChangeRow{change}}})
	}
}

// compare reads as a request does, through the cache and past it.
func (w *world) compare(what string) {
	w.t.Helper()
	ctx := Request(context.Background())
	for _, room := range rooms {
		limit := 1 + w.rnd.IntN(pageRows)
		want, err := w.store.Messages(ctx, owner, room, chat.NoMessage, limit)
		if err != nil {
			w.t.Fatal(err)
		}
		got, err := w.reads.Messages(ctx, owner, room, chat.NoMessage, limit)
		if err != nil || !same(got, want) {
			w.t.Fatalf("%s: room %d: the page has %d messages, the store %d, or they differ (%v)", what, room[0], len(got), len(want), err)
		}
		if len(want) == 0 {
			continue
		}
		oldest, newest := want[len(want)-1].ID, want[0].ID
		wantChanges, err := w.store.Changes(ctx, owner, room, oldest, newest, 10_000)
		if err != nil {
			w.t.Fatal(err)
		}
		gotChanges, err := w.reads.Changes(ctx, owner, room, oldest, newest, 10_000)
		if err != nil || !same(gotChanges, wantChanges) {
			w.t.Fatalf("%s: room %d: the page has %d changes, the store %d, or they differ (%v)", what, room[0], len(gotChanges), len(wantChanges), err)
		}
	}
}

func same[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b)) }

// What a page from the cache shows is what the store has, after whatever was written, in whatever order it came.
func TestPagesAreRight(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed, memory.NewCache(1<<20, nil))
		for n := range 150 {
			w.step(n)
			for range w.rnd.IntN(3) {
				w.compare(fmt.Sprintf("seed %d step %d", seed, n))
			}
		}
		if w.metrics["cache_reads_total[page memory]"] == 0 || w.metrics["cache_reads_total[page stale]"] == 0 {
			t.Fatalf("seed %d: the cache was not used: %v", seed, w.metrics)
		}
	}
}

// oldCache gives, now and then, what it ever held: a shared cache that came back old, or did not hear of a delete.
type oldCache struct {
	chat.Cache
	rnd  *rand.Rand
	held map[chat.CacheKey][][]byte
}

func (c *oldCache) Get(ctx context.Context, key chat.CacheKey) chat.Cached {
	if old := c.held[key]; len(old) > 0 && c.rnd.IntN(2) == 0 {
		return chat.Cached{Value: old[c.rnd.IntN(len(old))], Level: chat.CacheShared}
	}
	return c.Cache.Get(ctx, key)
}

func (c *oldCache) Set(ctx context.Context, key chat.CacheKey, lease chat.CacheLease, value []byte) {
	c.held[key] = append(c.held[key], slices.Clone(value))
	c.Cache.Set(ctx, key, lease, value)
}

// Pages of a cache that shows what is long over are found out: the log is asked.
func TestOldPagesAreFoundOut(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed, nil)
		cache := &oldCache{Cache: memory.NewCache(1<<20, nil), rnd: w.rnd, held: make(map[chat.CacheKey][][]byte)}
		w.layer = New(cache, w.metrics)
		w.writes, w.reads = w.layer.Writes(w.store), w.layer.Reads(w.store, w)
		for n := range 150 {
			w.stepWithEntry(n)
			w.compare(fmt.Sprintf("seed %d step %d", seed, n))
		}
		if w.metrics["cache_reads_total[page shared]"]+w.metrics["cache_reads_total[page memory]"] == 0 {
			t.Fatalf("seed %d: the cache was not used: %v", seed, w.metrics)
		}
	}
}

// stepWithEntry writes a message, perhaps an old one that comes late.
func (w *world) stepWithEntry(n int) {
	room := rooms[w.rnd.IntN(len(rooms))]
	id := w.id(1 + w.rnd.IntN(1000+n))
	w.commit(&chat.Batch{
		Rows:  chat.Rows{Messages: []chat.MessageRow{{Owner: owner, OwnerZone: "eu", Conversation: room, ID: id, Sender: peer, Client: chat.ClientID{byte(n)}, Body: []byte("x")}}},
		Inbox: []chat.InboxRow{w.entry(chat.InboxMessage, room, id, id)},
	})
}

// A contact list is read once, and anew after a commit that changes it; whoever does not say that he may read from the cache
// reads the store.
func TestContactsAreDeleted(t *testing.T) {
	w := newWorld(t, 1, memory.NewCache(1<<20, nil))
	read := func(ctx context.Context) int {
		rows, err := w.reads.Contacts(ctx, owner, chat.NoUser, contactOthers)
		if err != nil {
			t.Fatal(err)
		}
		return len(rows)
	}
	for n := range 5 {
		w.commit(&chat.Batch{Rows: chat.Rows{Contacts: []chat.ContactRow{{Owner: owner, Other: chat.Owner{ID: chat.UserID{byte(n), 7}, Zone: "eu", Name: "o"}, Want: true, Version: chat.HLC(n + 1)}}}})
		for range 3 {
			if got := read(Request(context.Background())); got != n+1 {
				t.Fatalf("%d contacts, not %d", got, n+1)
			}
		}
		if got := read(context.Background()); got != n+1 {
			t.Fatalf("past the cache: %d contacts, not %d", got, n+1)
		}
	}
	if got := w.metrics["cache_reads_total[contacts memory]"]; got != 10 {
		t.Errorf("%d reads came from memory, not 10: %v", got, w.metrics)
	}
}

// A profile is found once, and anew after its claim changed; what may not be kept is not.
func TestProfilesAreDeleted(t *testing.T) {
	w := newWorld(t, 1, memory.NewCache(1<<20, nil))
	ctx, name, finds := context.Background(), chat.ClaimKey{5}, 0
	ask := func(keep bool) {
		t.Helper()
		got, err := w.layer.Profile(ctx, name, func(context.Context) (chat.Owner, bool, error) {
			finds++
			return chat.Owner{ID: peer, Zone: "eu", Name: "Peer"}, keep, nil
		})
		if err != nil || got != (chat.Owner{ID: peer, Zone: "eu", Name: "Peer"}) {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	for _, step := range []struct {
		keep bool
		want int
	}{{false, 1}, {true, 2}, {true, 2}, {true, 2}} {
		if ask(step.keep); finds != step.want {
			t.Fatalf("found %d times, not %d", finds, step.want)
		}
	}
	w.commit(&chat.Batch{Claims: []chat.Claim{{Key: name, Zone: "eu", Attempt: chat.UUID{1}, Version: 5}}})
	if ask(true); finds != 3 {
		t.Errorf("after the claim changed: found %d times, not 3", finds)
	}
}

// Whatever bytes a page is said to be, decoding ends, and gives what was encoded or nothing.
func TestDecodePage(t *testing.T) {
	p := &page{
		asOf: 77, whole: true,
		rows:    []chat.MessageRow{{Owner: owner, OwnerZone: "eu", Conversation: rooms[0], ID: chat.MessageID{9}, Sender: peer, SenderName: "Å", Client: chat.ClientID{1}, ReplyTo: chat.MessageID{8}, Body: []byte("b\x00")}},
		changes: []chat.ChangeRow{{Owner: owner, OwnerZone: "eu", Conversation: rooms[0], Target: chat.MessageID{9}, Kind: chat.ChangeReaction, User: peer, Emoji: "😀", On: true, Op: chat.MessageID{7}, Client: chat.ClientID{2}, Version: 5}},
	}
	b := p.encode()
	if got, ok := decodePage(b); !ok || !reflect.DeepEqual(got, p) {
		t.Fatalf("%+v, %v", got, ok)
	}
	for n := range b {
		if _, ok := decodePage(b[:n]); ok {
			t.Errorf("%d bytes of %d are a page", n, len(b))
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		broken := slices.Clone(b)
		for range 1 + rnd.IntN(4) {
			broken[rnd.IntN(len(broken))] = byte(rnd.IntN(256))
		}
		decodePage(broken)
	}
}
