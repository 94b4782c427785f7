package seal

import (
	"context"
	"errors"
	"slices"

	"meridian/chat"
)

// Wrap gives a store that keeps bodies sealed: a message's under the key of (Sender, OwnerZone), an op's under that of its
// author's (ID, Zone). The caller's rows stay as they are, in the clear. A body whose key is destroyed reads as nil, so
// that the rest of a page can be read and a relay can see that there is nothing to deliver.
//
// Commit of an author's first text in a zone waits for the store, since the data key must be durable first.
func Wrap(s chat.Store, sealer *Sealer) chat.Store { return &store{Store: s, sealer: sealer} }

type store struct {
	chat.Store
	sealer *Sealer
}

// Commit implements chat.Store.
func (s *store) Commit(b *chat.Batch, done func(error)) {
	sealed, err := s.sealed(context.Background(), b)
	if err != nil {
		go done(err)
		return
	}
	s.Store.Commit(sealed, done)
}

// sealed gives a copy of b with its bodies sealed; b itself when it has none.
func (s *store) sealed(ctx context.Context, b *chat.Batch) (*chat.Batch, error) {
	if len(b.Messages) == 0 && len(b.Log) == 0 {
		return b, nil
	}
	out := *b
	out.Messages, out.Log = slices.Clone(b.Messages), slices.Clone(b.Log)
	for i := range out.Messages {
		m := &out.Messages[i]
		body, err := s.sealer.Seal(ctx, m.ID, m.Sender, m.OwnerZone, m.Body)
		if err != nil {
			return nil, err
		}
		m.Body = body
	}
	for i := range out.Log {
		op := &out.Log[i].Op
		body, err := s.sealer.Seal(ctx, op.ID, op.Author.ID, op.Author.Zone, op.Body)
		if err != nil {
			return nil, err
		}
		op.Body = body
	}
	return &out, nil
}

// opened gives body in the clear, nil when its key is destroyed.
func (s *store) opened(ctx context.Context, id chat.MessageID, author chat.UserID, zone chat.Zone, body []byte) ([]byte, error) {
	plain, err := s.sealer.Open(ctx, id, author, zone, body)
	if errors.Is(err, ErrKeyGone) {
		return nil, nil
	}
	return plain, err
}

// Messages implements chat.Mailboxes.
func (s *store) Messages(ctx context.Context, owner chat.UserID, conversation chat.ConversationID, before chat.MessageID, limit int) ([]chat.MessageRow, error) {
	rows, err := s.Store.Messages(ctx, owner, conversation, before, limit)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].Body, err = s.opened(ctx, rows[i].ID, rows[i].Sender, rows[i].OwnerZone, rows[i].Body); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// Message implements chat.Mailboxes.
func (s *store) Message(ctx context.Context, owner chat.UserID, conversation chat.ConversationID, id chat.MessageID) (chat.MessageRow, bool, error) {
	row, ok, err := s.Store.Message(ctx, owner, conversation, id)
	if err != nil || !ok {
		return chat.MessageRow{}, false, err
	}
	if row.Body, err = s.opened(ctx, id, row.Sender, row.OwnerZone, row.Body); err != nil {
		return chat.MessageRow{}, false, err
	}
	return row, true, nil
}

// ReadLog implements chat.Log.
func (s *store) ReadLog(ctx context.Context, stream chat.StreamID, after, upTo uint64, to chat.Region, limit int) ([]chat.Op, error) {
	ops, err := s.Store.ReadLog(ctx, stream, after, upTo, to, limit)
	if err != nil {
		return nil, err
	}
	for i := range ops {
		op := &ops[i]
		if op.Body, err = s.opened(ctx, op.ID, op.Author.ID, op.Author.Zone, op.Body); err != nil {
			return nil, err
		}
	}
	return ops, nil
}
