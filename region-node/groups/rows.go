package groups

import (
	"context"

	"meridian/chat"
)

// rowsAtOnce is how many conversations are read at once while looking for groups.
const rowsAtOnce = 500

// Rows gives the conversations of user that are groups: those that user is, or was, in. Errors are the store's.
func Rows(ctx context.Context, store chat.Mailboxes, user chat.UserID) ([]chat.ConversationRow, error) {
	var list []chat.ConversationRow
	for before := chat.NoMessage; ; {
		rows, err := store.Conversations(ctx, user, before, rowsAtOnce)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if rows[i].Group {
				list = append(list, rows[i])
			}
			before = rows[i].Last
		}
		if len(rows) < rowsAtOnce {
			return list, nil
		}
	}
}
