package storetest

import (
	"bytes"
	"slices"
	"testing"

	"meridian/chat"
)

func changeRow(target int, kind chat.ChangeKind, who int, emoji string, on bool, op int) chat.ChangeRow {
	row := chat.ChangeRow{
		Owner: user(1), OwnerZone: "world", Conversation: conversation(1), Target: message(target), Kind: kind, User: user(who),
		Emoji: emoji, On: on, Op: message(op), Client: client(op), Version: at(op),
	}
	if kind == chat.ChangeEdit {
		row.Body = []byte("edited")
	}
	return row
}

// Changes come by target, kind, user and emoji, in ranges of targets; of each the larger (version, op) stays; every alias and
// every deletion of a target is kept.
func testChanges(t *testing.T, f Factory) {
	s := fresh(t, f)
	var all []chat.ChangeRow
	for target := 1; target <= 5; target++ {
		rows := []chat.ChangeRow{
			changeRow(target, chat.ChangeEdit, 1, "", false, 20+target),
			changeRow(target, chat.ChangeDelete, 2, "", false, 30),
			changeRow(target, chat.ChangeDelete, 2, "", false, 31),
			changeRow(target, chat.ChangeReaction, 1, "+1", true, 40),
			changeRow(target, chat.ChangeReaction, 1, "heart", false, 41),
			changeRow(target, chat.ChangeReaction, 2, "+1", true, 42),
			changeRow(target, chat.ChangeAlias, 1, "", false, 50),
			changeRow(target, chat.ChangeAlias, 1, "", false, 51),
		}
		for _, row := range rows {
			older := row
			if row.Kind != chat.ChangeAlias && row.Kind != chat.ChangeDelete {
				older.Op, older.Version, older.On, older.Body = message(10), at(10), !row.On, nil
			}
			other, elsewhere := row, row
			other.Owner, elsewhere.Conversation = user(2), conversation(2)
			must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Changes: []chat.ChangeRow{row, other, elsewhere}}}))
			must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Changes: []chat.ChangeRow{older}}}))
		}
		all = append(all, rows...)
	}
	slices.SortStableFunc(all, compareChanges)
	read := got[[]chat.ChangeRow](t)
	changes := func(from, to chat.MessageID, limit int) []chat.ChangeRow {
		return read(s.Changes(ctx, user(1), conversation(1), from, to, limit))
	}
	same(t, "all changes", changes(chat.NoMessage, message(99), 1000), all)
	same(t, "those of one message", changes(message(3), message(3), 1000), all[16:24])
	same(t, "those of some", changes(message(2), message(4), 1000), all[8:32])
	same(t, "the first of them", changes(message(2), message(4), 10), all[8:18])
	same(t, "those of none", changes(message(6), message(99), 10), []chat.ChangeRow{})
	same(t, "an empty range", changes(message(4), message(2), 10), []chat.ChangeRow{})
	same(t, "another conversation's", read(s.Changes(ctx, user(1), conversation(3), chat.NoMessage, message(99), 10)), []chat.ChangeRow{})
}

func compareChanges(a, b chat.ChangeRow) int {
	if c := a.Target.Compare(b.Target); c != 0 {
		return c
	}
	if c := int(a.Kind) - int(b.Kind); c != 0 {
		return c
	}
	if c := bytes.Compare(a.User[:], b.User[:]); c != 0 {
		return c
	}
	if c := bytes.Compare([]byte(a.Emoji), []byte(b.Emoji)); c != 0 {
		return c
	}
	return a.Op.Compare(b.Op)
}

// groupOwner is the owner of a group's rows: the conversation.
func groupOwner(n int) chat.UserID { return chat.UserID(conversation(n)) }

func groupRow(n int, name string, op int) chat.GroupRow {
	return chat.GroupRow{
		Owner: groupOwner(n), Conversation: conversation(n), Name: name, By: user(op), ByZone: "eu", Client: client(op), Op: message(op), Made: op == 1,
	}
}

// Every name of a group is kept, in the order of the ops, whatever came first: the making or a renaming.
func testGroups(t *testing.T, f Factory) {
	s := fresh(t, f)
	want := []chat.GroupRow{groupRow(1, "climbers", 1), groupRow(1, "runners", 5), groupRow(1, "walkers", 9)}
	for _, row := range []chat.GroupRow{want[1], want[0], want[2], want[1], groupRow(2, "others", 2)} {
		must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Groups: []chat.GroupRow{row}}}))
	}
	read := got[[]chat.GroupRow](t)
	same(t, "the names", read(s.GroupNames(ctx, groupOwner(1), conversation(1))), want)
	same(t, "a group that is not there", read(s.GroupNames(ctx, groupOwner(3), conversation(3))), []chat.GroupRow{})
}

// Every step of a membership is kept, in the order of the ops, and found for one person too; a zone has its smallest time.
func testMembers(t *testing.T, f Factory) {
	s := fresh(t, f)
	step := func(group, who, op int, role chat.Role) chat.MemberRow {
		return chat.MemberRow{
			Owner: groupOwner(group), Conversation: conversation(group), User: peer(who), Op: message(op), Role: role, By: user(9), ByZone: "eu", Client: client(op), Made: op == 1,
		}
	}
	want := []chat.MemberRow{
		step(1, 1, 1, chat.RoleOwner), step(1, 2, 1, chat.RoleMember), step(1, 3, 4, chat.RoleMember), step(1, 2, 6, chat.RoleAdmin),
		step(1, 2, 8, chat.RoleNone),
	}
	slices.SortFunc(want[:2], func(a, b chat.MemberRow) int { return bytes.Compare(a.User.ID[:], b.User.ID[:]) })
	for _, row := range slices.Backward(want) {
		must(t, Commit(s, &chat.Batch{Rows: chat.Rows{Members: []chat.MemberRow{row, step(2, 2, 3, chat.RoleMember), row}}}))
	}
	read := got[[]chat.MemberRow](t)
	same(t, "the steps", read(s.Members(ctx, groupOwner(1), conversation(1), chat.NoUser)), want)
	var of2 []chat.MemberRow
	for _, row := range want {
		if row.User.ID == user(2) {
			of2 = append(of2, row)
		}
	}
	same(t, "one person's steps", read(s.Members(ctx, groupOwner(1), conversation(1), user(2))), of2)
	same(t, "a stranger's steps", read(s.Members(ctx, groupOwner(1), conversation(1), user(9))), []chat.MemberRow{})

	for _, since := range []int{7, 3, 5} {
		must(t, Commit(s, &chat.Batch{Rows: chat.Rows{GroupZones: []chat.GroupZoneRow{
			{Conversation: conversation(1), Zone: "world", Since: at(since)},
			{Conversation: conversation(1), Zone: "eu", Since: at(since + 10)},
			{Conversation: conversation(2), Zone: "in", Since: at(1)},
		}}}))
	}
	same(t, "the zones", got[[]chat.GroupZoneRow](t)(s.GroupZones(ctx, conversation(1))), []chat.GroupZoneRow{
		{Conversation: conversation(1), Zone: "eu", Since: at(13)}, {Conversation: conversation(1), Zone: "world", Since: at(3)},
	})
}

// Everybody with a mailbox, a group or an account is found once, in the order of the ids, in pages, with the zone where rows
// name it.
func testOwners(t *testing.T, f Factory) {
	s := fresh(t, f)
	var want []chat.OwnerRow
	for n := range 30 {
		id, zone := user(n), chat.Zone([]string{"eu", "world"}[n%2])
		rows := chat.Rows{Messages: []chat.MessageRow{messageRow(n, 1, 1), messageRow(n, 1, 2), messageRow(n, 2, 3)}}
		for i := range rows.Messages {
			rows.Messages[i].OwnerZone = zone
		}
		switch n % 4 {
		case 1:
			rows = chat.Rows{Accounts: []chat.Account{{ID: id, Zone: zone, Version: 1}}}
		case 2:
			rows, zone = chat.Rows{Conversations: []chat.ConversationRow{{Owner: id, ID: conversation(1), Last: message(1)}}}, ""
		case 3:
			id, zone = groupOwner(n), ""
			rows = chat.Rows{Groups: []chat.GroupRow{groupRow(n, "climbers", 1)}}
		}
		want = append(want, chat.OwnerRow{ID: id, Zone: zone})
		must(t, Commit(s, &chat.Batch{Rows: rows}))
	}
	slices.SortFunc(want, func(a, b chat.OwnerRow) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	read := got[[]chat.OwnerRow](t)
	same(t, "all owners", read(s.Owners(ctx, chat.NoUser, 1000)), want)
	var paged []chat.OwnerRow
	for from := chat.NoUser; ; {
		page := read(s.Owners(ctx, from, 7))
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		from = page[len(page)-1].ID
	}
	same(t, "the pages together", paged, want)
}
