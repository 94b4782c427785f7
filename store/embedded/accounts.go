package embedded

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// Account implements chat.Accounts.
func (s *Store) Account(ctx context.Context, id chat.UserID) (a chat.Account, ok bool, err error) {
	ok, err = s.one(ctx, "embedded.Account", key(tagAccount, id[:]), func(v []byte) error {
		return unpackJSON("accounts", v, &a)
	})
	return a, ok, err
}

// Session implements chat.Accounts.
func (s *Store) Session(ctx context.Context, user chat.UserID, id chat.SessionID) (row chat.Session, ok bool, err error) {
	ok, err = s.one(ctx, "embedded.Session", key(tagSession, user[:], id[:]), func(v []byte) (err error) {
		row, err = unpackSession(v)
		return err
	})
	return row, ok, err
}

// Sessions implements chat.Accounts.
func (s *Store) Sessions(ctx context.Context, user chat.UserID) ([]chat.Session, error) {
	all, err := rows(ctx, s, "embedded.Sessions", key(tagSession, user[:]), func(_, v []byte) (chat.Session, error) {
		return unpackSession(v)
	})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(row chat.Session) bool { return row.Revoked })
	slices.SortStableFunc(all, func(a, b chat.Session) int { return cmp.Compare(b.CreatedAt, a.CreatedAt) })
	return all, nil
}

// Claim implements chat.Directory.
func (s *Store) Claim(ctx context.Context, k chat.ClaimKey) (c chat.Claim, ok bool, err error) {
	ok, err = s.one(ctx, "embedded.Claim", key(tagClaim, k[:]), func(v []byte) (err error) {
		c, err = unpackClaim(k, v)
		return err
	})
	return c, ok, err
}

// Claims implements chat.Directory.
func (s *Store) Claims(ctx context.Context, from chat.ClaimKey, limit int) ([]chat.Claim, error) {
	const op = "embedded.Claims"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	prefix := key(tagClaim)
	lower := prefix
	if from != (chat.ClaimKey{}) {
		lower = after(key(tagClaim, from[:]))
	}
	var found []chat.Claim
	err := s.read(ctx, op, func(r pebble.Reader) error {
		return scan(r, lower, after(prefix), func(k, v []byte) (bool, error) {
			c, err := unpackClaim(chat.ClaimKey(k[len(prefix):]), v)
			found = append(found, c)
			return len(found) == limit, err
		})
	})
	return some(found, err)
}

// claim gives the entry of a name as the group sees it.
func (g *group) claim(k chat.ClaimKey) (chat.Claim, bool, error) {
	v, ok, err := g.get(key(tagClaim, k[:]))
	if err != nil || !ok {
		return chat.Claim{}, false, err
	}
	c, err := unpackClaim(k, v)
	return c, err == nil, err
}

// Reserve implements chat.Directory. An entry of the same attempt stays as it is: it may be confirmed already.
func (s *Store) Reserve(ctx context.Context, c chat.Claim) (chat.Claim, error) {
	const op = "embedded.Reserve"
	c.Pending = true
	if len(c.Zone) > chat.MaxNameBytes {
		return chat.Claim{}, invalid("a zone's name is over chat.MaxNameBytes")
	}
	stands := make(chan chat.Claim, 1)
	err := s.decide(ctx, op, false, func(g *group) error {
		have, ok, err := g.claim(c.Key)
		if err != nil {
			return readError(op, err)
		}
		if !ok {
			g.set(key(tagClaim, c.Key[:]), packClaim(&c))
			have = c
		}
		stands <- have
		return nil
	})
	if err != nil {
		return chat.Claim{}, err
	}
	return <-stands, nil
}

// Release implements chat.Directory.
func (s *Store) Release(ctx context.Context, k chat.ClaimKey, attempt chat.UUID) error {
	const op = "embedded.Release"
	return s.decide(ctx, op, false, func(g *group) error {
		have, ok, err := g.claim(k)
		if err != nil {
			return readError(op, err)
		}
		if ok && have.Pending && have.Attempt == attempt {
			g.delete(key(tagClaim, k[:]))
		}
		return nil
	})
}

// standing says which of the confirmed claims are to be written: those that come before what their key has as confirmed.
func (g *group) standing(claims []chat.Claim) ([]bool, error) {
	if len(claims) == 0 {
		return nil, nil
	}
	stand := make([]bool, len(claims))
	for i := range claims {
		have, ok, err := g.claim(claims[i].Key)
		if err != nil {
			return nil, readError("embedded.Commit", err)
		}
		stand[i] = !ok || have.Pending || claims[i].Before(have)
	}
	return stand, nil
}

// confirm writes the claims that stand. The zone of one that is replaced stays in its bucket's list: other names may be there.
func (g *group) confirm(claims []chat.Claim, stand []bool) {
	for i := range claims {
		c := &claims[i]
		later := slices.ContainsFunc(claims, func(other chat.Claim) bool { return other.Key == c.Key && other.Before(*c) })
		if stand[i] && !later {
			g.set(key(tagClaim, c.Key[:]), packClaim(c))
			_ = g.batch.Set(bucketZoneKey(c), []byte{rowFormat}, nil)
		}
	}
}

// ZonesOfBucket implements chat.Directory. Only confirmed names count.
func (s *Store) ZonesOfBucket(ctx context.Context, bucket uint16) ([]chat.Zone, error) {
	prefix := key(tagBucketZone, be16(bucket))
	var zones []chat.Zone
	err := s.read(ctx, "embedded.ZonesOfBucket", func(r pebble.Reader) error {
		it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return err
		}
		for ok := it.First(); ok; { // one seek per zone
			d := reader{b: it.Key()[len(prefix):]}
			zone := d.name()
			zones = append(zones, chat.Zone(zone))
			ok = it.SeekGE(after(appendName(bytes.Clone(prefix), zone)))
		}
		return it.Close()
	})
	slices.Sort(zones)
	return some(zones, err)
}

// Key implements chat.Keys.
func (s *Store) Key(ctx context.Context, author chat.UserID, zone chat.Zone) (k chat.KeyRow, ok bool, err error) {
	ok, err = s.one(ctx, "embedded.Key", keyKey(author, zone), func(v []byte) error {
		k, err = unpackKey(author, zone, v)
		return err
	})
	return k, ok, err
}

func unpackKey(author chat.UserID, zone chat.Zone, v []byte) (chat.KeyRow, error) {
	r, err := open("keys", v)
	if err != nil {
		return chat.KeyRow{}, err
	}
	return chat.KeyRow{Author: author, Zone: zone, Wrapped: bytes.Clone(r.b)}, nil
}

// InsertKey implements chat.Keys.
func (s *Store) InsertKey(ctx context.Context, k chat.KeyRow) (chat.KeyRow, error) {
	const op = "embedded.InsertKey"
	row := append([]byte{rowFormat}, k.Wrapped...)
	stands := make(chan chat.KeyRow, 1)
	err := s.decide(ctx, op, false, func(g *group) error {
		name := keyKey(k.Author, k.Zone)
		have, ok, err := g.get(name)
		if err != nil {
			return readError(op, err)
		}
		if !ok {
			g.set(name, row)
			have = row
		}
		kept, err := unpackKey(k.Author, k.Zone, have)
		stands <- kept
		return err
	})
	if err != nil {
		return chat.KeyRow{}, err
	}
	return <-stands, nil
}
