package cassandra

import (
	"context"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
)

func shardOf(k chat.ClaimKey) int { return int(k[0]) }

func scanClaim(it *gocql.Iter) (chat.Claim, bool, error) {
	var c chat.Claim
	var key, blinded []byte
	var zone string
	var bucket int
	var attempt gocql.UUID
	var version int64
	ok := it.Scan(&key, &blinded, &zone, &bucket, &attempt, &c.Pending, &version)
	copy(c.Key[:], key)
	copy(c.Blinded[:], blinded)
	c.Zone, c.Bucket, c.Attempt, c.Version = chat.Zone(zone), uint16(bucket), chat.UUID(attempt), chat.HLC(version)
	return c, ok, nil
}

// Claim implements chat.Directory.
func (s *Store) Claim(ctx context.Context, k chat.ClaimKey) (chat.Claim, bool, error) {
	return one(list(ctx, s, "cassandra.Claim", 1, scanClaim, selectClaim, shardOf(k), k[:]))
}

// Claims implements chat.Directory.
func (s *Store) Claims(ctx context.Context, after chat.ClaimKey, limit int) ([]chat.Claim, error) {
	const op = "cassandra.Claims"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	var found []chat.Claim
	from := after[:]
	if after == (chat.ClaimKey{}) {
		from = []byte{}
	}
	for shard := shardOf(after); shard < 256 && len(found) < limit; shard++ {
		page, err := list(ctx, s, op, 0, scanClaim, selectClaims, shard, from, limit-len(found))
		if err != nil {
			return nil, err
		}
		found, from = append(found, page...), []byte{}
	}
	return found, nil
}

// standing reads a name's entry for a decision.
func (s *Store) standing(ctx context.Context, op string, k chat.ClaimKey) (chat.Claim, bool, error) {
	return one(each(ctx, s, op, 1, func(ctx context.Context) *gocql.Query {
		return serial(s.read(ctx, selectClaim, shardOf(k), k[:]))
	}, scanClaim))
}

// conditional decides one row: looked reads what stands and says whether it is done, else send writes on condition, and it is looked again.
// One at a time of this process decides on a row: what competes at the server is asked again and again there.
func (s *Store) conditional(ctx context.Context, op string, row []byte, looked func() (done bool, err error), send func(context.Context) (bool, error)) error {
	lock := s.deciding.of(row)
	lock.Lock()
	defer lock.Unlock()
	for try := range maxDecisions {
		if done, err := looked(); done || err != nil && !again(err) {
			return err
		}
		bounded, cancel, err := s.asked(ctx, op)
		if err != nil {
			return err
		}
		_, err = send(bounded)
		cancel()
		if err != nil && !again(err) {
			return s.writeError(op, err)
		}
		if err == nil && try == 0 {
			continue
		}
		if err := pause(ctx, try); err != nil {
			return unknown(op, err)
		}
	}
	return &chat.Error{Code: chat.CodeBusy, Op: op, Message: "too many decide at once", RetryAfter: retryAfter}
}

// pause waits before a decision is taken again.
func pause(ctx context.Context, try int) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(1+try%10) * 5 * time.Millisecond):
		return nil
	}
}

// stripes are locks for rows, by their keys.
type stripes [64]sync.Mutex

func (s *stripes) of(row []byte) *sync.Mutex {
	h := fnv.New32a()
	_, _ = h.Write(row) // never fails
	return &s[h.Sum32()%uint32(len(s))]
}

// Reserve implements chat.Directory. An entry of the same attempt stays as it is: it may be confirmed already.
func (s *Store) Reserve(ctx context.Context, c chat.Claim) (chat.Claim, error) {
	const op = "cassandra.Reserve"
	c.Pending = true
	if len(c.Zone) > chat.MaxNameBytes {
		return chat.Claim{}, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "a zone's name is over chat.MaxNameBytes"}
	}
	var stands chat.Claim
	err := s.conditional(ctx, op, c.Key[:], func() (bool, error) {
		have, ok, err := s.standing(ctx, op, c.Key)
		stands = have
		return ok, err
	}, func(ctx context.Context) (bool, error) { return s.insertClaim(ctx, &c) })
	if err != nil {
		return chat.Claim{}, err
	}
	return stands, nil
}

func (s *Store) insertClaim(ctx context.Context, c *chat.Claim) (bool, error) {
	return s.query(ctx, reserveClaim, shardOf(c.Key), c.Key[:], c.Blinded[:], string(c.Zone), int(c.Bucket), uid(c.Attempt), c.Pending,
		int64(c.Version)).MapScanCAS(map[string]any{})
}

// Release implements chat.Directory.
func (s *Store) Release(ctx context.Context, k chat.ClaimKey, attempt chat.UUID) error {
	const op = "cassandra.Release"
	return s.conditional(ctx, op, k[:], func() (bool, error) {
		have, ok, err := s.standing(ctx, op, k)
		return err == nil && (!ok || !have.Pending || have.Attempt != attempt), err
	}, func(ctx context.Context) (bool, error) {
		return s.query(ctx, releaseClaim, shardOf(k), k[:], uid(attempt), true).MapScanCAS(map[string]any{})
	})
}

// confirm makes confirmed claims stand: each replaces a pending one, and of two confirmed ones the one that is before the other stays.
func (s *Store) confirm(claims []chat.Claim) error {
	const op = "cassandra.Commit"
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.WriteTimeout+s.opts.ReadTimeout)
	defer cancel()
	var zones []statement
	for i := range claims {
		c := &claims[i]
		stood := false
		var have chat.Claim
		err := s.conditional(ctx, op, c.Key[:], func() (done bool, err error) {
			var ok bool
			have, ok, err = s.standing(ctx, op, c.Key)
			stood = ok && have == *c
			return stood || ok && !have.Pending && have.Before(*c), err
		}, func(ctx context.Context) (bool, error) {
			if have.Key != c.Key {
				return s.insertClaim(ctx, c)
			}
			return s.query(ctx, replaceClaim, c.Blinded[:], string(c.Zone), int(c.Bucket), uid(c.Attempt), false, int64(c.Version),
				shardOf(c.Key), c.Key[:], uid(have.Attempt), have.Pending, int64(have.Version)).MapScanCAS(map[string]any{})
		})
		if err != nil {
			return err
		}
		if stood {
			zones = append(zones, statement{insertBucketZone, []any{int(c.Bucket), string(c.Zone), c.Key[:], fixed}})
		}
	}
	return s.inParts(zones)
}

// ZonesOfBucket implements chat.Directory, with one query for each zone.
func (s *Store) ZonesOfBucket(ctx context.Context, bucket uint16) ([]chat.Zone, error) {
	const op = "cassandra.ZonesOfBucket"
	var zones []chat.Zone
	next, ok, err := one(list(ctx, s, op, 1, single[string], selectBucketZone, int(bucket)))
	for ; ok && err == nil; next, ok, err = one(list(ctx, s, op, 1, single[string], selectZoneAfter, int(bucket), next)) {
		zones = append(zones, chat.Zone(next))
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(zones)
	return zones, nil
}

// Key implements chat.Keys.
func (s *Store) Key(ctx context.Context, author chat.UserID, zone chat.Zone) (chat.KeyRow, bool, error) {
	wrapped, ok, err := one(list(ctx, s, "cassandra.Key", 1, single[[]byte], selectKey, uid(author), string(zone)))
	return chat.KeyRow{Author: author, Zone: zone, Wrapped: wrapped}, ok, err
}

// InsertKey implements chat.Keys.
func (s *Store) InsertKey(ctx context.Context, k chat.KeyRow) (chat.KeyRow, error) {
	const op = "cassandra.InsertKey"
	stands := k
	err := s.conditional(ctx, op, k.Author[:], func() (bool, error) {
		wrapped, ok, err := one(each(ctx, s, op, 1, func(ctx context.Context) *gocql.Query {
			return serial(s.read(ctx, selectKey, uid(k.Author), string(k.Zone)))
		}, single[[]byte]))
		stands.Wrapped = wrapped
		return ok, err
	}, func(ctx context.Context) (bool, error) {
		return s.query(ctx, insertKey, uid(k.Author), string(k.Zone), k.Wrapped).MapScanCAS(map[string]any{})
	})
	if err != nil {
		return chat.KeyRow{}, err
	}
	return stands, nil
}
