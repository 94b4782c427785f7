package people

import (
	"context"
	"slices"

	"meridian/chat"
)

// listRows is how many conversations are read at once for the list.
const listRows = 500

// activity is a conversation with what it is listed by: its newest message; for a group that one has left, the leaving.
type activity struct {
	row    chat.ConversationRow
	newest chat.MessageID
}

// Conversations gives user's conversations with an activity before the given one (zero: from the latest), latest first, at
// most limit. One in which nothing is left to see, since its only writer is blocked, is left out. next, if not zero, is where
// to go on. Errors are the store's.
func (s *Service) Conversations(ctx context.Context, user chat.UserID, before chat.MessageID, limit int) (list []Conversation, next chat.MessageID, err error) {
	blocks, err := s.BlocksOf(ctx, user)
	if err != nil {
		return nil, chat.NoMessage, err
	}
	all, err := s.activities(ctx, user, before)
	if err != nil {
		return nil, chat.NoMessage, err
	}
	for i, a := range all {
		if len(list) == limit || i == viewReads*(limit+1) {
			return list, before, nil
		}
		c, shown, err := s.conversation(ctx, a.row, blocks)
		switch {
		case chat.CodeOf(err) == chat.CodeUnknownConversation: // a group of which nothing but the invitation has come yet
		case err != nil:
			return nil, chat.NoMessage, err
		case shown:
			list = append(list, c)
		}
		before = a.newest
	}
	return list, chat.NoMessage, nil
}

// activities gives all of user's conversations with an activity before the given one, latest first. Groups are kept in the
// order in which one came in, which is not after their activity, so all that stand before it are looked at.
func (s *Service) activities(ctx context.Context, user chat.UserID, before chat.MessageID) ([]activity, error) {
	var list []activity
	for from := before; ; {
		rows, err := s.opt.Store.Conversations(ctx, user, from, listRows)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			a := activity{row: rows[i], newest: rows[i].Last}
			if rows[i].Group {
				if a.newest, err = s.groupActivity(ctx, &rows[i]); err != nil {
					return nil, err
				}
			}
			if before == chat.NoMessage || a.newest.Compare(before) < 0 {
				list = append(list, a)
			}
			from = rows[i].Last
		}
		if len(rows) < listRows {
			break
		}
	}
	slices.SortFunc(list, func(a, b activity) int { return b.newest.Compare(a.newest) })
	return list, nil
}

// groupActivity gives what a group is listed by.
func (s *Service) groupActivity(ctx context.Context, row *chat.ConversationRow) (chat.MessageID, error) {
	steps, err := s.opt.Store.Members(ctx, chat.UserID(row.ID), row.ID, row.Owner)
	if err != nil {
		return chat.NoMessage, err
	}
	if n := len(steps); n > 0 && steps[n-1].Role == chat.RoleNone {
		return steps[n-1].Op, nil
	}
	group, ok, err := s.opt.Store.Conversation(ctx, chat.UserID(row.ID), row.ID)
	if err != nil || !ok || group.Last.Compare(row.Last) < 0 {
		return row.Last, err
	}
	return group.Last, nil
}
