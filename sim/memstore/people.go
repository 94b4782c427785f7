package memstore

import (
	"bytes"
	"context"
	"slices"

	"meridian/chat"
)

// Account is as of chat.Accounts.
func (s *Store) Account(ctx context.Context, id chat.UserID) (chat.Account, bool, error) {
	return get(ctx, s, func(t *Tables) (chat.Account, bool) { a, ok := t.accounts[id]; return a, ok })
}

// Session is as of chat.Accounts.
func (s *Store) Session(ctx context.Context, user chat.UserID, id chat.SessionID) (chat.Session, bool, error) {
	return get(ctx, s, func(t *Tables) (chat.Session, bool) { x, ok := t.sessions[user][id]; return x, ok })
}

// Sessions is as of chat.Accounts.
func (s *Store) Sessions(ctx context.Context, user chat.UserID) ([]chat.Session, error) {
	return read(ctx, s, func(t *Tables) []chat.Session { return t.Sessions(user) })
}

// Claim is as of chat.Directory.
func (s *Store) Claim(ctx context.Context, key chat.ClaimKey) (chat.Claim, bool, error) {
	return get(ctx, s, func(t *Tables) (chat.Claim, bool) { c, ok := t.claims[key]; return c, ok })
}

// Claims is as of chat.Directory.
func (s *Store) Claims(ctx context.Context, after chat.ClaimKey, limit int) ([]chat.Claim, error) {
	return read(ctx, s, func(t *Tables) []chat.Claim {
		var list []chat.Claim
		for key, c := range t.claims {
			if bytes.Compare(key[:], after[:]) > 0 {
				list = append(list, c)
			}
		}
		slices.SortFunc(list, func(a, b chat.Claim) int { return bytes.Compare(a.Key[:], b.Key[:]) })
		return list[:min(limit, len(list))]
	})
}

// Reserve is as of chat.Directory.
func (s *Store) Reserve(ctx context.Context, c chat.Claim) (chat.Claim, error) {
	return read(ctx, s, func(t *Tables) chat.Claim {
		if old, ok := t.claims[c.Key]; ok {
			return old
		}
		c.Pending = true
		t.claims[c.Key] = c
		return c
	})
}

// Release is as of chat.Directory.
func (s *Store) Release(ctx context.Context, key chat.ClaimKey, attempt chat.UUID) error {
	_, err := read(ctx, s, func(t *Tables) bool {
		if old, ok := t.claims[key]; ok && old.Pending && old.Attempt == attempt {
			delete(t.claims, key)
		}
		return true
	})
	return err
}

// ZonesOfBucket is as of chat.Directory.
func (s *Store) ZonesOfBucket(ctx context.Context, bucket uint16) ([]chat.Zone, error) {
	return read(ctx, s, func(t *Tables) []chat.Zone {
		var zones []chat.Zone
		for _, c := range t.claims {
			if c.Bucket == bucket {
				zones = append(zones, c.Zone)
			}
		}
		slices.Sort(zones)
		return slices.Compact(zones)
	})
}

// Key is as of chat.Keys.
func (s *Store) Key(ctx context.Context, author chat.UserID, zone chat.Zone) (chat.KeyRow, bool, error) {
	return get(ctx, s, func(t *Tables) (chat.KeyRow, bool) { k, ok := t.keys[keyKey{author, zone}]; return k, ok })
}

// InsertKey is as of chat.Keys.
func (s *Store) InsertKey(ctx context.Context, k chat.KeyRow) (chat.KeyRow, error) {
	return read(ctx, s, func(t *Tables) chat.KeyRow {
		key := keyKey{k.Author, k.Zone}
		if old, ok := t.keys[key]; ok {
			return old
		}
		t.keys[key] = k
		return k
	})
}
