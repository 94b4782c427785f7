package memstore

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"meridian/chat"
)

// ReadLog is as of chat.Log.
func (t *Tables) ReadLog(stream chat.StreamID, after, upTo uint64, to chat.Region, limit int) []chat.Op {
	var ops []chat.Op
	log := t.log[stream]
	i, _ := slices.BinarySearchFunc(log, after+1, func(op chat.Op, seq uint64) int { return cmp.Compare(op.Seq, seq) })
	for ; i < len(log) && log[i].Seq <= upTo && len(ops) < limit; i++ {
		if to == "" || slices.Contains(log[i].To, to) {
			ops = append(ops, log[i])
		}
	}
	return ops
}

// Positions is as of chat.Log.
func (t *Tables) Positions(stream chat.StreamID) map[chat.Region]uint64 {
	out := map[chat.Region]uint64{}
	maps.Copy(out, t.positions[stream])
	return out
}

// Applied is as of chat.Log, sorted by stream.
func (t *Tables) Applied() []chat.AppliedRow {
	rows := make([]chat.AppliedRow, 0, len(t.applied))
	for _, row := range t.applied {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b chat.AppliedRow) int { return compareStream(a.Stream, b.Stream) })
	return rows
}

// DeadLetters is as of chat.Log.
func (t *Tables) DeadLetters(limit int) []chat.DeadLetterRow {
	rows := make([]chat.DeadLetterRow, 0, len(t.dead))
	for _, row := range t.dead {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b chat.DeadLetterRow) int {
		return cmp.Or(cmp.Compare(b.At, a.At), compareStream(b.Stream, a.Stream), cmp.Compare(b.Seq, a.Seq))
	})
	return rows[:min(limit, len(rows))]
}

// Refusals is as of chat.Log.
func (t *Tables) Refusals(ops []chat.MessageID) []chat.RefusalRow {
	ops = slices.Clone(ops)
	slices.SortFunc(ops, chat.MessageID.Compare)
	var rows []chat.RefusalRow
	for _, op := range slices.Compact(ops) {
		rows = append(rows, t.refusals[op]...)
	}
	return rows
}

func compareStream(a, b chat.StreamID) int {
	return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Incarnation, b.Incarnation))
}

// Messages is as of chat.Mailboxes.
func (t *Tables) Messages(owner chat.UserID, conversation chat.ConversationID, before chat.MessageID, limit int) []chat.MessageRow {
	var rows []chat.MessageRow
	for _, row := range t.messages[mailbox{owner, conversation}] {
		if before == chat.NoMessage || row.ID.Compare(before) < 0 {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b chat.MessageRow) int { return b.ID.Compare(a.ID) })
	return rows[:min(limit, len(rows))]
}

// Message is as of chat.Mailboxes.
func (t *Tables) Message(owner chat.UserID, conversation chat.ConversationID, id chat.MessageID) (chat.MessageRow, bool) {
	row, ok := t.messages[mailbox{owner, conversation}][id]
	return row, ok
}

// AllMessages gives every copy, sorted by owner, conversation and id.
func (t *Tables) AllMessages() []chat.MessageRow {
	var rows []chat.MessageRow
	for _, m := range t.messages {
		for _, row := range m {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b chat.MessageRow) int {
		return cmp.Or(bytes.Compare(a.Owner[:], b.Owner[:]), bytes.Compare(a.Conversation[:], b.Conversation[:]), a.ID.Compare(b.ID))
	})
	return rows
}

// Inbox is as of chat.Mailboxes.
func (t *Tables) Inbox(owner chat.UserID, after, upTo chat.HLC, limit int) []chat.InboxRow {
	var rows []chat.InboxRow
	log := t.inbox[owner]
	i, _ := slices.BinarySearchFunc(log, after+1, func(row chat.InboxRow, at chat.HLC) int { return cmp.Compare(row.Arrival, at) })
	for ; i < len(log) && log[i].Arrival <= upTo && len(rows) < limit; i++ {
		rows = append(rows, log[i])
	}
	return rows
}

// Retries is as of chat.Mailboxes.
func (t *Tables) Retries(sender chat.UserID, client chat.ClientID) []chat.RetryRow {
	return slices.Clone(t.retries[send{sender, client}])
}

// Marks is as of chat.Mailboxes, sorted by user and kind.
func (t *Tables) Marks(owner chat.UserID, conversation chat.ConversationID) []chat.MarkRow {
	var marks []chat.MarkRow
	for k, upTo := range t.marks[mailbox{owner, conversation}] {
		marks = append(marks, chat.MarkRow{Owner: owner, Mark: chat.Mark{Conversation: conversation, User: k.user, Kind: k.kind, UpTo: upTo}})
	}
	slices.SortFunc(marks, func(a, b chat.MarkRow) int {
		return cmp.Or(bytes.Compare(a.User[:], b.User[:]), cmp.Compare(a.Kind, b.Kind))
	})
	return marks
}

// Conversations is as of chat.Mailboxes.
func (t *Tables) Conversations(owner chat.UserID, before chat.MessageID, limit int) []chat.ConversationRow {
	var rows []chat.ConversationRow
	for _, row := range t.conversations[owner] {
		if before == chat.NoMessage || row.Last.Compare(before) < 0 {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b chat.ConversationRow) int {
		return cmp.Or(b.Last.Compare(a.Last), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return rows[:min(limit, len(rows))]
}

// Activities is as of chat.Mailboxes.
func (t *Tables) Activities(owner chat.UserID, before chat.MessageID, limit int) []chat.ActivityRow {
	var rows []chat.ActivityRow
	for id, row := range t.conversations[owner] {
		a := chat.ActivityRow{ConversationRow: row, Newest: row.Last}
		if row.Group && chat.UserID(id) != owner {
			a.Newest = t.groupActivity(&row)
		}
		if before == chat.NoMessage || a.Newest.Compare(before) < 0 {
			rows = append(rows, a)
		}
	}
	slices.SortFunc(rows, func(a, b chat.ActivityRow) int {
		return cmp.Or(b.Newest.Compare(a.Newest), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return rows[:min(limit, len(rows))]
}

func (t *Tables) groupActivity(row *chat.ConversationRow) chat.MessageID {
	steps := t.Members(chat.UserID(row.ID), row.ID, row.Owner)
	if n := len(steps); n > 0 && steps[n-1].Role == chat.RoleNone {
		return steps[n-1].Op
	}
	if group, ok := t.Conversation(chat.UserID(row.ID), row.ID); ok && group.Last.Compare(row.Last) > 0 {
		return group.Last
	}
	return row.Last
}

// Conversation is as of chat.Mailboxes.
func (t *Tables) Conversation(owner chat.UserID, id chat.ConversationID) (chat.ConversationRow, bool) {
	row, ok := t.conversations[owner][id]
	return row, ok
}

// Contacts is as of chat.Mailboxes.
func (t *Tables) Contacts(owner, after chat.UserID, limit int) []chat.ContactRow {
	var rows []chat.ContactRow
	for _, row := range t.contacts[owner] {
		if bytes.Compare(row.Other.ID[:], after[:]) > 0 {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, compareContact)
	others := 0
	for i := range rows {
		if i == 0 || rows[i].Other.ID != rows[i-1].Other.ID {
			if others++; others > limit {
				return rows[:i]
			}
		}
	}
	return rows
}

func compareContact(a, b chat.ContactRow) int {
	side := func(theirs bool) int {
		if theirs {
			return 1
		}
		return 0
	}
	return cmp.Or(bytes.Compare(a.Other.ID[:], b.Other.ID[:]), cmp.Compare(side(a.Theirs), side(b.Theirs)))
}

// Contact is as of chat.Mailboxes.
func (t *Tables) Contact(owner, other chat.UserID) []chat.ContactRow {
	var rows []chat.ContactRow
	for _, theirs := range []bool{false, true} {
		if row, ok := t.contacts[owner][contactKey{other, theirs}]; ok {
			rows = append(rows, row)
		}
	}
	return rows
}

// Blocks is as of chat.Mailboxes.
func (t *Tables) Blocks(owner chat.UserID) []chat.BlockRow {
	var rows []chat.BlockRow
	for _, row := range t.blocks[owner] {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b chat.BlockRow) int {
		return cmp.Or(bytes.Compare(a.Other.ID[:], b.Other.ID[:]), cmp.Compare(a.Time, b.Time))
	})
	return rows
}

// Sessions is as of chat.Accounts.
func (t *Tables) Sessions(user chat.UserID) []chat.Session {
	var list []chat.Session
	for _, s := range t.sessions[user] {
		if !s.Revoked {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b chat.Session) int {
		return cmp.Or(cmp.Compare(b.CreatedAt, a.CreatedAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return list
}

// AccountOf gives the account of id, or the zero one.
func (t *Tables) AccountOf(id chat.UserID) chat.Account { return t.accounts[id] }
