package link

import (
	"google.golang.org/protobuf/encoding/protowire"

	"meridian/chat"
	pb "meridian/proto"
)

// MaxOpBytes bounds an encoded op: its body is at most 64 KiB of text, the rest is ids and names. What brings rows must
// carry few enough.
const MaxOpBytes = 1 << 20

// maxOpFields bounds the fields of an encoded op, so that decoding cannot be made to allocate much more than it is given.
const maxOpFields = 256

// OpCodec turns ops into protobuf (proto/backbone.proto, message Op) and back. It implements chat.OpCodec; the zero value
// is ready, and safe for concurrent use.
//
// What a newer version added to an op or to one of its parts lands in Op.Unknown and is written again by Append; only
// additions inside the elements of a list (Owners, Group.Invited, Rows) are lost.
type OpCodec struct{}

var _ chat.OpCodec = OpCodec{}

// Append appends the encoding of op to dst. op.Unknown must come from Decode.
func (OpCodec) Append(dst []byte, op *chat.Op) []byte { return appendOp(dst, op, chat.StreamID{}) }

// Decode reads one op. The error has CodeInvalid for bytes that are no op, are longer than MaxOpBytes, or break the limits
// of chat.Op.
func (OpCodec) Decode(b []byte) (chat.Op, error) { return decodeOp(b, chat.StreamID{}) }

// The fields of message Op that are written and read by hand, because every message has them; the generated code does
// the rest. Encodings of one message may be joined: the reader merges them.
const (
	fieldID           protowire.Number = 1
	fieldKind         protowire.Number = 2
	fieldTime         protowire.Number = 3
	fieldStream       protowire.Number = 4
	fieldSeq          protowire.Number = 5
	fieldAuthor       protowire.Number = 6
	fieldOwners       protowire.Number = 7
	fieldTo           protowire.Number = 8
	fieldClient       protowire.Number = 9
	fieldConversation protowire.Number = 10
	fieldReplyTo      protowire.Number = 11
	fieldBody         protowire.Number = 12
	fieldBodyHash     protowire.Number = 13
	fieldTrace        protowire.Number = 15
	fieldLogged       protowire.Number = 21
	// Parts with lists, whose lengths are checked before they are decoded.
	fieldGroup protowire.Number = 23
	fieldRows  protowire.Number = 25
)

// appendOp encodes op and leaves out its stream when it is the one that the context tells.
func appendOp(dst []byte, op *chat.Op, stream chat.StreamID) []byte {
	dst = appendBytes(dst, fieldID, idBytes(&op.ID))
	dst = appendNumber(dst, fieldKind, uint64(op.Kind))
	if op.Time != op.ID.Time() {
		dst = protowire.AppendVarint(protowire.AppendTag(dst, fieldTime, protowire.VarintType), uint64(op.Time))
	}
	if op.Logged != op.Time {
		dst = protowire.AppendVarint(protowire.AppendTag(dst, fieldLogged, protowire.VarintType), uint64(op.Logged))
	}
	if op.Stream != stream || len(op.Unknown) > 0 { // Unknown may add to the stream
		dst = appendStream(dst, fieldStream, op.Stream)
	}
	dst = appendNumber(dst, fieldSeq, op.Seq)
	if op.Author != (chat.Owner{}) {
		dst = appendOwner(dst, fieldAuthor, &op.Author)
	}
	for i := range op.Owners {
		dst = appendOwner(dst, fieldOwners, &op.Owners[i])
	}
	for _, region := range op.To {
		dst = protowire.AppendString(protowire.AppendTag(dst, fieldTo, protowire.BytesType), string(region))
	}
	dst = appendBytes(dst, fieldClient, idBytes(&op.Client))
	dst = appendBytes(dst, fieldConversation, idBytes(&op.Conversation))
	dst = appendBytes(dst, fieldReplyTo, idBytes(&op.ReplyTo))
	dst = appendBytes(dst, fieldBody, op.Body)
	dst = appendBytes(dst, fieldBodyHash, hashBytes(&op.BodyHash))
	dst = appendBytes(dst, fieldTrace, op.TraceParent)
	dst = appendParts(dst, op)
	return append(dst, op.Unknown...)
}

func appendNumber(dst []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, number, protowire.VarintType), v)
}

func appendBytes[T ~string | ~[]byte](dst []byte, number protowire.Number, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = protowire.AppendVarint(protowire.AppendTag(dst, number, protowire.BytesType), uint64(len(v)))
	return append(dst, v...)
}

func appendStream(dst []byte, number protowire.Number, s chat.StreamID) []byte {
	size := sizeBytes(len(s.Region)) + sizeBytes(len(s.Node))
	if s.Incarnation != 0 {
		size += 1 + protowire.SizeVarint(uint64(s.Incarnation))
	}
	dst = protowire.AppendVarint(protowire.AppendTag(dst, number, protowire.BytesType), uint64(size))
	dst = appendBytes(dst, 1, s.Region)
	dst = appendBytes(dst, 2, s.Node)
	return appendNumber(dst, 3, uint64(s.Incarnation))
}

func appendOwner(dst []byte, number protowire.Number, o *chat.Owner) []byte {
	id := idBytes(&o.ID)
	size := sizeBytes(len(id)) + sizeBytes(len(o.Zone)) + sizeBytes(len(o.Name))
	dst = protowire.AppendVarint(protowire.AppendTag(dst, number, protowire.BytesType), uint64(size))
	dst = appendBytes(dst, 1, id)
	dst = appendBytes(dst, 2, o.Zone)
	return appendBytes(dst, 3, o.Name)
}

// sizeBytes is what appendBytes writes for so many bytes under a field number below 16.
func sizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(n)
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
	return someOwner(o)
}

func streamMessage(s chat.StreamID) *pb.StreamID {
	return &pb.StreamID{Region: []byte(s.Region), Node: []byte(s.Node), Incarnation: uint64(s.Incarnation)}
}
