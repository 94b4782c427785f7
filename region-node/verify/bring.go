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
	all, err := s.one(ctx, zone, owner)
	if err != nil {
		return 0, err
	}
	if len(days) > 0 && !slices.Contains(days, 0) {
		days = append([]day{0}, days...) // the conversations that the rest stands in
	}
	brought := 0
	for _, d := range days {
		h := all[d]
		if h == nil {
			continue
		}
		s.speakable(&h.rows)
		for _, rows := range split(&h.rows) {
			op := chat.Op{
				Kind: chat.OpRows, Owners: []chat.Owner{{ID: owner, Zone: zone}}, Client: chat.ClientID(uuid.New()), Rows: &rows,
			}
			if len(rows.Groups)+len(rows.Members)+len(rows.GroupZones) > 0 {
				op.Conversation = chat.ConversationID(owner)
			}
			if _, err := s.opt.Submitter.Submit(ctx, op); err != nil {
				return brought, err
			}
			brought += rows.Len()
		}
	}
	return brought, nil
}

// speakable leaves out the steps of groups made by people for whom this region may not speak: their zone's regions bring them.
func (s *Service) speakable(r *chat.Rows) {
	foreign := func(zone chat.Zone) bool { return !s.opt.Topology.InZone(s.opt.Self, zone) }
	r.Members = slices.DeleteFunc(r.Members, func(row chat.MemberRow) bool { return foreign(row.ByZone) })
	r.Groups = slices.DeleteFunc(r.Groups, func(row chat.GroupRow) bool { return foreign(row.ByZone) })
}

// splitter puts rows into parts of bounded size.
type splitter struct {
	parts []chat.Rows
	bytes int
}

// room gives the part that takes a row of so many bytes more.
func (p *splitter) room(bytes int) *chat.Rows {
	if n := len(p.parts); n == 0 || p.parts[n-1].Len() >= bringRows || p.bytes+bytes > bringBytes {
		p.parts = append(p.parts, chat.Rows{})
		p.bytes = 0
	}
	p.bytes += bytes
	return &p.parts[len(p.parts)-1]
}

// split gives the rows in parts that one op can bring; a message stands in one part with what remembers its send.
func split(r *chat.Rows) []chat.Rows {
	var p splitter
	for _, row := range r.Accounts {
		to := p.room(0)
		to.Accounts = append(to.Accounts, row)
	}
	for _, row := range r.Sessions {
		to := p.room(0)
		to.Sessions = append(to.Sessions, row)
	}
	for _, row := range r.Contacts {
		to := p.room(0)
		to.Contacts = append(to.Contacts, row)
	}
	for _, row := range r.Blocks {
		to := p.room(0)
		to.Blocks = append(to.Blocks, row)
	}
	for _, row := range r.Conversations {
		to := p.room(0)
		to.Conversations = append(to.Conversations, row)
	}
	for _, row := range r.Groups {
		to := p.room(len(row.Name))
		to.Groups = append(to.Groups, row)
	}
	for _, row := range r.GroupZones {
		to := p.room(0)
		to.GroupZones = append(to.GroupZones, row)
	}
	for _, row := range r.Members {
		to := p.room(0)
		to.Members = append(to.Members, row)
	}
	for _, row := range r.Marks {
		to := p.room(0)
		to.Marks = append(to.Marks, row)
	}
	retries := map[chat.MessageID][]chat.RetryRow{}
	for _, row := range r.Retries {
		retries[row.ID] = append(retries[row.ID], row)
	}
	for _, row := range r.Messages {
		to := p.room(len(row.Body))
		to.Messages = append(to.Messages, row)
		to.Retries = append(to.Retries, retries[row.ID]...)
	}
	for _, row := range r.Changes {
		to := p.room(len(row.Body))
		to.Changes = append(to.Changes, row)
	}
	return p.parts
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
