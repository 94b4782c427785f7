package verify

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/google/uuid"

	"meridian/chat"
)

// Bounds of one op that brings rows; the relay takes a little more.
const (
	bringRows  = 200
	bringBytes = 128 << 10
)

// bring originates what this region holds of an owner of these days, for all regions of the zone: a new entry in every one's
// logs, also where it is known. It gives the number of rows.
func (s *Service) bring(ctx context.Context, zone chat.Zone, owner chat.UserID, days []day) (int, error) {
	row, ok, err := s.owner(ctx, owner)
	if err != nil || !ok {
		return 0, err
	}
	b := &bringer{s: s, owner: chat.Owner{ID: owner, Zone: zone}, days: map[day]bool{0: true}} // 0: the conversations that the rest stands in
	for _, d := range days {
		b.days[d] = true
	}
	if len(days) == 0 {
		return 0, nil
	}
	take := func(d day, bytes int, put func(*chat.Rows)) error { return b.take(ctx, d, bytes, put) }
	if _, _, err := s.held(ctx, zone, row, take); err != nil {
		return b.brought, err
	}
	err = b.flush(ctx)
	return b.brought, err
}

// bringer originates rows in ops of bounded size.
type bringer struct {
	s       *Service
	owner   chat.Owner
	days    map[day]bool
	rows    chat.Rows
	bytes   int
	brought int
}

// take adds a row to those that the next op brings. Steps of groups made by people for whom this region may not speak are left
// out: their zone's regions bring them.
func (b *bringer) take(ctx context.Context, d day, bytes int, put func(*chat.Rows)) error {
	if !b.days[d] {
		return nil
	}
	if b.rows.Len() >= bringRows || b.bytes+bytes > bringBytes {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	put(&b.rows)
	b.bytes += bytes
	foreign := func(zone chat.Zone) bool { return !b.s.opt.Topology.InZone(b.s.opt.Self, zone) }
	b.rows.Members = slices.DeleteFunc(b.rows.Members, func(row chat.MemberRow) bool { return foreign(row.ByZone) })
	b.rows.Groups = slices.DeleteFunc(b.rows.Groups, func(row chat.GroupRow) bool { return foreign(row.ByZone) })
	return nil
}

// flush originates what was taken.
func (b *bringer) flush(ctx context.Context) error {
	rows := b.rows
	b.rows, b.bytes = chat.Rows{}, 0
	if rows.Len() == 0 {
		return nil
	}
	op := chat.Op{Kind: chat.OpRows, Owners: []chat.Owner{b.owner}, Client: chat.ClientID(uuid.New()), Rows: &rows}
	if len(rows.Groups)+len(rows.Members)+len(rows.GroupZones) > 0 {
		op.Conversation = chat.ConversationID(b.owner.ID)
	}
	if _, err := b.s.opt.Submitter.Submit(ctx, op); err != nil {
		return err
	}
	b.brought += rows.Len()
	return nil
}

// sortedDays gives the days, ascending.
func sortedDays[V any](m map[day]V) []day { return slices.Sorted(maps.Keys(m)) }

// MarshalText gives the digest in hex.
func (d digest) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(d[:])), nil }

// UnmarshalText reads it.
func (d *digest) UnmarshalText(b []byte) error {
	if len(b) != 2*len(d) {
		return &chat.Error{Code: chat.CodeInvalid, Op: "verify.digest", Message: "not a digest"}
	}
	_, err := hex.Decode(d[:], b)
	return err
}
