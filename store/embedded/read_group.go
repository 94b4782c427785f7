package embedded

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// Changes implements chat.Mailboxes.
func (s *Store) Changes(ctx context.Context, owner chat.UserID, conv chat.ConversationID, from, to chat.MessageID, limit int) ([]chat.ChangeRow, error) {
	const op = "embedded.Changes"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	if to == chat.NoMessage || from.Compare(to) > 0 {
		return nil, s.ready(ctx, op)
	}
	prefix := key(tagChange, owner[:], conv[:])
	lower := prefix
	if from != chat.NoMessage {
		lower = slices.Concat(prefix, ord(from))
	}
	var found []chat.ChangeRow
	err := s.read(ctx, op, func(r pebble.Reader) error {
		return scan(r, lower, after(slices.Concat(prefix, ord(to))), func(k, v []byte) (bool, error) {
			row, err := unpackChange(k, v)
			found = append(found, row)
			return len(found) == limit, err
		})
	})
	return some(found, err)
}

// GroupNames implements chat.Mailboxes. It gives all, as Members does.
func (s *Store) GroupNames(ctx context.Context, owner chat.UserID, conv chat.ConversationID) ([]chat.GroupRow, error) {
	return all(ctx, s, "embedded.GroupNames", key(tagGroup, owner[:], conv[:]), unpackGroup)
}

// Members implements chat.Mailboxes. It gives all, however many: who is in a group is never told from a part of the steps.
func (s *Store) Members(ctx context.Context, owner chat.UserID, conv chat.ConversationID, user chat.UserID) ([]chat.MemberRow, error) {
	prefix := key(tagMember, owner[:], conv[:])
	if user != chat.NoUser {
		prefix = append(prefix, user[:]...)
	}
	found, err := all(ctx, s, "embedded.Members", prefix, unpackMember)
	slices.SortFunc(found, func(a, b chat.MemberRow) int {
		return cmp.Or(a.Op.Compare(b.Op), bytes.Compare(a.User.ID[:], b.User.ID[:]))
	})
	return found, err
}

// all gives every row whose key begins with prefix, however many.
func all[T any](ctx context.Context, s *Store, op string, prefix []byte, unpack func(k, v []byte) (T, error)) ([]T, error) {
	var found []T
	err := s.read(ctx, op, func(r pebble.Reader) error {
		return scan(r, prefix, after(prefix), func(k, v []byte) (bool, error) {
			row, err := unpack(k, v)
			found = append(found, row)
			return false, err
		})
	})
	return some(found, err)
}

// GroupZones implements chat.Mailboxes.
func (s *Store) GroupZones(ctx context.Context, conv chat.ConversationID) ([]chat.GroupZoneRow, error) {
	return rows(ctx, s, "embedded.GroupZones", key(tagGroupZone, conv[:]), unpackGroupZone)
}

// ownerTables have the owner first in their keys.
var ownerTables = []byte{
	tagAccount, tagSession, tagMessage, tagConversation, tagMark, tagContact, tagBlock, tagChange, tagGroup, tagMember, tagGroupZone,
}

// Owners implements chat.Mailboxes. It goes from owner to owner by seeking in each table, past all that the owner has there.
func (s *Store) Owners(ctx context.Context, from chat.UserID, limit int) ([]chat.OwnerRow, error) {
	const op = "embedded.Owners"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	var found []chat.OwnerRow
	err := s.read(ctx, op, func(r pebble.Reader) (err error) {
		w := &ownerWalk{}
		defer func() {
			if cerr := w.close(); err == nil {
				err = cerr
			}
		}()
		if err := w.open(r); err != nil {
			return err
		}
		for at := from; len(found) < limit; {
			var ok bool
			if at, ok = w.next(at); !ok {
				return nil
			}
			zone, err := w.zone(r, at)
			if err != nil {
				return err
			}
			found = append(found, chat.OwnerRow{ID: at, Zone: zone})
		}
		return nil
	})
	return some(found, err)
}

// ownerWalk has an iterator for each of ownerTables, at the next owner there or at the end.
type ownerWalk struct {
	tables []*pebble.Iterator
	began  bool
}

func (w *ownerWalk) open(r pebble.Reader) error {
	for _, tag := range ownerTables {
		it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{tag}, UpperBound: []byte{tag + 1}})
		if err != nil {
			return err
		}
		w.tables = append(w.tables, it)
	}
	return nil
}

func (w *ownerWalk) close() (err error) {
	for _, it := range w.tables {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}
	return err
}

// ownerAt gives the owner that a table's iterator stands at.
func ownerAt(it *pebble.Iterator) (id chat.UserID, ok bool) {
	if !it.Valid() || len(it.Key()) < 1+len(id) {
		return id, false
	}
	copy(id[:], it.Key()[1:])
	return id, true
}

// next gives the smallest owner after the given one.
func (w *ownerWalk) next(from chat.UserID) (least chat.UserID, ok bool) {
	for i, it := range w.tables {
		if at, there := ownerAt(it); !w.began || there && bytes.Compare(at[:], from[:]) <= 0 {
			it.SeekGE(after(key(ownerTables[i], from[:])))
		}
		if at, there := ownerAt(it); there && (!ok || bytes.Compare(at[:], least[:]) < 0) {
			least, ok = at, true
		}
	}
	w.began = true
	return least, ok
}

// zone gives the zone that an owner's rows name: the account's, else that of a message or a change.
func (w *ownerWalk) zone(r pebble.Reader, id chat.UserID) (chat.Zone, error) {
	v, ok, err := get(r, key(tagAccount, id[:]))
	if err != nil {
		return "", err
	}
	if ok {
		var a chat.Account
		err := unpackJSON("accounts", v, &a)
		return a.Zone, err
	}
	for i, it := range w.tables {
		if at, there := ownerAt(it); !there || at != id {
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return "", err
		}
		var zone chat.Zone
		switch ownerTables[i] {
		case tagMessage:
			row, err := unpackMessage(id, chat.NoConversation, chat.NoMessage, v)
			if err != nil {
				return "", err
			}
			zone = row.OwnerZone
		case tagChange:
			row, err := unpackChange(it.Key(), v)
			if err != nil {
				return "", err
			}
			zone = row.OwnerZone
		}
		if zone != "" {
			return zone, nil
		}
	}
	return "", nil
}
