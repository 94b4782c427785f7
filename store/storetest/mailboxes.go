package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"meridian/chat"
)

func same(t testing.TB, what string, have, want any) {
	t.Helper()
	if d := cmp.Diff(want, have, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("%s differs (-want +have):\n%s", what, d)
	}
}

// Messages come newest first, in pages without gap or repeat, for one owner and conversation only; a row comes back whole.
func testMessages(t *testing.T, f Factory) {
	s := fresh(t, f)
	var all []chat.MessageRow
	for n := 1; n <= 25; n++ {
		row := messageRow(1, 1, n)
		if n == 3 {
			row.ReplyTo, row.AliasOf = message(2), message(1)
		}
		all = append(all, row)
		must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{row, messageRow(1, 2, n), messageRow(2, 1, n)}}}))
	}
	slices.Reverse(all)
	page := got[[]chat.MessageRow](t)
	same(t, "the whole conversation", page(s.Messages(ctx, user(1), conversation(1), chat.NoMessage, 1000)), all)
	var paged []chat.MessageRow
	for before := chat.NoMessage; ; {
		rows := page(s.Messages(ctx, user(1), conversation(1), before, 10))
		if len(rows) == 0 {
			break
		}
		paged = append(paged, rows...)
		before = rows[len(rows)-1].ID
	}
	same(t, "the pages together", paged, all)
	for _, limit := range []int{0, -1, 1001} {
		_, err := s.Messages(ctx, user(1), conversation(1), chat.NoMessage, limit)
		wantCode(t, err, chat.CodeInvalid)
	}
	row, ok, err := s.Message(ctx, user(1), conversation(1), message(3))
	must(t, err)
	same(t, "one message", []any{row, ok}, []any{all[22], true})
	if _, ok, err := s.Message(ctx, user(9), conversation(1), message(3)); ok || err != nil {
		t.Fatalf("a message that is not there: ok %v, error %v", ok, err)
	}
}

// The order of messages is MessageID.Compare: time, then the low eight bytes as signed bytes.
func testMessageOrder(t *testing.T, f Factory) {
	s := fresh(t, f)
	var ids []chat.MessageID
	for n := range 300 {
		ids = append(ids, chat.NewMessageID(at(n/60), user(n), client(n))) // 60 of one microsecond
	}
	for _, low := range []byte{0x00, 0x01, 0x7f, 0x80, 0x81, 0xff} { // the sign of each low byte counts
		id := chat.NewMessageID(at(2), user(1), client(1))
		id[9], id[15] = low, ^low
		ids = append(ids, id)
	}
	b := &chat.Batch{}
	for _, id := range ids {
		b.Messages = append(b.Messages, chat.MessageRow{Owner: user(1), OwnerZone: "world", Conversation: conversation(1), ID: id, Sender: user(1), Body: []byte("x")})
	}
	must(t, Commit(s, b))
	slices.SortFunc(ids, func(a, b chat.MessageID) int { return b.Compare(a) })
	var have []chat.MessageID
	for _, row := range got[[]chat.MessageRow](t)(s.Messages(ctx, user(1), conversation(1), chat.NoMessage, 1000)) {
		have = append(have, row.ID)
	}
	same(t, "the order", have, ids)
	for i := 0; i+1 < len(ids); i += 7 {
		rows := got[[]chat.MessageRow](t)(s.Messages(ctx, user(1), conversation(1), ids[i], 1))
		same(t, fmt.Sprintf("the message before number %d", i), rows[0].ID, ids[i+1])
	}
}

// An owner's inbox log comes in the order of arrival, across days, between the given times, and only the owner's.
func testInbox(t *testing.T, f Factory) {
	s := fresh(t, f)
	const step = 7 * 3600 * 1_000_000 // 7 hours: several days of entries
	var all []chat.InboxRow
	for n := range 30 {
		row := chat.InboxRow{
			Owner: user(1), Arrival: epoch + chat.HLC(n)*step, Op: message(n + 1), Kind: chat.InboxKind(n%6 + 1),
			Conversation: conversation(n), Actor: user(n), Ref: message(n), Mark: chat.MarkKind(n % 3),
		}
		all = append(all, row)
		other := row
		other.Owner = user(2)
		must(t, Commit(s, &chat.Batch{Inbox: []chat.InboxRow{other, row}}))
	}
	read := got[[]chat.InboxRow](t)
	same(t, "the whole log", read(s.Inbox(ctx, user(1), 0, ^chat.HLC(0), 1000)), all)
	for i := 0; i < len(all); i += 3 {
		same(t, "what follows an entry", read(s.Inbox(ctx, user(1), all[i].Arrival, all[29].Arrival, 1000)), all[i+1:])
		same(t, "a page", read(s.Inbox(ctx, user(1), all[i].Arrival-1, ^chat.HLC(0), 2)), all[i:min(i+2, 30)])
	}
	same(t, "an inner part", read(s.Inbox(ctx, user(1), all[4].Arrival, all[9].Arrival, 1000)), all[5:10])
	same(t, "an empty part", read(s.Inbox(ctx, user(1), all[4].Arrival, all[4].Arrival, 1000)), []chat.InboxRow{})
	same(t, "nobody's log", read(s.Inbox(ctx, user(3), 0, ^chat.HLC(0), 1000)), []chat.InboxRow{})
}

// A send's retry rows are found by sender and client id alone, ascending by id, however far apart they were written.
func testRetries(t *testing.T, f Factory) {
	s := fresh(t, f)
	const month = 30 * 24 * 3600 * 1_000_000
	var all []chat.RetryRow
	for n := range 4 {
		all = append(all, chat.RetryRow{
			Sender: user(1), Client: client(1), Conversation: conversation(n % 2), BodyHash: [32]byte{byte(n)},
			ID: chat.NewMessageID(epoch+chat.HLC(n)*month, user(1), client(1)), Stream: stream(1), Seq: uint64(n + 1),
		})
	}
	for n := 3; n >= 0; n-- {
		other := all[n]
		other.Client = client(n + 2)
		must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Retries: []chat.RetryRow{all[n], other}}}))
		must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Retries: []chat.RetryRow{all[n]}}}))
	}
	same(t, "the send's rows", got[[]chat.RetryRow](t)(s.Retries(ctx, user(1), client(1))), all)
	same(t, "an unknown send's rows", got[[]chat.RetryRow](t)(s.Retries(ctx, user(1), client(99))), []chat.RetryRow{})
	same(t, "another send's rows", len(got[[]chat.RetryRow](t)(s.Retries(ctx, user(1), client(3)))), 1)
}

// Marks only move forward.
func testMarks(t *testing.T, f Factory) {
	s := fresh(t, f)
	mark := func(who int, kind chat.MarkKind, upTo chat.MessageID) chat.MarkRow {
		return chat.MarkRow{Owner: user(1), Mark: chat.Mark{Conversation: conversation(1), User: user(who), Kind: kind, UpTo: upTo}}
	}
	for _, n := range []int{5, 9, 7} {
		must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Marks: []chat.MarkRow{mark(1, chat.MarkRead, message(n)), mark(2, chat.MarkDelivered, message(n+1))}}}))
	}
	must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Marks: []chat.MarkRow{mark(1, chat.MarkRead, chat.NoMessage)}}}))
	marks := got[[]chat.MarkRow](t)(s.Marks(ctx, user(1), conversation(1)))
	slices.SortFunc(marks, func(a, b chat.MarkRow) int { return int(b.Kind) - int(a.Kind) })
	same(t, "the marks", marks, []chat.MarkRow{mark(1, chat.MarkRead, message(9)), mark(2, chat.MarkDelivered, message(10))})
	same(t, "another owner's marks", got[[]chat.MarkRow](t)(s.Marks(ctx, user(2), conversation(1))), []chat.MarkRow{})
}

// A group is listed by the newest message in its own mailbox and, for who has left, by the leaving, whatever came after; a
// direct conversation by its own newest message. Pages of any size give each once.
func testActivities(t *testing.T, f Factory) {
	s := fresh(t, f)
	var want []chat.ActivityRow
	add := func(row chat.ConversationRow, newest int, rows chat.Rows) {
		rows.Conversations = append(rows.Conversations, row)
		must(t, Commit(s, &chat.Batch{Rows: rows}))
		want = append(want, chat.ActivityRow{ConversationRow: row, Newest: message(newest)})
	}
	group := func(n, entered int) chat.ConversationRow {
		return chat.ConversationRow{Owner: user(1), ID: conversation(n), Last: message(entered), Group: true}
	}
	own := func(n, last int) chat.ConversationRow {
		return chat.ConversationRow{Owner: groupOwner(n), ID: conversation(n), Last: message(last), Group: true}
	}
	step := func(n, who, op int, role chat.Role) chat.MemberRow {
		return chat.MemberRow{Owner: groupOwner(n), Conversation: conversation(n), User: peer(who), Op: message(op), Role: role, By: peer(who).ID, ByZone: "eu"}
	}
	add(group(1, 10), 10, chat.Rows{})                                                                            // nothing of it is here
	add(group(2, 20), 95, chat.Rows{Conversations: []chat.ConversationRow{own(2, 95)}})                           // written to
	add(group(3, 30), 30, chat.Rows{Conversations: []chat.ConversationRow{own(3, 5)}})                            // not since one is there
	add(group(4, 40), 50, chat.Rows{Conversations: []chat.ConversationRow{own(4, 96)}, Members: []chat.MemberRow{ // left
		step(4, 1, 40, chat.RoleMember), step(4, 1, 50, chat.RoleNone), step(4, 2, 97, chat.RoleMember),
	}})
	add(group(5, 60), 94, chat.Rows{Conversations: []chat.ConversationRow{own(5, 94)}, Members: []chat.MemberRow{ // came back
		step(5, 1, 41, chat.RoleMember), step(5, 1, 51, chat.RoleNone), step(5, 1, 60, chat.RoleAdmin),
	}})
	for n := 6; n < 40; n++ {
		last := 100 + (n*7)%34
		add(chat.ConversationRow{Owner: user(1), ID: conversation(n), Peer: peer(n), Last: message(last), Answered: n%2 == 0}, last, chat.Rows{})
	}
	slices.SortFunc(want, func(a, b chat.ActivityRow) int { return b.Newest.Compare(a.Newest) })
	read := got[[]chat.ActivityRow](t)
	same(t, "the list", read(s.Activities(ctx, user(1), chat.NoMessage, 100)), want)
	for _, limit := range []int{1, 2, 7} {
		var paged []chat.ActivityRow
		for before := chat.NoMessage; ; {
			page := read(s.Activities(ctx, user(1), before, limit))
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			before = page[len(page)-1].Newest
		}
		same(t, fmt.Sprintf("the pages of %d together", limit), paged, want)
	}
	same(t, "a group's own mailbox", read(s.Activities(ctx, groupOwner(4), chat.NoMessage, 10)), []chat.ActivityRow{{ConversationRow: own(4, 96), Newest: message(96)}})
	same(t, "another's", read(s.Activities(ctx, user(2), chat.NoMessage, 10)), []chat.ActivityRow{})
}

// Conversations come latest first; Last, Answered and Group only grow, the peer stays.
func testConversations(t *testing.T, f Factory) {
	s := fresh(t, f)
	row := func(n, last int, answered bool) chat.ConversationRow {
		return chat.ConversationRow{Owner: user(1), ID: conversation(n), Peer: peer(n), Last: message(last), Answered: answered}
	}
	for _, r := range []chat.ConversationRow{row(1, 10, false), row(2, 30, true), row(3, 20, false), row(1, 40, true), row(1, 5, false), row(2, 1, false)} {
		must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Conversations: []chat.ConversationRow{r}}}))
	}
	must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Conversations: []chat.ConversationRow{{Owner: user(1), ID: conversation(3)}, {Owner: user(2), ID: conversation(3)}}}}))
	list := got[[]chat.ConversationRow](t)
	group := row(2, 2, false)
	group.Group = true
	must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Conversations: []chat.ConversationRow{group}}}))
	must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Conversations: []chat.ConversationRow{row(2, 3, false)}}}))
	want := []chat.ConversationRow{row(1, 40, true), row(2, 30, true), row(3, 20, false)}
	want[1].Group = true
	same(t, "the list", list(s.Conversations(ctx, user(1), chat.NoMessage, 10)), want)
	same(t, "the first page", list(s.Conversations(ctx, user(1), chat.NoMessage, 2)), want[:2])
	same(t, "the next page", list(s.Conversations(ctx, user(1), message(30), 2)), want[2:])
	one, ok, err := s.Conversation(ctx, user(1), conversation(2))
	must(t, err)
	same(t, "one conversation", []any{one, ok}, []any{want[1], true})
	if _, ok, err := s.Conversation(ctx, user(1), conversation(9)); ok || err != nil {
		t.Fatalf("a conversation that is not there: ok %v, error %v", ok, err)
	}
}

// Contacts come by the other's id with both sides' rows; of each the larger version stays.
func testContacts(t *testing.T, f Factory) {
	s := fresh(t, f)
	row := func(other int, theirs, want bool, version int) chat.ContactRow {
		return chat.ContactRow{Owner: user(1), Other: peer(other), Theirs: theirs, Want: want, Version: at(version)}
	}
	want := map[chat.UserID][]chat.ContactRow{}
	for n := 10; n < 20; n++ {
		mine, theirs := row(n, false, true, 5), row(n, true, false, 9)
		must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Contacts: []chat.ContactRow{theirs, mine, row(n, true, true, 8), row(n, false, false, 4)}}}))
		want[user(n)] = []chat.ContactRow{mine, theirs}
	}
	must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Contacts: []chat.ContactRow{{Owner: user(2), Other: peer(10), Want: true, Version: 1}}}}))
	var have []chat.ContactRow
	for from := chat.NoUser; ; {
		page := got[[]chat.ContactRow](t)(s.Contacts(ctx, user(1), from, 3))
		if len(page) == 0 {
			break
		}
		if len(page) > 6 {
			t.Fatalf("a page of 3 others has %d rows", len(page))
		}
		from = page[len(page)-1].Other.ID
		have = append(have, page...)
	}
	if len(have) != 20 {
		t.Fatalf("%d rows, want 20", len(have))
	}
	for i := 0; i < len(have); i += 2 {
		if i > 0 && string(have[i].Other.ID[:]) <= string(have[i-1].Other.ID[:]) {
			t.Fatal("not ascending by the other's id")
		}
		same(t, "both sides", have[i:i+2], want[have[i].Other.ID])
		same(t, "the one contact", got[[]chat.ContactRow](t)(s.Contact(ctx, user(1), have[i].Other.ID)), have[i:i+2])
	}
}

// All steps of a blocking are kept, ascending by the other's id and time.
func testBlocks(t *testing.T, f Factory) {
	s := fresh(t, f)
	var want []chat.BlockRow
	for n := range 12 {
		row := chat.BlockRow{Owner: user(1), Other: peer(n % 3), Time: at(100 - n), On: n%2 == 0}
		want = append(want, row)
		must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Blocks: []chat.BlockRow{row, {Owner: user(2), Other: peer(1), Time: at(n)}}}}))
	}
	slices.SortFunc(want, func(a, b chat.BlockRow) int {
		if c := slices.Compare(a.Other.ID[:], b.Other.ID[:]); c != 0 {
			return c
		}
		return int(a.Time) - int(b.Time)
	})
	same(t, "the steps", got[[]chat.BlockRow](t)(s.Blocks(ctx, user(1))), want)
}
