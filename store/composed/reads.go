package composed

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"meridian/chat"
)

// Account implements chat.Accounts: of the account store's row and one that it is owed the newer.
func (s *Store) Account(ctx context.Context, id chat.UserID) (a chat.Account, ok bool, err error) {
	err = s.guard.ask(ctx, func() error {
		a, ok, err = s.accounts.Account(ctx, id)
		return err
	})
	if err != nil {
		return chat.Account{}, false, err
	}
	owed, is, err := s.Store.Account(ctx, id)
	if err == nil && is && (!ok || a.Compare(&owed) < 0) {
		return owed, true, nil
	}
	return a, ok, err
}

// Session implements chat.Accounts.
func (s *Store) Session(ctx context.Context, user chat.UserID, id chat.SessionID) (row chat.Session, ok bool, err error) {
	err = s.guard.ask(ctx, func() error {
		row, ok, err = s.accounts.Session(ctx, user, id)
		return err
	})
	if err != nil {
		return chat.Session{}, false, err
	}
	return s.withOwed(ctx, user, id, row, ok)
}

// withOwed merges a session of the account store with what that is owed of it.
func (s *Store) withOwed(ctx context.Context, user chat.UserID, id chat.SessionID, row chat.Session, ok bool) (chat.Session, bool, error) {
	owed, is, err := s.Store.Session(ctx, user, id)
	switch {
	case err != nil:
		return chat.Session{}, false, err
	case !is:
		return row, ok, nil
	case !ok:
		return owed, true, nil
	}
	return row.Merge(&owed), true, nil
}

// Sessions implements chat.Accounts. A person has few.
func (s *Store) Sessions(ctx context.Context, user chat.UserID) (all []chat.Session, err error) {
	err = s.guard.ask(ctx, func() error {
		all, err = s.accounts.Sessions(ctx, user)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i], _, err = s.withOwed(ctx, user, all[i].ID, all[i], true); err != nil {
			return nil, err
		}
	}
	owed, err := s.Store.Sessions(ctx, user)
	if err != nil {
		return nil, err
	}
	for _, row := range owed {
		if slices.ContainsFunc(all, func(have chat.Session) bool { return have.ID == row.ID }) {
			continue
		}
		// The account store may have it as revoked, and not have listed it.
		merged, _, err := s.Session(ctx, user, row.ID)
		if err != nil {
			return nil, err
		}
		all = append(all, merged)
	}
	all = slices.DeleteFunc(all, func(row chat.Session) bool { return row.Revoked })
	slices.SortFunc(all, func(a, b chat.Session) int {
		return cmp.Or(cmp.Compare(b.CreatedAt, a.CreatedAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return all, nil
}

// Owners implements chat.Mailboxes: whoever has rows in either store.
func (s *Store) Owners(ctx context.Context, after chat.UserID, limit int) ([]chat.OwnerRow, error) {
	found, err := s.Store.Owners(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	var people []chat.OwnerRow
	err = s.guard.ask(ctx, func() error {
		people, err = s.accounts.AccountOwners(ctx, after, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	found = append(people, found...) // an account's zone goes before that of other rows
	slices.SortStableFunc(found, func(a, b chat.OwnerRow) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	found = slices.CompactFunc(found, func(a, b chat.OwnerRow) bool { return a.ID == b.ID })
	return found[:min(len(found), limit)], nil
}
