package messages

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"meridian/chat"
)

type reader struct{ woken int }

func (r *reader) Wake() { r.woken++ }

var (
	person = chat.UserID{1}
	group  = chat.UserID{2}
)

func told(h *Hub, owner chat.UserID, arrivals ...chat.HLC) {
	for _, at := range arrivals {
		row := chat.InboxRow{Owner: owner, Arrival: at, Op: chat.NewMessageID(at, chat.UserID{9}, chat.ClientID{}), Kind: chat.InboxMessage}
		if owner == group {
			row.Conversation = chat.ConversationID(group)
		}
		h.Tell(Entry{Row: row})
	}
}

func arrivals(entries []Entry) (at []chat.HLC) {
	for i := range entries {
		at = append(at, entries[i].Row.Arrival)
	}
	return at
}

// What was told replaces reading a log only when it is everything in the range; in any doubt the log is read.
func TestSince(t *testing.T) {
	for name, c := range map[string]struct {
		before, later []chat.HLC // told before and after the log has a reader
		after, upTo   chat.HLC
		want          []chat.HLC
		ok            bool
	}{
		"nothing was told":                    {nil, nil, 10, 20, nil, true},
		"all of it":                           {nil, []chat.HLC{12, 15}, 10, 20, []chat.HLC{12, 15}, true},
		"what came before the reader":         {[]chat.HLC{12}, []chat.HLC{15}, 10, 20, nil, false},
		"after what came before the reader":   {[]chat.HLC{10}, []chat.HLC{15}, 10, 20, []chat.HLC{15}, true},
		"from before the hub":                 {nil, []chat.HLC{15}, 4, 20, nil, false},
		"what the client has is passed":       {nil, []chat.HLC{9, 12}, 10, 20, []chat.HLC{12}, true},
		"what the marks do not cover waits":   {nil, []chat.HLC{12, 25}, 10, 20, []chat.HLC{12}, true},
		"two nodes' entries are put in order": {nil, []chat.HLC{15, 12, 17}, 10, 20, []chat.HLC{12, 15, 17}, true},
		"told twice is once":                  {nil, []chat.HLC{12, 12}, 10, 20, []chat.HLC{12}, true},
	} {
		h := NewHub(5, false)
		told(h, person, c.before...)
		h.Subscribe(person, &reader{})
		told(h, person, c.later...)
		entries, ok := h.Since(person, false, c.after, c.upTo)
		if diff := cmp.Diff(c.want, arrivals(entries)); diff != "" || ok != c.ok {
			t.Errorf("%s: ok %v (-want +got)\n%s", name, ok, diff)
		}
	}
}

// Nobody has to read the log of a group that was quiet since; where that is not known it is read.
func TestQuietGroups(t *testing.T) {
	h := NewHub(5, false)
	told(h, group, 12)
	if _, ok := h.Since(group, true, 11, 20); ok {
		t.Error("a log that has grown is taken for quiet")
	}
	if entries, ok := h.Since(group, true, 12, 20); !ok || len(entries) != 0 {
		t.Error("a quiet log is read")
	}
	if _, ok := h.Since(group, true, 4, 20); ok {
		t.Error("a log is taken for quiet from before the hub was told")
	}
	if _, ok := h.Since(person, false, 12, 20); ok {
		t.Error("a person's log, of which nothing is known, is taken for quiet")
	}
	for i := range quietLogs { // of the same shard
		id := chat.UserID{3, byte(i), byte(i >> 8), 15: group[15]}
		h.Tell(Entry{Row: chat.InboxRow{Owner: id, Conversation: chat.ConversationID(id), Arrival: 30, Kind: chat.InboxMessage}})
	}
	if _, ok := h.Since(group, true, 20, 40); ok {
		t.Error("what was forgotten is taken for known")
	}
	if _, ok := h.Since(group, true, 30, 40); !ok {
		t.Error("what came after the forgetting is not known")
	}
}

// The hub's memory is bounded by rows and by bytes: what it no longer has is read from the log.
func TestHubForgets(t *testing.T) {
	h := NewHub(0, false)
	h.Subscribe(person, &reader{})
	for i := range chat.HLC(3 * tailRows) {
		told(h, person, i+1)
	}
	if _, ok := h.Since(person, false, 1, 4*tailRows); ok {
		t.Error("what was forgotten is not read")
	}
	if entries, ok := h.Since(person, false, 2*tailRows, 4*tailRows); !ok || len(entries) != tailRows {
		t.Errorf("%d entries, ok %v", len(entries), ok)
	}
	body := make([]byte, shardBytes/4)
	for i := range chat.HLC(100) {
		at := 4*tailRows + i
		row := chat.InboxRow{Owner: person, Arrival: at, Op: chat.NewMessageID(at, chat.UserID{9}, chat.ClientID{}), Kind: chat.InboxMessage}
		h.Tell(Entry{Row: row, Op: &chat.Op{Body: body}})
	}
	sh := h.shard(person)
	if sh.bytes > shardBytes || len(sh.queue) > 8 {
		t.Errorf("%d bytes of at most %d, a queue of %d", sh.bytes, shardBytes, len(sh.queue))
	}
	r := &reader{}
	h.Subscribe(person, r)
	h.Wake(person)
	h.Unsubscribe(person, r)
	if h.Wake(person); r.woken != 1 {
		t.Errorf("woken %d times", r.woken)
	}
}

// Where other nodes write to the same logs, nothing that was told replaces reading them.
func TestPartialHub(t *testing.T) {
	h := NewHub(0, true)
	h.Subscribe(person, &reader{})
	told(h, person, 12)
	told(h, group, 12)
	for owner, isGroup := range map[chat.UserID]bool{person: false, group: true} {
		if _, ok := h.Since(owner, isGroup, 20, 30); ok {
			t.Errorf("the log of %v is not read", owner)
		}
	}
}
