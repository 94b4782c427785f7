package link

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"meridian/chat"
	pb "meridian/proto"
)

// MaxOpBytes bounds an encoded op: its body is at most 64 KiB of text, the rest is ids and names.
const MaxOpBytes = 1 << 20

// maxOpFields bounds the fields of an encoded op, so that decoding cannot be made to allocate much more than it is given.
const maxOpFields = 256

// OpCodec turns ops into protobuf (proto/backbone.proto, message Op) and back. It implements chat.OpCodec; the zero value
// is ready, and safe for concurrent use.
//
// What a newer version added to an op or to one of its parts lands in Op.Unknown and is written again by Append; only
// additions inside one of Owners are lost.
type OpCodec struct{}

var _ chat.OpCodec = OpCodec{}

// Append appends the encoding of op to dst. op.Unknown must come from Decode.
func (OpCodec) Append(dst []byte, op *chat.Op) []byte { return appendOp(dst, op, chat.StreamID{}) }

// Decode reads one op. The error has CodeInvalid for bytes that are no op, are longer than MaxOpBytes, or break the limits
// of chat.Op.
func (OpCodec) Decode(b []byte) (chat.Op, error) { return decodeOp(b, chat.StreamID{}) }

// appendOp encodes op and leaves out its stream when it is the one that the context tells.
func appendOp(dst []byte, op *chat.Op, stream chat.StreamID) []byte {
	m := &pb.Op{
		Id: idBytes(&op.ID), Kind: uint32(op.Kind), Seq: op.Seq, Author: ownerMessage(&op.Author),
		Client: idBytes(&op.Client), Conversation: idBytes(&op.Conversation), ReplyTo: idBytes(&op.ReplyTo),
		Body: op.Body, BodyHash: hashBytes(&op.BodyHash), TraceParent: []byte(op.TraceParent),
	}
	if op.Time != op.ID.Time() {
		m.Time = proto.Uint64(uint64(op.Time))
	}
	if op.Stream != stream || len(op.Unknown) > 0 { // Unknown may add to the stream
		m.Stream = streamMessage(op.Stream)
	}
	if len(op.Owners) > 0 {
		m.Owners = make([]*pb.Owner, len(op.Owners))
		for i := range op.Owners {
			if m.Owners[i] = ownerMessage(&op.Owners[i]); m.Owners[i] == nil {
				m.Owners[i] = &pb.Owner{}
			}
		}
	}
	for _, r := range op.To {
		m.To = append(m.To, []byte(r))
	}
	addParts(m, op)
	out, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
	if err != nil {
		// The message has no required field and no string, which are all that Marshal can refuse.
		panic(fmt.Sprintf("link: encode an op: %v", err))
	}
	return append(out, op.Unknown...)
}

func addParts(m *pb.Op, op *chat.Op) {
	if p := op.Mark; p != nil {
		m.Mark = &pb.Mark{Conversation: idBytes(&p.Conversation), User: idBytes(&p.User), Kind: uint32(p.Kind), UpTo: idBytes(&p.UpTo)}
	}
	if p := op.Contact; p != nil {
		m.Contact = &pb.ContactChange{From: ownerMessage(&p.From), To: ownerMessage(&p.To), Want: p.Want}
	}
	if p := op.Block; p != nil {
		m.Block = &pb.BlockChange{By: ownerMessage(&p.By), User: ownerMessage(&p.User), On: p.On}
	}
	if p := op.Account; p != nil {
		m.Account = &pb.Account{
			Id: idBytes(&p.ID), Username: []byte(p.Username), DisplayName: []byte(p.DisplayName), PasswordHash: []byte(p.PasswordHash),
			Zone: []byte(p.Zone), Pinned: p.Pinned, CreatedAt: uint64(p.CreatedAt), Version: uint64(p.Version),
			SessionsNotBefore: uint64(p.SessionsNotBefore), SessionKept: idBytes(&p.SessionKept),
		}
	}
	if p := op.Session; p != nil {
		m.Session = &pb.Session{
			Id: idBytes(&p.ID), User: idBytes(&p.User), Zone: []byte(p.Zone), Device: []byte(p.Device), Region: []byte(p.Region),
			CreatedAt: uint64(p.CreatedAt), Version: uint64(p.Version), Revoked: p.Revoked,
		}
	}
	if p := op.Claim; p != nil {
		m.Claim = &pb.Claim{
			Key: hashBytes(&p.Key), Blinded: idBytes(&p.Blinded), Zone: []byte(p.Zone), Bucket: uint32(p.Bucket),
			Attempt: idBytes(&p.Attempt), Pending: p.Pending, Version: uint64(p.Version),
		}
	}
}

// decodeOp reads an op; one that has no stream is of the given one.
func decodeOp(b []byte, stream chat.StreamID) (chat.Op, error) {
	if len(b) > MaxOpBytes {
		return chat.Op{}, invalidOp("longer than %d bytes", MaxOpBytes)
	}
	if n := countFields(b, maxOpFields); n < 0 || n > maxOpFields {
		return chat.Op{}, invalidOp("malformed, or more than %d fields", maxOpFields)
	}
	var m pb.Op
	if err := proto.Unmarshal(b, &m); err != nil {
		return chat.Op{}, invalidOp("not an op")
	}
	if len(m.Owners) > chat.MaxOwners || len(m.To) > chat.MaxRegions {
		return chat.Op{}, invalidOp("%d owners and %d regions", len(m.Owners), len(m.To))
	}
	var r reader
	op := chat.Op{Kind: chat.OpKind(r.small(m.Kind)), Stream: stream, Seq: m.Seq, TraceParent: string(m.TraceParent)}
	readID(&r, &op.ID, m.Id)
	readID(&r, &op.Client, m.Client)
	readID(&r, &op.Conversation, m.Conversation)
	readID(&r, &op.ReplyTo, m.ReplyTo)
	readHash(&r, &op.BodyHash, m.BodyHash)
	if op.Time = op.ID.Time(); m.Time != nil {
		op.Time = chat.HLC(*m.Time)
	}
	if m.Stream != nil {
		op.Stream = readStream(m.Stream)
	}
	if len(m.Body) > 0 {
		op.Body = m.Body
	}
	op.Author = r.owner(m.Author)
	for _, o := range m.Owners {
		op.Owners = append(op.Owners, r.owner(o))
	}
	for _, region := range m.To {
		op.To = append(op.To, chat.Region(region))
	}
	r.parts(&op, &m)
	op.Unknown = unknownFields(&m)
	if r.bad != "" {
		return chat.Op{}, invalidOp("%s", r.bad)
	}
	return op, nil
}

// reader turns the parts of a message into the words of chat and remembers the first thing that was wrong.
type reader struct{ bad string }

func (r *reader) small(v uint32) uint8 {
	if v > 0xff {
		r.bad = "number too large"
	}
	return uint8(v)
}

func readID[T ~[16]byte](r *reader, dst *T, b []byte) {
	switch len(b) {
	case 0:
	case len(*dst):
		*dst = T(b)
	default:
		r.bad = "id of the wrong length"
	}
}

func readHash[T ~[32]byte](r *reader, dst *T, b []byte) {
	switch len(b) {
	case 0:
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

func (r *reader) parts(op *chat.Op, m *pb.Op) {
	if p := m.Mark; p != nil {
		op.Mark = &chat.Mark{Kind: chat.MarkKind(r.small(p.Kind))}
		readID(r, &op.Mark.Conversation, p.Conversation)
		readID(r, &op.Mark.User, p.User)
		readID(r, &op.Mark.UpTo, p.UpTo)
	}
	if p := m.Contact; p != nil {
		op.Contact = &chat.ContactChange{From: r.owner(p.From), To: r.owner(p.To), Want: p.Want}
	}
	if p := m.Block; p != nil {
		op.Block = &chat.BlockChange{By: r.owner(p.By), User: r.owner(p.User), On: p.On}
	}
	if p := m.Account; p != nil {
		op.Account = &chat.Account{
			Username: string(p.Username), DisplayName: string(p.DisplayName), PasswordHash: string(p.PasswordHash),
			Zone: chat.Zone(p.Zone), Pinned: p.Pinned, CreatedAt: chat.HLC(p.CreatedAt), Version: chat.HLC(p.Version),
			SessionsNotBefore: chat.HLC(p.SessionsNotBefore),
		}
		readID(r, &op.Account.ID, p.Id)
		readID(r, &op.Account.SessionKept, p.SessionKept)
	}
	if p := m.Session; p != nil {
		op.Session = &chat.Session{
			Zone: chat.Zone(p.Zone), Device: string(p.Device), Region: chat.Region(p.Region),
			CreatedAt: chat.HLC(p.CreatedAt), Version: chat.HLC(p.Version), Revoked: p.Revoked,
		}
		readID(r, &op.Session.ID, p.Id)
		readID(r, &op.Session.User, p.User)
	}
	if p := m.Claim; p != nil {
		if p.Bucket > 0xffff {
			r.bad = "bucket too large"
		}
		op.Claim = &chat.Claim{Zone: chat.Zone(p.Zone), Bucket: uint16(p.Bucket), Pending: p.Pending, Version: chat.HLC(p.Version)}
		readHash(r, &op.Claim.Key, p.Key)
		readID(r, &op.Claim.Blinded, p.Blinded)
		readID(r, &op.Claim.Attempt, p.Attempt)
	}
}

// unknownFields gathers what m and its parts hold and this version does not know, such that appended to m's encoding it
// is merged into the same places: a second occurrence of a message field adds to the first.
func unknownFields(m *pb.Op) []byte {
	out := append([]byte(nil), m.ProtoReflect().GetUnknown()...)
	out = appendNested(out, m.Stream, 4)
	out = appendNested(out, m.Author, 6)
	out = appendNested(out, m.Mark, 14)
	if p := m.Contact; p != nil {
		out = appendNested(out, p, 16)
		out = appendNested(out, p.From, 16, 1)
		out = appendNested(out, p.To, 16, 2)
	}
	if p := m.Block; p != nil {
		out = appendNested(out, p, 17)
		out = appendNested(out, p.By, 17, 1)
		out = appendNested(out, p.User, 17, 2)
	}
	out = appendNested(out, m.Account, 18)
	out = appendNested(out, m.Session, 19)
	return appendNested(out, m.Claim, 20)
}

// appendNested appends the unknown fields of the message that lies at path (nil has none), wrapped in the fields that lead to it.
func appendNested(dst []byte, m proto.Message, path ...protowire.Number) []byte {
	inner := []byte(m.ProtoReflect().GetUnknown())
	if len(inner) == 0 {
		return dst
	}
	for i := len(path) - 1; i >= 0; i-- {
		inner = protowire.AppendBytes(protowire.AppendTag(nil, path[i], protowire.BytesType), inner)
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

func idBytes[T ~[16]byte](id *T) []byte {
	if *id == (T{}) {
		return nil
	}
	return (*id)[:]
}

func hashBytes[T ~[32]byte](h *T) []byte {
	if *h == (T{}) {
		return nil
	}
	return (*h)[:]
}

func ownerMessage(o *chat.Owner) *pb.Owner {
	if *o == (chat.Owner{}) {
		return nil
	}
	return &pb.Owner{Id: idBytes(&o.ID), Zone: []byte(o.Zone), Name: []byte(o.Name)}
}

func streamMessage(s chat.StreamID) *pb.StreamID {
	return &pb.StreamID{Region: []byte(s.Region), Node: []byte(s.Node), Incarnation: uint64(s.Incarnation)}
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
