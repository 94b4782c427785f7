package people

import (
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/groups"
	"meridian/replication"
)

// withGroups gives the view groups, and one of carl's that bob is in from 10 to 20 and from 30 on.
func withGroups(t *testing.T) (*view, chat.ConversationID) {
	v := newView(t)
	cfg := config.Default()
	v.opt.Groups = groups.New(groups.Options{
		Self: "us-east", Limits: cfg.Limits, Topology: cfg.Topology(), Store: v.store,
		Marks: func() replication.Marks { return replication.Marks{} }, Now: time.Now,
	})
	return v, v.group(t, 7, [][2]int{{10, 1}, {20, 0}, {30, 1}}...)
}

// group writes a group that carl made at 5, and bob's steps: when, and which role.
func (v *view) group(t *testing.T, n byte, steps ...[2]int) chat.ConversationID {
	t.Helper()
	id := chat.ConversationID{n, 15: n}
	b := &chat.Batch{}
	at := func(at int) chat.MessageID { return v.message(at*1000+int(n), v.carl).ID }
	made := at(5)
	b.Groups = []chat.GroupRow{{Owner: chat.UserID(id), Conversation: id, Made: true, Name: "g", By: v.carl.ID, ByZone: v.carl.Zone, Op: made}}
	row := chat.MemberRow{Owner: chat.UserID(id), Conversation: id, User: v.carl, Op: made, Role: chat.RoleOwner, By: v.carl.ID, ByZone: v.carl.Zone, Made: true}
	b.Members = append(b.Members, row)
	for _, s := range steps {
		row.User, row.Op, row.Role, row.Made = v.bob, at(s[0]), chat.Role(s[1]), false
		b.Members = append(b.Members, row)
		if row.Role != chat.RoleNone {
			b.Conversations = append(b.Conversations, chat.ConversationRow{Owner: v.bob.ID, ID: id, Last: row.Op, Group: true})
		}
	}
	v.write(t, b)
	return id
}

// say writes a message of carl's into a group.
func (v *view) say(t *testing.T, id chat.ConversationID, at int) chat.MessageID {
	t.Helper()
	m := v.message(at*1000+int(id[0]), v.carl)
	m.Owner, m.Conversation = chat.UserID(id), id
	v.write(t, &chat.Batch{Rows: chat.Rows{
		Messages:      []chat.MessageRow{m},
		Conversations: []chat.ConversationRow{{Owner: chat.UserID(id), ID: id, Last: m.ID, Group: true}},
	}})
	return m.ID
}

func (v *view) write(t *testing.T, b *chat.Batch) {
	t.Helper()
	done := make(chan error, 1)
	v.store.Commit(b, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Of a group one reads and counts what was written while one was in it, in pages that go from one stay to the one before.
func TestStaysInAGroup(t *testing.T) {
	v, id := withGroups(t)
	var in []chat.MessageID
	for _, at := range []int{6, 12, 13, 25, 31, 32} {
		m := v.say(t, id, at)
		if at != 6 && at != 25 {
			in = append(in, m)
		}
	}
	var seen []chat.MessageID
	for before := chat.NoMessage; ; {
		list, next, err := v.Messages(t.Context(), v.bob.ID, id, before, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			seen = append(seen, m.ID)
		}
		if next == chat.NoMessage {
			break
		}
		before = next
	}
	if len(seen) != 4 || seen[0] != in[3] || seen[1] != in[2] || seen[2] != in[1] || seen[3] != in[0] {
		t.Errorf("bob reads %v, not %v backwards", seen, in)
	}
	c, err := v.Conversation(t.Context(), v.bob.ID, id)
	if err != nil || c.Unread != 4 || c.Role != chat.RoleMember || c.Last == nil || c.Last.ID != in[3] || c.Group.Name != "g" {
		t.Errorf("%+v, %v", c, err)
	}
	v.write(t, &chat.Batch{Rows: chat.Rows{Marks: []chat.MarkRow{{
		Owner: chat.UserID(id), Mark: chat.Mark{Conversation: id, User: v.bob.ID, Kind: chat.MarkRead, UpTo: in[1]},
	}}}})
	if c, _ = v.Conversation(t.Context(), v.bob.ID, id); c.Unread != 2 || c.Read != in[1] {
		t.Errorf("after reading two: %d unread, read %v", c.Unread, c.Read)
	}
	v.write(t, &chat.Batch{Rows: chat.Rows{Marks: []chat.MarkRow{{
		Owner: v.bob.ID, Mark: chat.Mark{Conversation: id, User: v.bob.ID, Kind: chat.MarkRead, UpTo: in[3]},
	}}}})
	if c, _ = v.Conversation(t.Context(), v.bob.ID, id); c.Unread != 0 || c.Read != in[3] {
		t.Errorf("after reading all in the own mailbox: %d unread, read %v", c.Unread, c.Read)
	}
}

// Groups and direct conversations stand in one list by their latest activity, page by page; a group that one has left stays
// where one left it.
func TestGroupsInTheList(t *testing.T) {
	v, seven := withGroups(t)
	eight := v.group(t, 8, [2]int{10, 1}, [2]int{40, 0})
	nine := v.group(t, 9, [2]int{10, 1})
	v.say(t, seven, 60)
	v.say(t, eight, 70) // after bob left
	v.say(t, nine, 35)
	v.commit(t, chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{v.message(50_000, v.carl)}}})
	want := []chat.ConversationID{seven, v.conversation, eight, nine}
	for limit := 1; limit <= 5; limit++ {
		var got []chat.ConversationID
		for before := chat.NoMessage; ; {
			list, next, err := v.Conversations(t.Context(), v.bob.ID, before, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				got = append(got, c.ID)
			}
			if before = next; next == chat.NoMessage {
				break
			}
		}
		if len(got) != len(want) {
			t.Fatalf("pages of %d: %d conversations", limit, len(got))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("pages of %d: conversation %d is %v", limit, i, got[i])
			}
		}
	}
	c, err := v.Conversation(t.Context(), v.bob.ID, eight)
	if err != nil || c.Role != chat.RoleNone || c.Last != nil || c.Unread != 0 {
		t.Errorf("the group that bob left: %+v, %v", c, err)
	}
}

// A message is shown with its edits and reactions, those of an alias among them, and without reactions of somebody blocked.
func TestChangesInTheView(t *testing.T) {
	v := newView(t)
	m, alias := v.message(1, v.carl), v.message(2, v.carl)
	alias.AliasOf = m.ID
	change := func(target chat.MessageID, kind chat.ChangeKind, by chat.UserID, at int, emoji, text string) chat.ChangeRow {
		op := v.message(at, v.carl).ID
		return chat.ChangeRow{
			Owner: v.bob.ID, Conversation: v.conversation, Target: target, Kind: kind, User: by, Emoji: emoji, On: true, Op: op,
			Version: op.Time(), Body: []byte(text),
		}
	}
	other := change(m.ID, chat.ChangeAlias, v.carl.ID, 0, "", "")
	other.Op = alias.ID
	v.commit(t, chat.Batch{Rows: chat.Rows{
		Messages: []chat.MessageRow{m, alias},
		Changes: []chat.ChangeRow{
			other, change(alias.ID, chat.ChangeEdit, v.carl.ID, 10, "", "edited"), change(m.ID, chat.ChangeReaction, v.bob.ID, 11, "+", ""),
			change(m.ID, chat.ChangeReaction, v.carl.ID, 31, "-", ""),
		},
		Blocks: []chat.BlockRow{{Owner: v.bob.ID, Other: v.carl, Time: v.message(30, v.carl).ID.Time(), On: true}},
	}})
	list, _, err := v.Messages(t.Context(), v.bob.ID, v.conversation, chat.NoMessage, 10)
	if err != nil || len(list) != 1 || string(list[0].Viewed.Body) != "edited" || len(list[0].Reactions) != 1 || list[0].Reactions[0].Emoji != "+" {
		t.Errorf("%+v, %v", list, err)
	}
}
