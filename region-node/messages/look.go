package messages

import (
	"context"

	"meridian/chat"
	"meridian/replication"
)

// changesAtOnce bounds the changes that are read at once.
const changesAtOnce = 1000

// Look answers the core's question about groups from the store. It reads when it is called, beside the loop.
func Look(ctx context.Context, store chat.Mailboxes, out replication.Look) replication.Looked {
	in := replication.Looked{ID: out.ID, Groups: make([]replication.GroupState, len(out.Groups))}
	for _, k := range out.Sends {
		rows, err := store.Retries(ctx, k.Author, k.Client)
		if err != nil {
			in.Err = err
			return in
		}
		in.Sends = append(in.Sends, rows)
	}
	for i, q := range out.Groups {
		if in.Groups[i], in.Err = groupState(ctx, store, q); in.Err != nil {
			return in
		}
	}
	return in
}

// groupState reads what is asked about a group.
func groupState(ctx context.Context, store chat.Mailboxes, q replication.GroupQuery) (g replication.GroupState, err error) {
	owner := chat.UserID(q.Conversation)
	g.Conversation = q.Conversation
	if g.Zones, err = store.GroupZones(ctx, q.Conversation); err != nil {
		return g, err
	}
	if q.Members {
		if g.Members, err = store.Members(ctx, owner, q.Conversation, chat.NoUser); err != nil {
			return g, err
		}
		if g.Names, err = store.GroupNames(ctx, owner, q.Conversation); err != nil {
			return g, err
		}
		if g.Marks, err = store.Marks(ctx, owner, q.Conversation); err != nil {
			return g, err
		}
	}
	if q.Since == 0 {
		return g, nil
	}
	rows, err := store.Messages(ctx, owner, q.Conversation, q.Before, q.Limit)
	if err != nil {
		return g, err
	}
	for i := range rows {
		if rows[i].ID.Time() >= q.Since {
			g.Messages = append(g.Messages, rows[i])
		}
	}
	g.More = len(g.Messages) == q.Limit
	from, to := q.Targets(g.Messages, g.More)
	g.Changes, err = changes(ctx, store, owner, q.Conversation, from, to)
	return g, err
}

// changes reads all changes of a range of messages. A page may end among those of one message: the next begins with that
// message again.
func changes(ctx context.Context, store chat.Mailboxes, owner chat.UserID, conversation chat.ConversationID, from, to chat.MessageID) ([]chat.ChangeRow, error) {
	var all []chat.ChangeRow
	limit := changesAtOnce
	for {
		rows, err := store.Changes(ctx, owner, conversation, from, to, limit)
		all = append(all, rows...)
		if err != nil || len(rows) < limit {
			return all, err
		}
		if last := rows[len(rows)-1].Target; last != from {
			from = last
		} else {
			limit *= 2 // one message has more than that
		}
	}
}
