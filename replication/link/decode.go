package link

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"meridian/chat"
	pb "meridian/proto"
)

// decodeOp reads an op; one that has no stream is of the given one.
func decodeOp(b []byte, stream chat.StreamID) (chat.Op, error) {
	if len(b) > MaxOpBytes {
		return chat.Op{}, invalidOp("longer than %d bytes", MaxOpBytes)
	}
	var r reader
	op := chat.Op{Stream: stream}
	timed, logged, streamed := false, false, false
	for count := 0; len(b) > 0; count++ {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 || count == maxOpFields {
			return chat.Op{}, invalidOp("malformed, or more than %d fields", maxOpFields)
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			return chat.Op{}, invalidOp("malformed")
		}
		field := b[:n+size]
		b = b[n+size:]
		switch kind {
		case protowire.BytesType:
			v, _ := protowire.ConsumeBytes(field[n:])
			if number == fieldStream && !streamed {
				op.Stream, streamed = chat.StreamID{}, true
			}
			if !r.bytesField(&op, number, v) {
				r.checkLists(number, v)
				r.rest = append(r.rest, field...)
			}
		case protowire.VarintType:
			v, _ := protowire.ConsumeVarint(field[n:])
			timed, logged = timed || number == fieldTime, logged || number == fieldLogged
			if !r.numberField(&op, number, v) {
				r.rest = append(r.rest, field...)
			}
		default:
			r.rest = append(r.rest, field...)
		}
	}
	if !timed {
		op.Time = op.ID.Time()
	}
	if !logged {
		op.Logged = op.Time
	}
	if len(r.rest) > 0 && r.bad == "" {
		r.decodeRest(&op)
	}
	op.Unknown = append(op.Unknown, r.unknown...)
	if len(op.Owners) > chat.MaxOwners || len(op.To) > chat.MaxRegions || op.Group != nil && len(op.Group.Invited) > chat.MaxInvited {
		return chat.Op{}, invalidOp("%d owners and %d regions, or too many invited", len(op.Owners), len(op.To))
	}
	if r.bad != "" {
		return chat.Op{}, invalidOp("%s", r.bad)
	}
	return op, nil
}

// bytesField reads one of the fields that are read by hand; false for another.
func (r *reader) bytesField(op *chat.Op, number protowire.Number, v []byte) bool {
	switch number {
	case fieldID:
		readID(r, &op.ID, v)
	case fieldStream:
		r.streamField(&op.Stream, v)
	case fieldAuthor:
		r.ownerField(&op.Author, v, true)
	case fieldOwners:
		var o chat.Owner
		r.ownerField(&o, v, false)
		if op.Owners == nil {
			op.Owners = make([]chat.Owner, 0, 2)
		}
		op.Owners = append(op.Owners, o)
	case fieldTo:
		op.To = append(op.To, chat.Region(v))
	case fieldClient:
		readID(r, &op.Client, v)
	case fieldConversation:
		readID(r, &op.Conversation, v)
	case fieldReplyTo:
		readID(r, &op.ReplyTo, v)
	case fieldBody:
		op.Body = append([]byte(nil), v...)
	case fieldBodyHash:
		readHash(r, &op.BodyHash, v)
	case fieldTrace:
		op.TraceParent = string(v)
	default:
		return false
	}
	return true
}

func (r *reader) numberField(op *chat.Op, number protowire.Number, v uint64) bool {
	switch number {
	case fieldKind:
		op.Kind = chat.OpKind(r.small(uint32(min(v, 1<<32-1))))
	case fieldTime:
		op.Time = chat.HLC(v)
	case fieldLogged:
		op.Logged = chat.HLC(v)
	case fieldSeq:
		op.Seq = v
	default:
		return false
	}
	return true
}

// eachField gives the fields of a small message, and gathers those that handle does not know.
func (r *reader) eachField(b []byte, handle func(number protowire.Number, kind protowire.Type, v []byte) bool) (unknown []byte) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			r.bad = "malformed"
			return nil
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			r.bad = "malformed"
			return nil
		}
		v := b[n : n+size]
		if kind == protowire.BytesType {
			v, _ = protowire.ConsumeBytes(v)
		}
		if !handle(number, kind, v) {
			unknown = append(unknown, b[:n+size]...)
		}
		b = b[n+size:]
	}
	return unknown
}

func (r *reader) streamField(s *chat.StreamID, b []byte) {
	unknown := r.eachField(b, func(number protowire.Number, kind protowire.Type, v []byte) bool {
		switch {
		case number == 1 && kind == protowire.BytesType:
			s.Region = chat.Region(v)
		case number == 2 && kind == protowire.BytesType:
			s.Node = chat.NodeID(v)
		case number == 3 && kind == protowire.VarintType:
			incarnation, _ := protowire.ConsumeVarint(v)
			s.Incarnation = chat.Incarnation(incarnation)
		default:
			return false
		}
		return true
	})
	r.unknown = appendBytes(r.unknown, fieldStream, unknown)
}

func (r *reader) ownerField(o *chat.Owner, b []byte, author bool) {
	unknown := r.eachField(b, func(number protowire.Number, kind protowire.Type, v []byte) bool {
		switch {
		case kind != protowire.BytesType:
			return false
		case number == 1:
			readID(r, &o.ID, v)
		case number == 2:
			o.Zone = chat.Zone(v)
		case number == 3:
			o.Name = string(v)
		default:
			return false
		}
		return true
	})
	if author {
		r.unknown = appendBytes(r.unknown, fieldAuthor, unknown)
	}
}

// checkLists refuses parts with too many elements before they are decoded, each of which would take much more memory than
// its bytes. A part that occurs twice is one.
func (r *reader) checkLists(number protowire.Number, v []byte) {
	switch number {
	case fieldGroup:
		r.invited += max(countFields(v, maxGroupFields), 0)
	case fieldRows:
		r.carried += max(countFields(v, chat.MaxOpRows), 0)
	}
	if r.invited > maxGroupFields || r.carried > chat.MaxOpRows {
		r.bad = "too many people or rows"
	}
}

// maxGroupFields bounds what a change of a group is made of: the invited and a few fields more.
const maxGroupFields = chat.MaxInvited + 16

// decodeRest reads what only some kinds of op have, and what nobody here knows.
func (r *reader) decodeRest(op *chat.Op) {
	var m pb.Op
	if err := proto.Unmarshal(r.rest, &m); err != nil {
		r.bad = "malformed"
		return
	}
	r.parts(op, &m)
	op.Unknown = unknownFields(&m)
}

// reader turns fields into the words of chat and remembers that something was wrong.
type reader struct {
	bad     string
	rest    []byte // fields that are not read by hand
	invited int    // fields of a change of a group, counted
	carried int    // rows, counted
	unknown []byte // what a newer version added to the stream or the author
}

func (r *reader) small(v uint32) uint8 {
	if v > 0xff {
		r.bad = "number too large"
	}
	return uint8(v)
}

func readID[T ~[16]byte](r *reader, dst *T, b []byte) {
	switch len(b) {
	case 0:
		*dst = T{}
	case len(*dst):
		*dst = T(b)
	default:
		r.bad = "id of the wrong length"
	}
}

func readHash[T ~[32]byte](r *reader, dst *T, b []byte) {
	switch len(b) {
	case 0:
		*dst = T{}
	case len(*dst):
		*dst = T(b)
	default:
		r.bad = "hash of the wrong length"
	}
}

func (r *reader) owner(m *pb.Owner) chat.Owner {
	if m == nil {
		return chat.Owner{}
	}
	o := chat.Owner{Zone: chat.Zone(m.Zone), Name: string(m.Name)}
	readID(r, &o.ID, m.Id)
	return o
}

// appendNested appends the unknown fields of the message that lies at path (nil has none), wrapped in the fields that lead to it.
func appendNested(dst []byte, m proto.Message, path ...protowire.Number) []byte {
	inner := []byte(m.ProtoReflect().GetUnknown())
	if len(inner) == 0 {
		return dst
	}
	for _, p := range slices.Backward(path) {
		inner = protowire.AppendBytes(protowire.AppendTag(nil, p, protowire.BytesType), inner)
	}
	return append(dst, inner...)
}

// countFields counts the top-level fields of an encoded message and stops above limit; -1 for what is no message.
func countFields(b []byte, limit int) int {
	count := 0
	for len(b) > 0 && count <= limit {
		_, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return -1
		}
		b = b[n:]
		count++
	}
	return count
}

func readStream(m *pb.StreamID) chat.StreamID {
	if m == nil {
		return chat.StreamID{}
	}
	return chat.StreamID{Region: chat.Region(m.Region), Node: chat.NodeID(m.Node), Incarnation: chat.Incarnation(m.Incarnation)}
}

func invalidOp(format string, args ...any) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "link.OpCodec.Decode", Message: fmt.Sprintf(format, args...)}
}
