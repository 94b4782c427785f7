package shared

import (
	"context"
	"slices"

	"meridian/chat"
)

// Activities implements chat.Mailboxes.
func (c *Client) Activities(ctx context.Context, owner chat.UserID, before chat.MessageID, limit int) ([]chat.ActivityRow, error) {
	a, err := whole(c.ask(ctx, "shared.Activities", &request{Call: callActivities, Owner: owner, Message: before, Limit: limit}))
	if chat.CodeOf(err) == chat.CodeInvalid && limit > 0 && limit <= gatherRows {
		return c.gatherActivities(ctx, owner, before, limit)
	}
	return a.Activities, err
}

// gatherRows is how many conversations are read at once from a store of an older version, and the most that are asked of it.
const gatherRows = 1000

// gatherActivities finds from a store of an older version, which does not know the call, what it would answer.
func (c *Client) gatherActivities(ctx context.Context, owner chat.UserID, before chat.MessageID, limit int) ([]chat.ActivityRow, error) {
	var list []chat.ActivityRow
	for from := before; ; {
		rows, err := c.Conversations(ctx, owner, from, gatherRows)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			newest, err := c.activityOf(ctx, &rows[i])
			if err != nil {
				return nil, err
			}
			if before == chat.NoMessage || newest.Compare(before) < 0 {
				list = append(list, chat.ActivityRow{ConversationRow: rows[i], Newest: newest})
			}
			from = rows[i].Last
		}
		if len(rows) < gatherRows {
			break
		}
	}
	slices.SortFunc(list, func(a, b chat.ActivityRow) int { return b.Newest.Compare(a.Newest) })
	return list[:min(limit, len(list))], nil
}

func (c *Client) activityOf(ctx context.Context, row *chat.ConversationRow) (chat.MessageID, error) {
	if !row.Group || chat.UserID(row.ID) == row.Owner {
		return row.Last, nil
	}
	steps, err := c.Members(ctx, chat.UserID(row.ID), row.ID, row.Owner)
	if n := len(steps); err == nil && n > 0 && steps[n-1].Role == chat.RoleNone {
		return steps[n-1].Op, nil
	}
	if err != nil {
		return row.Last, err
	}
	group, ok, err := c.Conversation(ctx, chat.UserID(row.ID), row.ID)
	if err != nil || !ok || group.Last.Compare(row.Last) < 0 {
		return row.Last, err
	}
	return group.Last, nil
}
