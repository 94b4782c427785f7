package people

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"meridian/chat"
	"meridian/config"
	"meridian/sim/memstore"
)

// A message is hidden when the newest step of blocking at or before its time is a block, whatever order the steps came in.
func TestBlocksHideByInterval(t *testing.T) {
	carl, dora := chat.UserID{1}, chat.UserID{2}
	step := func(user chat.UserID, at chat.HLC, on bool) chat.BlockRow {
		return chat.BlockRow{Other: chat.Owner{ID: user}, Time: at, On: on}
	}
	b := NewBlocks([]chat.BlockRow{step(carl, 40, true), step(carl, 10, true), step(dora, 5, true), step(carl, 20, false)})
	for at, hidden := range map[chat.HLC]bool{0: false, 9: false, 10: true, 19: true, 20: false, 39: false, 40: true, 1 << 50: true} {
		if got := b.Hidden(carl, at); got != hidden {
			t.Errorf("carl at %d: hidden %v, want %v", at, got, hidden)
		}
	}
	if !b.Now(carl) || !b.Now(dora) || b.Now(chat.UserID{3}) {
		t.Errorf("now: carl %v, dora %v, nobody %v", b.Now(carl), b.Now(dora), b.Now(chat.UserID{3}))
	}
	if list := b.List(); len(list) != 2 || list[0].User.ID != carl || list[0].Since != 40 {
		t.Errorf("list: %+v", list)
	}
	var none *Blocks
	if none.Hidden(carl, 10) || (&Blocks{}).Now(carl) {
		t.Error("no blocks hide something")
	}
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfDistinct(rapid.Uint64Range(1, 50), func(v uint64) uint64 { return v }).Draw(t, "times")
		var rows []chat.BlockRow
		for _, at := range times {
			rows = append(rows, step(carl, chat.HLC(at), rapid.Bool().Draw(t, "on")))
		}
		at := chat.HLC(rapid.Uint64Range(0, 60).Draw(t, "at"))
		var newest chat.BlockRow
		for _, row := range rows {
			if row.Time <= at && row.Time > newest.Time {
				newest = row
			}
		}
		if got := NewBlocks(rows).Hidden(carl, at); got != newest.On {
			t.Fatalf("hidden %v at %d with %+v", got, at, rows)
		}
	})
}

// Two halves make a contact, one alone is a question, and the name is the one that the other gave.
func TestStateOf(t *testing.T) {
	mine := chat.ContactRow{Other: chat.Owner{Name: "BOB"}, Want: true, Version: 5}
	theirs := chat.ContactRow{Other: chat.Owner{Name: "Bob"}, Theirs: true, Want: true, Version: 7}
	no := func(r chat.ContactRow) chat.ContactRow { r.Want = false; return r }
	for _, c := range []struct {
		halves []chat.ContactRow
		state  State
		since  chat.HLC
		name   string
	}{
		{nil, StateNone, 0, ""},
		{[]chat.ContactRow{mine}, StateOutgoing, 5, "BOB"},
		{[]chat.ContactRow{theirs}, StateIncoming, 7, "Bob"},
		{[]chat.ContactRow{mine, theirs}, StateAccepted, 7, "Bob"},
		{[]chat.ContactRow{theirs, mine}, StateAccepted, 7, "Bob"},
		{[]chat.ContactRow{no(mine), theirs}, StateIncoming, 7, "Bob"},
		{[]chat.ContactRow{mine, no(theirs)}, StateOutgoing, 5, "Bob"},
		{[]chat.ContactRow{no(mine), no(theirs)}, StateNone, 0, "Bob"},
	} {
		got := contactOf(c.halves)
		if got.State != c.state || got.Since != c.since || got.User.Name != c.name || StateOf(c.halves) != c.state {
			t.Errorf("%+v make %+v, want %s since %d, %q", c.halves, got, c.state, c.since, c.name)
		}
	}
}

// view is a service over one mailbox with a conversation of bob's and carl's.
type view struct {
	*Service
	store        *memstore.Store
	bob, carl    chat.Owner
	conversation chat.ConversationID
}

func newView(t *testing.T) *view {
	v := &view{
		store: memstore.Open(memstore.New("us-east", "n1"), memstore.Retention{}),
		bob:   chat.Owner{ID: chat.UserID{1}, Zone: "world", Name: "bob"}, carl: chat.Owner{ID: chat.UserID{2}, Zone: "world", Name: "carl"},
	}
	t.Cleanup(func() { _ = v.store.Close() })
	v.conversation = chat.DirectConversation(v.bob.ID, v.carl.ID)
	cfg := config.Default()
	v.Service = New(Options{Config: cfg, Topology: cfg.Topology(), Store: v.store})
	return v
}

// commit writes rows for bob: those of messages with the conversation's row.
func (v *view) commit(t *testing.T, b chat.Batch) {
	t.Helper()
	for i := range b.Messages {
		m := &b.Messages[i]
		m.Owner, m.Conversation = v.bob.ID, v.conversation
		b.Conversations = append(b.Conversations, chat.ConversationRow{Owner: v.bob.ID, ID: v.conversation, Peer: v.carl, Last: m.ID})
	}
	done := make(chan error, 1)
	v.store.Commit(&b, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (v *view) message(at int, sender chat.Owner) chat.MessageRow {
	const start = chat.HLC(1_800_000_000_000_000)
	return chat.MessageRow{
		ID: chat.NewMessageID(start+chat.HLC(at), sender.ID, chat.ClientID{byte(at), byte(at >> 8)}), Sender: sender.ID, SenderName: sender.Name,
		Body: []byte(fmt.Sprint(at)),
	}
}

// Aliases are neither shown nor counted, nor are they a conversation's last message.
func TestAliasesAreNotShown(t *testing.T) {
	v := newView(t)
	first, alias := v.message(1, v.carl), v.message(2, v.carl)
	alias.AliasOf = first.ID
	v.commit(t, chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{first, alias}}})
	rows, next, err := v.Messages(t.Context(), v.bob.ID, v.conversation, chat.NoMessage, 10)
	if err != nil || len(rows) != 1 || rows[0].ID != first.ID || next != chat.NoMessage {
		t.Errorf("messages: %+v, next %v, %v", rows, next, err)
	}
	c, err := v.Conversation(t.Context(), v.bob.ID, v.conversation)
	if err != nil || c.Unread != 1 || c.Last == nil || c.Last.ID != first.ID || c.State != ConversationRequest {
		t.Errorf("conversation: %+v, %v", c, err)
	}
	if _, err := v.Conversation(t.Context(), v.carl.ID, v.conversation); chat.CodeOf(err) != chat.CodeUnknownConversation {
		t.Errorf("another's mailbox: %v", err)
	}
}

// However much is hidden, a page costs a bounded number of reads, and following next reaches what lies beyond.
func TestHiddenStretchIsCrossed(t *testing.T) {
	v := newView(t)
	var rows []chat.MessageRow
	for at := range 600 {
		rows = append(rows, v.message(at, v.carl))
	}
	oldest, newest := rows[0], rows[len(rows)-1]
	v.commit(t, chat.Batch{Rows: chat.Rows{Messages: rows, Blocks: []chat.BlockRow{
		{Owner: v.bob.ID, Other: v.carl, Time: oldest.ID.Time() + 1, On: true},
		{Owner: v.bob.ID, Other: v.carl, Time: newest.ID.Time() + 1, On: false},
	}}})
	var seen []Shown
	before, pages := chat.NoMessage, 0
	for {
		page, next, err := v.Messages(t.Context(), v.bob.ID, v.conversation, before, 10)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, page...)
		pages++
		if next == chat.NoMessage {
			break
		}
		if before != chat.NoMessage && next.Compare(before) >= 0 {
			t.Fatal("next does not go on")
		}
		before = next
	}
	if len(seen) != 1 || seen[0].ID != oldest.ID || pages < 2 || pages > 20 {
		t.Errorf("%d messages in %d pages", len(seen), pages)
	}
	c, err := v.Conversation(t.Context(), v.bob.ID, v.conversation)
	if err != nil || c.Last != nil || c.UpdatedAt != newest.ID.Time() {
		t.Errorf("conversation: %+v, %v", c, err)
	}
}

// Marks only move forward, whatever rows there are, and who has read has received.
func TestMarksInTheView(t *testing.T) {
	v := newView(t)
	one, two, three := v.message(1, v.carl), v.message(2, v.bob), v.message(3, v.carl)
	mark := func(user chat.Owner, kind chat.MarkKind, upTo chat.MessageID) chat.MarkRow {
		return chat.MarkRow{Owner: v.bob.ID, Mark: chat.Mark{Conversation: v.conversation, User: user.ID, Kind: kind, UpTo: upTo}}
	}
	v.commit(t, chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{one, two, three}, Marks: []chat.MarkRow{
		mark(v.carl, chat.MarkDelivered, one.ID), mark(v.carl, chat.MarkRead, two.ID), mark(v.bob, chat.MarkDelivered, three.ID), mark(v.bob, chat.MarkRead, one.ID),
	}}})
	c, err := v.Conversation(t.Context(), v.bob.ID, v.conversation)
	if err != nil || c.Read != one.ID || c.PeerRead != two.ID || c.PeerDelivered != two.ID || c.Unread != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}
