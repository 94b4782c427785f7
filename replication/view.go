package replication

import (
	"bytes"
	"cmp"
	"slices"

	"meridian/chat"
)

// Viewed is a message as somebody is shown it.
type Viewed struct {
	Body      []byte // nil when Deleted
	EditedAt  chat.HLC
	Deleted   bool
	Reactions []Reaction // by Emoji
}

// Reaction is who reacted to a message with Emoji.
type Reaction struct {
	Emoji string
	Users []chat.UserID // in the order in which they did
}

// Names gives the ids that the message id goes by, its own first, from the changes of that id: changes of each of them are
// changes of the message.
func Names(id chat.MessageID, changes []chat.ChangeRow) []chat.MessageID {
	names := []chat.MessageID{id}
	for i := range changes {
		if c := &changes[i]; c.Kind == chat.ChangeAlias && c.Target == id {
			names = append(names, c.Op)
		}
	}
	return names
}

// Counts says whether a change of message row counts for reader; group is the fold of the group's members, nil for a direct
// conversation. Only an edit of the sender does, and a deletion by the sender or by who was owner or admin then. In a group
// nothing counts that was done by who was not in it, and reader is not shown what was done while out of it; but what is
// deleted is deleted for everybody.
func Counts(row *chat.MessageRow, c *chat.ChangeRow, group *Members, reader chat.UserID) bool {
	switch c.Kind {
	case chat.ChangeDelete:
		return c.User == row.Sender || group != nil && group.RoleAt(c.User, c.Version) >= chat.RoleAdmin
	case chat.ChangeEdit:
		return c.User == row.Sender && (group == nil || group.Shows(reader, c.User, c.Version))
	case chat.ChangeReaction:
		return group == nil || group.Shows(reader, c.User, c.Version)
	}
	return false
}

// View gives the message row as reader is shown it. changes are those of all its names, in any order.
func View(row *chat.MessageRow, changes []chat.ChangeRow, group *Members, reader chat.UserID) Viewed {
	v := Viewed{Body: row.Body}
	var edit *chat.ChangeRow
	reactions := map[reactionKey]*chat.ChangeRow{}
	for i := range changes {
		c := &changes[i]
		if !Counts(row, c, group, reader) {
			continue
		}
		switch c.Kind {
		case chat.ChangeDelete:
			return Viewed{Deleted: true}
		case chat.ChangeEdit:
			if edit == nil || newerChange(c, edit) {
				edit = c
			}
		case chat.ChangeReaction:
			k := reactionKey{c.Emoji, c.User}
			if old, ok := reactions[k]; !ok || newerChange(c, old) {
				reactions[k] = c
			}
		}
	}
	if edit != nil {
		v.Body, v.EditedAt = edit.Body, edit.Version
	}
	v.Reactions = gather(reactions)
	return v
}

type reactionKey struct {
	emoji string
	user  chat.UserID
}

func newerChange(a, b *chat.ChangeRow) bool {
	return cmp.Or(cmp.Compare(a.Version, b.Version), a.Op.Compare(b.Op)) > 0
}

// gather sorts the reactions that are set.
func gather(newest map[reactionKey]*chat.ChangeRow) []Reaction {
	var set []*chat.ChangeRow
	for _, c := range newest {
		if c.On {
			set = append(set, c)
		}
	}
	slices.SortFunc(set, func(a, b *chat.ChangeRow) int {
		return cmp.Or(cmp.Compare(a.Emoji, b.Emoji), cmp.Compare(a.Version, b.Version), bytes.Compare(a.User[:], b.User[:]))
	})
	var list []Reaction
	for _, c := range set {
		if n := len(list); n == 0 || list[n-1].Emoji != c.Emoji {
			list = append(list, Reaction{Emoji: c.Emoji})
		}
		last := &list[len(list)-1]
		last.Users = append(last.Users, c.User)
	}
	return list
}
