package seal

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"meridian/chat"
)

// body is one text that an op carries.
type body struct {
	id     chat.MessageID
	author chat.UserID
	own    chat.Zone // whose key seals it where this region holds that: the author's home, or the row's OwnerZone
	text   *[]byte
	op     *chat.Op
	fields bool // text is of fields in the codec's encoding, and must stay so
}

// eachBody calls f for each text in op: its own, those of the rows that it carries, and what a newer version added, which may
// be a text.
func eachBody(op *chat.Op, f func(body)) {
	if len(op.Body) > 0 {
		f(body{op.ID, op.Author.ID, op.Author.Zone, &op.Body, op, false})
	}
	if len(op.Unknown) > 0 {
		f(body{op.ID, op.Author.ID, op.Author.Zone, &op.Unknown, op, true})
	}
	if op.Rows == nil {
		return
	}
	for i := range op.Rows.Messages {
		if m := &op.Rows.Messages[i]; len(m.Body) > 0 {
			f(body{m.ID, m.Sender, m.OwnerZone, &m.Body, op, false})
		}
	}
	for i := range op.Rows.Changes {
		if c := &op.Rows.Changes[i]; len(c.Body) > 0 {
			f(body{c.Op, c.User, c.OwnerZone, &c.Body, op, false})
		}
	}
}

// under gives the zone whose key seals b here: its own, or, when this region holds only a mailbox of somebody whom the op
// concerns, the zone of that one.
func (s *Sealer) under(b body) chat.Zone {
	if s.masters[b.own] != nil {
		return b.own
	}
	if s.masters[b.op.Author.Zone] != nil {
		return b.op.Author.Zone
	}
	for i := range b.op.Owners {
		if zone := b.op.Owners[i].Zone; s.masters[zone] != nil {
			return zone
		}
	}
	return b.own
}

// formatZone is the first byte of a text that is not sealed under its own zone: the zone's length, the zone, and what Seal
// gives follow.
const formatZone = 2

// sealOp seals the texts of op, which is the caller's own copy; what op points to is not.
func (s *Sealer) sealOp(ctx context.Context, op *chat.Op) (err error) {
	if op.Rows != nil {
		rows := *op.Rows
		rows.Messages, rows.Changes = slices.Clone(rows.Messages), slices.Clone(rows.Changes)
		op.Rows = &rows
	}
	eachBody(op, func(b body) {
		if err == nil {
			*b.text, err = s.sealBody(ctx, b)
		}
	})
	return err
}

func (s *Sealer) sealBody(ctx context.Context, b body) ([]byte, error) {
	zone := s.under(b)
	sealed, err := s.Seal(ctx, b.id, b.author, zone, *b.text)
	if err != nil {
		return nil, err
	}
	if zone != b.own {
		sealed = slices.Concat([]byte{formatZone, byte(len(zone))}, []byte(zone), sealed)
	}
	if b.fields {
		return slices.Concat(sealedField, binary.AppendUvarint(nil, uint64(len(sealed))), sealed), nil
	}
	return sealed, nil
}

// sealedField begins the one field that unknown fields become at rest: number 1000 of message Op, which proto/backbone.proto
// keeps free for that.
var sealedField = []byte{0xc2, 0x3e}

// sealedFields takes out what sealBody put into a field; ok is false for fields that are not sealed.
func sealedFields(v []byte) (sealed []byte, ok bool) {
	rest, ok := bytes.CutPrefix(v, sealedField)
	if !ok {
		return nil, false
	}
	size, n := binary.Uvarint(rest)
	if n <= 0 || size == 0 || size != uint64(len(rest)-n) {
		return nil, false
	}
	return rest[n:], true
}

// openOp opens the texts of op in place. What does not open since its key is destroyed becomes nil.
func (s *Sealer) openOp(ctx context.Context, op *chat.Op) (err error) {
	eachBody(op, func(b body) {
		if b.fields && err == nil {
			sealed, ok := sealedFields(*b.text)
			if !ok {
				return // written by a version that did not seal them
			}
			*b.text = sealed
		}
		if err == nil {
			zone, sealed := sealedUnder(b)
			*b.text, err = s.opened(ctx, b.id, b.author, zone, sealed)
		}
	})
	return err
}

// sealedUnder takes a text of an op apart.
func sealedUnder(b body) (zone chat.Zone, sealed []byte) {
	v := *b.text
	if v[0] != formatZone || len(v) < 2 || len(v) < 2+int(v[1]) {
		return b.own, v
	}
	end := 2 + int(v[1])
	return chat.Zone(v[2:end]), v[end:]
}
