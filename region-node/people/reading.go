package people

import (
	"context"
	"slices"

	"meridian/chat"
	"meridian/region-node/groups"
	"meridian/replication"
)

// changesAtOnce bounds the changes that are read at once; a page of messages with more is read message by message, and of a
// message with more the rest is not shown.
const changesAtOnce = 20_000

// refusalsAtOnce bounds the messages whose refusals are read at once.
const refusalsAtOnce = 1000

// Shown is a message as somebody is shown it.
type Shown struct {
	chat.MessageRow
	replication.Viewed
	Refusals []chat.RefusalRow // of regions that will not have it; for its sender only
}

// Reader is who reads a conversation, and in whose name it is kept.
type Reader struct {
	User    chat.UserID
	Mailbox chat.UserID // the reader, or the group itself
	Blocks  *Blocks
	Group   *groups.Group // nil for a direct conversation
}

// members gives the fold of the group, nil for a direct conversation.
func (r *Reader) members() *replication.Members {
	if r.Group == nil {
		return nil
	}
	return r.Group.Members
}

// Sees says whether what sender did at t is shown to the reader: no block hides it, and in a group both were in it then.
func (r *Reader) Sees(sender chat.UserID, t chat.HLC) bool {
	if r.Blocks.Hidden(sender, t) {
		return false
	}
	return r.Group == nil || r.Group.Members.Shows(r.User, sender, t)
}

// visible says whether m is shown: it is no alias, and the reader sees what its sender did.
func (r *Reader) visible(m *chat.MessageRow) bool {
	return m.AliasOf == chat.NoMessage && r.Sees(m.Sender, m.ID.Time())
}

// Show gives messages of one conversation, newest first as read from the store, as r is shown them.
func (s *Service) Show(ctx context.Context, r *Reader, rows ...chat.MessageRow) ([]Shown, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	changes, err := s.changes(ctx, r, rows)
	if err != nil {
		return nil, err
	}
	list := make([]Shown, len(rows))
	for i := range rows {
		list[i] = Shown{MessageRow: rows[i], Viewed: replication.View(&rows[i], changes[rows[i].ID], r.members(), r.User)}
	}
	return list, s.refusals(ctx, r, list, changes)
}

// refusals adds to the reader's own messages which regions refused them, under whatever name.
func (s *Service) refusals(ctx context.Context, r *Reader, list []Shown, changes map[chat.MessageID][]chat.ChangeRow) error {
	of := make(map[chat.MessageID]*Shown)
	var names []chat.MessageID
	for i := range list {
		if m := &list[i]; m.Sender == r.User {
			for _, name := range replication.Names(m.ID, changes[m.ID]) {
				of[name] = m
				names = append(names, name)
			}
		}
	}
	for part := range slices.Chunk(names, refusalsAtOnce) {
		rows, err := s.opt.Store.Refusals(ctx, part)
		if err != nil {
			return err
		}
		for i := range rows {
			m := of[rows[i].Op]
			m.Refusals = append(m.Refusals, rows[i])
		}
	}
	return nil
}

// changes reads the changes of messages, by message, those of its other names with them; without reactions of people whom
// the reader blocked then.
func (s *Service) changes(ctx context.Context, r *Reader, rows []chat.MessageRow) (map[chat.MessageID][]chat.ChangeRow, error) {
	conversation, oldest, newest := rows[0].Conversation, rows[len(rows)-1].ID, rows[0].ID
	all, err := s.opt.Store.Changes(ctx, r.Mailbox, conversation, oldest, newest, changesAtOnce)
	if err != nil {
		return nil, err
	}
	byTarget := make(map[chat.MessageID][]chat.ChangeRow)
	if len(all) == changesAtOnce && len(rows) > 1 {
		for i := range rows {
			of, err := s.changes(ctx, r, rows[i:i+1])
			if err != nil {
				return nil, err
			}
			byTarget[rows[i].ID] = of[rows[i].ID]
		}
		return byTarget, nil
	}
	for _, c := range all {
		byTarget[c.Target] = append(byTarget[c.Target], c)
	}
	for i := range rows {
		id := rows[i].ID
		for _, name := range replication.Names(id, byTarget[id])[1:] {
			more, err := s.opt.Store.Changes(ctx, r.Mailbox, conversation, name, name, changesAtOnce)
			if err != nil {
				return nil, err
			}
			byTarget[id] = append(byTarget[id], more...)
		}
		byTarget[id] = slices.DeleteFunc(byTarget[id], func(c chat.ChangeRow) bool {
			return c.Kind == chat.ChangeReaction && r.Blocks.Hidden(c.User, c.Version)
		})
	}
	return byTarget, nil
}

// Change finds the change that the op made to a message, as r is shown it: what has been overtaken or does not count, and what
// was done to a message that is not shown or not here, is none. target is the id that the message has now.
func (s *Service) Change(ctx context.Context, r *Reader, conversation chat.ConversationID, target, op chat.MessageID) (change chat.ChangeRow, message chat.MessageID, ok bool, err error) {
	row, found, err := s.Find(ctx, r, conversation, target)
	if err != nil || !found || !r.visible(&row) {
		return change, target, false, err
	}
	changes, err := s.changes(ctx, r, []chat.MessageRow{row})
	if err != nil {
		return change, target, false, err
	}
	i := slices.IndexFunc(changes[row.ID], func(c chat.ChangeRow) bool { return c.Op == op && c.Kind != chat.ChangeAlias })
	if i < 0 {
		return change, row.ID, false, nil
	}
	change = changes[row.ID][i]
	view := replication.View(&row, changes[row.ID], r.members(), r.User)
	switch change.Kind {
	case chat.ChangeDelete:
		ok = view.Deleted
	case chat.ChangeEdit:
		ok = view.EditedAt == change.Version && change.User == row.Sender
	case chat.ChangeReaction:
		ok = !view.Deleted && (r.Group == nil || r.Group.Members.Shows(r.User, change.User, change.Version))
	}
	return change, row.ID, ok, nil
}

// Find gives a message of the reader's conversation by one of its ids.
func (s *Service) Find(ctx context.Context, r *Reader, conversation chat.ConversationID, id chat.MessageID) (chat.MessageRow, bool, error) {
	row, ok, err := s.opt.Store.Message(ctx, r.Mailbox, conversation, id)
	if err != nil || !ok || row.AliasOf == chat.NoMessage {
		return row, ok, err
	}
	return s.opt.Store.Message(ctx, r.Mailbox, conversation, row.AliasOf)
}
