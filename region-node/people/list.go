package people

import (
	"context"

	"meridian/chat"
)

// Conversations gives user's conversations with an activity before the given one (zero: from the latest), latest first, at
// most limit. One in which nothing is left to see, since its only writer is blocked, is left out. next, if not zero, is where
// to go on. Errors are the store's.
func (s *Service) Conversations(ctx context.Context, user chat.UserID, before chat.MessageID, limit int) (list []Conversation, next chat.MessageID, err error) {
	blocks, err := s.BlocksOf(ctx, user)
	if err != nil {
		return nil, chat.NoMessage, err
	}
	for range viewReads {
		rows, err := s.opt.Store.Activities(ctx, user, before, limit+1)
		if err != nil {
			return nil, chat.NoMessage, err
		}
		for i := range rows {
			if len(list) == limit {
				return list, before, nil
			}
			c, shown, err := s.conversation(ctx, rows[i].ConversationRow, blocks)
			switch {
			case chat.CodeOf(err) == chat.CodeUnknownConversation: // a group of which nothing but the invitation has come yet
			case err != nil:
				return nil, chat.NoMessage, err
			case shown:
				list = append(list, c)
			}
			before = rows[i].Newest
		}
		if len(rows) <= limit {
			return list, chat.NoMessage, nil
		}
	}
	return list, before, nil
}
