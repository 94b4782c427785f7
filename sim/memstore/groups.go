package memstore

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"meridian/chat"
)

// applyGroups merges changes of messages, and groups.
func (t *Tables) applyGroups(b *chat.Rows) {
	for _, row := range b.Changes {
		m := inner(t.changes, mailbox{row.Owner, row.Conversation})
		k := changeKey{target: row.Target, kind: row.Kind, user: row.User, emoji: row.Emoji}
		if row.Kind.Each() {
			k.op = row.Op
		}
		if old, ok := m[k]; ok && !(row.Version > old.Version || row.Version == old.Version && row.Op.Compare(old.Op) > 0) {
			continue
		}
		m[k] = row
	}
	for _, row := range b.Groups {
		m := inner(t.groups, mailbox{row.Owner, row.Conversation})
		if old, ok := m[row.Op]; ok {
			row = larger(row, old)
		}
		m[row.Op] = row
	}
	for _, row := range b.Members {
		m, k := inner(t.members, mailbox{row.Owner, row.Conversation}), memberKey{row.User.ID, row.Op}
		if old, ok := m[k]; ok {
			row = larger(row, old)
		}
		m[k] = row
	}
	for _, row := range b.GroupZones {
		m := inner(t.groupZones, row.Conversation)
		if old, ok := m[row.Zone]; !ok || row.Since < old {
			m[row.Zone] = row.Since
		}
	}
}

// Changes is as of chat.Mailboxes.
func (t *Tables) Changes(owner chat.UserID, conversation chat.ConversationID, from, to chat.MessageID, limit int) []chat.ChangeRow {
	var rows []chat.ChangeRow
	for k, row := range t.changes[mailbox{owner, conversation}] {
		if k.target.Compare(from) >= 0 && k.target.Compare(to) <= 0 {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b chat.ChangeRow) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Kind, b.Kind), bytes.Compare(a.User[:], b.User[:]),
			cmp.Compare(a.Emoji, b.Emoji), a.Op.Compare(b.Op))
	})
	return rows[:min(limit, len(rows))]
}

// GroupNames is as of chat.Mailboxes.
func (t *Tables) GroupNames(owner chat.UserID, conversation chat.ConversationID) []chat.GroupRow {
	return slices.SortedFunc(maps.Values(t.groups[mailbox{owner, conversation}]), func(a, b chat.GroupRow) int { return a.Op.Compare(b.Op) })
}

// Members is as of chat.Mailboxes.
func (t *Tables) Members(owner chat.UserID, conversation chat.ConversationID, user chat.UserID) []chat.MemberRow {
	var rows []chat.MemberRow
	for k, row := range t.members[mailbox{owner, conversation}] {
		if user == chat.NoUser || k.user == user {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b chat.MemberRow) int {
		return cmp.Or(a.Op.Compare(b.Op), bytes.Compare(a.User.ID[:], b.User.ID[:]))
	})
	return rows
}

// Steps counts the steps of a group's memberships.
func (t *Tables) Steps(owner chat.UserID, conversation chat.ConversationID) int {
	return len(t.members[mailbox{owner, conversation}])
}

// GroupZones is as of chat.Mailboxes.
func (t *Tables) GroupZones(conversation chat.ConversationID) []chat.GroupZoneRow {
	var rows []chat.GroupZoneRow
	for zone, since := range t.groupZones[conversation] {
		rows = append(rows, chat.GroupZoneRow{Conversation: conversation, Zone: zone, Since: since})
	}
	slices.SortFunc(rows, func(a, b chat.GroupZoneRow) int { return cmp.Compare(a.Zone, b.Zone) })
	return rows
}

// Parked is as of chat.Log.
func (t *Tables) Parked() []chat.ParkedRow {
	rows := make([]chat.ParkedRow, 0, len(t.parked))
	for _, row := range t.parked {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b chat.ParkedRow) int {
		return cmp.Or(compareStream(a.Op.Stream, b.Op.Stream), cmp.Compare(a.Op.Seq, b.Op.Seq), a.Op.ID.Compare(b.Op.ID))
	})
	return rows
}

// Streams is as of chat.Log.
func (t *Tables) Streams() []chat.StreamEnd {
	var ends []chat.StreamEnd
	for stream, ops := range t.log {
		if len(ops) > 0 {
			ends = append(ends, chat.StreamEnd{Stream: stream, Seq: ops[len(ops)-1].Seq})
		}
	}
	slices.SortFunc(ends, func(a, b chat.StreamEnd) int { return compareStream(a.Stream, b.Stream) })
	return ends
}

// Owners is as of chat.Mailboxes.
func (t *Tables) Owners(after chat.UserID, limit int) []chat.OwnerRow {
	zones := map[chat.UserID]chat.Zone{}
	see := func(id chat.UserID, zone chat.Zone) {
		if bytes.Compare(id[:], after[:]) > 0 {
			zones[id] = max(zones[id], zone)
		}
	}
	for k, m := range t.messages {
		see(k.owner, "")
		for _, row := range m {
			see(k.owner, row.OwnerZone)
		}
	}
	for id, a := range t.accounts {
		see(id, a.Zone)
	}
	for id := range t.conversations {
		see(id, "")
	}
	for k := range t.groups {
		see(k.owner, "")
	}
	for k := range t.members {
		see(k.owner, "")
	}
	for id := range t.contacts {
		see(id, "")
	}
	for id := range t.blocks {
		see(id, "")
	}
	rows := make([]chat.OwnerRow, 0, len(zones))
	for id, zone := range zones {
		rows = append(rows, chat.OwnerRow{ID: id, Zone: zone})
	}
	slices.SortFunc(rows, func(a, b chat.OwnerRow) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return rows[:min(limit, len(rows))]
}
