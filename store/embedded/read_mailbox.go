package embedded

import (
	"context"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// maxRows bounds every list.
const maxRows = 100_000

// Messages implements chat.Mailboxes.
func (s *Store) Messages(ctx context.Context, owner chat.UserID, conv chat.ConversationID, before chat.MessageID, limit int) ([]chat.MessageRow, error) {
	const op = "embedded.Messages"
	if err := checkLimit(op, limit, 1000); err != nil {
		return nil, err
	}
	prefix := messagePrefix(owner, conv)
	from := prefix
	if before != chat.NoMessage {
		from = append(messageKey(owner, conv, before), 0) // the first key behind before
	}
	var rows []chat.MessageRow
	err := s.read(ctx, op, func(r pebble.Reader) error {
		return scan(r, from, after(prefix), func(k, v []byte) (bool, error) {
			row, err := unpackMessage(owner, conv, messageIDOf(k), v)
			rows = append(rows, row)
			return len(rows) == limit, err
		})
	})
	return some(rows, err)
}

// messageIDOf reads the id from a key of table messages.
func messageIDOf(k []byte) chat.MessageID {
	var o [16]byte
	copy(o[:], k[1+32:])
	for i := range o {
		o[i] = ^o[i]
	}
	return chat.MessageIDFromOrd(o)
}

// some gives rows only without an error.
func some[T any](rows []T, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// Message implements chat.Mailboxes.
func (s *Store) Message(ctx context.Context, owner chat.UserID, conv chat.ConversationID, id chat.MessageID) (row chat.MessageRow, ok bool, err error) {
	if id == chat.NoMessage {
		return row, false, nil
	}
	ok, err = s.one(ctx, "embedded.Message", messageKey(owner, conv, id), func(v []byte) (err error) {
		row, err = unpackMessage(owner, conv, id, v)
		return err
	})
	return row, ok, err
}

// one reads the row of one key.
func (s *Store) one(ctx context.Context, op string, k []byte, unpack func(v []byte) error) (ok bool, err error) {
	err = s.read(ctx, op, func(r pebble.Reader) error {
		var v []byte
		if v, ok, err = get(r, k); err != nil || !ok {
			return err
		}
		return unpack(v)
	})
	return ok && err == nil, err
}

// rows reads the rows of all keys with a prefix, at most maxRows.
func rows[T any](ctx context.Context, s *Store, op string, prefix []byte, unpack func(k, v []byte) (T, error)) ([]T, error) {
	var out []T
	err := s.read(ctx, op, func(r pebble.Reader) error {
		return scan(r, prefix, after(prefix), func(k, v []byte) (bool, error) {
			row, err := unpack(k, v)
			out = append(out, row)
			return len(out) == maxRows, err
		})
	})
	return some(out, err)
}

// Inbox implements chat.Mailboxes.
func (s *Store) Inbox(ctx context.Context, owner chat.UserID, from, upTo chat.HLC, limit int) ([]chat.InboxRow, error) {
	const op = "embedded.Inbox"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	if from >= upTo {
		return nil, ctxError(ctx, op)
	}
	var found []chat.InboxRow
	err := s.read(ctx, op, func(r pebble.Reader) error {
		first, end := s.inbox.span()
		first = max(first, bucketOf(from+1, inboxBucket))
		for b := first; b < end && bucketStart(b, inboxBucket) <= upTo && len(found) < limit; b++ {
			prefix := key(tagInbox, be32(b), owner[:])
			lower, upper := slices.Concat(prefix, be64(uint64(from+1))), after(prefix)
			if upTo != ^chat.HLC(0) {
				upper = slices.Concat(prefix, be64(uint64(upTo+1)))
			}
			err := scan(r, lower, upper, func(k, v []byte) (bool, error) {
				row, err := unpackInbox(owner, k, v)
				found = append(found, row)
				return len(found) == limit, err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return some(found, err)
}

// InboxFloor implements chat.Mailboxes.
func (s *Store) InboxFloor(ctx context.Context) (floor chat.HLC, err error) {
	err = s.read(ctx, "embedded.InboxFloor", func(r pebble.Reader) error {
		n, err := number(r, selfInboxFloor)
		floor = chat.HLC(n)
		return err
	})
	return floor, err
}

// Retries implements chat.Mailboxes.
func (s *Store) Retries(ctx context.Context, sender chat.UserID, client chat.ClientID) ([]chat.RetryRow, error) {
	var found []chat.RetryRow
	err := s.read(ctx, "embedded.Retries", func(r pebble.Reader) error {
		for b, end := s.retries.span(); b < end; b++ {
			prefix := key(tagRetry, be32(b), sender[:], client[:])
			err := scan(r, prefix, after(prefix), func(k, v []byte) (bool, error) {
				row, err := unpackRetry(k, v)
				found = append(found, row)
				return false, err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	slices.SortFunc(found, func(a, b chat.RetryRow) int { return a.ID.Compare(b.ID) })
	return some(found, err)
}

// Marks implements chat.Mailboxes.
func (s *Store) Marks(ctx context.Context, owner chat.UserID, conv chat.ConversationID) ([]chat.MarkRow, error) {
	return rows(ctx, s, "embedded.Marks", key(tagMark, owner[:], conv[:]), func(k, v []byte) (chat.MarkRow, error) {
		return unpackMark(owner, conv, k, v)
	})
}

// Conversation implements chat.Mailboxes.
func (s *Store) Conversation(ctx context.Context, owner chat.UserID, id chat.ConversationID) (row chat.ConversationRow, ok bool, err error) {
	ok, err = s.one(ctx, "embedded.Conversation", key(tagConversation, owner[:], id[:]), func(v []byte) (err error) {
		row, err = unpackConversation(owner, id, v)
		return err
	})
	return row, ok, err
}

// Contacts implements chat.Mailboxes.
func (s *Store) Contacts(ctx context.Context, owner, from chat.UserID, limit int) ([]chat.ContactRow, error) {
	const op = "embedded.Contacts"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	prefix := key(tagContact, owner[:])
	lower := prefix
	if from != chat.NoUser {
		lower = after(slices.Concat(prefix, from[:]))
	}
	var found []chat.ContactRow
	others := 0
	err := s.read(ctx, op, func(r pebble.Reader) error {
		return scan(r, lower, after(prefix), func(k, v []byte) (bool, error) {
			row, err := unpackContact(k, v)
			if len(found) == 0 || found[len(found)-1].Other.ID != row.Other.ID {
				others++
			}
			if others > limit {
				return true, err
			}
			found = append(found, row)
			return false, err
		})
	})
	return some(found, err)
}

// Contact implements chat.Mailboxes.
func (s *Store) Contact(ctx context.Context, owner, other chat.UserID) ([]chat.ContactRow, error) {
	return rows(ctx, s, "embedded.Contact", key(tagContact, owner[:], other[:]), unpackContact)
}

// Blocks implements chat.Mailboxes.
func (s *Store) Blocks(ctx context.Context, owner chat.UserID) ([]chat.BlockRow, error) {
	return rows(ctx, s, "embedded.Blocks", key(tagBlock, owner[:]), unpackBlock)
}
