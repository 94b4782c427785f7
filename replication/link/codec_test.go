package link

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"meridian/chat"
	pb "meridian/proto"
)

// drawValue fills v with arbitrary values, field by field, so that a field added to chat.Op is drawn without a change here.
func drawValue(t *rapid.T, v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i).Name; field != "Unknown" {
				drawValue(t, v.Field(i), name+"."+field)
			}
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, name+"?") {
			v.Set(reflect.New(v.Type().Elem()))
			drawValue(t, v.Elem(), name)
		}
	case reflect.Slice:
		limit := 40
		switch {
		case strings.HasSuffix(name, ".Invited"):
			limit = chat.MaxInvited
		case v.Type() == reflect.TypeFor[[]chat.Owner]():
			limit = chat.MaxOwners
		case v.Type() == reflect.TypeFor[[]chat.Region]():
			limit = chat.MaxRegions
		case v.Type().Elem().Kind() == reflect.Struct: // rows: many kinds of them
			limit = 3
		}
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(0, limit).Draw(t, name+"#"), limit))
		for i := range v.Len() {
			drawValue(t, v.Index(i), name)
		}
	case reflect.Array:
		if rapid.Bool().Draw(t, name+"?") {
			reflect.Copy(v, reflect.ValueOf(rapid.SliceOfN(rapid.Byte(), v.Len(), v.Len()).Draw(t, name)))
		}
	case reflect.String:
		v.SetString(string(rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(t, name)))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.Uint8, reflect.Uint16, reflect.Uint64:
		bits := v.Type().Bits()
		v.SetUint(rapid.Uint64Range(0, ^uint64(0)>>(64-bits)).Draw(t, name))
	default:
		t.Fatalf("%s: no way to draw a %s", name, v.Type())
	}
}

// TestOpRoundTrip: every field of every op comes back from its encoding as it was, whatever it holds.
func TestOpRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var op chat.Op
		drawValue(t, reflect.ValueOf(&op).Elem(), "Op")
		if rapid.Bool().Draw(t, "time from the id") {
			op.Time = op.ID.Time()
		}
		if rapid.Bool().Draw(t, "entered at its time") {
			op.Logged = op.Time
		}
		prefix := []byte("prefix")
		b := OpCodec{}.Append(prefix, &op)
		if !bytes.HasPrefix(b, prefix) {
			t.Fatalf("Append changed what was there: %q", b)
		}
		got, err := OpCodec{}.Decode(b[len(prefix):])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(op, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("round trip (-want +got):\n%s", diff)
		}
	})
}

// TestOpIsProtobuf: what is written by hand is what the generated code of backbone.proto reads, and the other way round.
func TestOpIsProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var op chat.Op
		drawValue(t, reflect.ValueOf(&op).Elem(), "Op")
		var m pb.Op
		if err := proto.Unmarshal(OpCodec{}.Append(nil, &op), &m); err != nil {
			t.Fatal(err)
		}
		if len(m.ProtoReflect().GetUnknown()) > 0 {
			t.Fatalf("fields that backbone.proto does not have: %v", m.ProtoReflect().GetUnknown())
		}
		b, err := proto.Marshal(&m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := OpCodec{}.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(op, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("through the generated code (-want +got):\n%s", diff)
		}
	})
}

// TestOpKeepsUnknownFields: what a newer version adds to an op, or to a part of it, is still there after this version has
// read and written the op; so an old region on the way loses nothing.
func TestOpKeepsUnknownFields(t *testing.T) {
	op := chat.Op{
		Kind: chat.OpContact, Author: chat.Owner{ID: chat.UserID{1}}, Stream: chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: 3},
		Contact: &chat.ContactChange{From: chat.Owner{ID: chat.UserID{1}}, To: chat.Owner{ID: chat.UserID{2}}, Want: true},
		Mark:    &chat.Mark{Kind: chat.MarkRead},
		Change:  &chat.Change{Kind: chat.ChangeReaction, Emoji: "+", On: true}, Group: &chat.GroupChange{Name: "climbers", Make: true},
		Member: &chat.MemberChange{User: chat.Owner{ID: chat.UserID{2}}, Role: chat.RoleAdmin}, Rows: &chat.Rows{Marks: make([]chat.MarkRow, 2)},
		Refused: &chat.Refusal{Region: "ap-south", Seq: 9, Author: chat.Owner{ID: chat.UserID{1}}, Code: chat.CodeDenied},
	}
	future := protowire.AppendString(protowire.AppendTag(nil, 900, protowire.BytesType), "from the future")
	wrap := func(number protowire.Number, inner []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), inner)
	}
	for name, added := range map[string][]byte{
		"op": future, "stream": wrap(4, future), "author": wrap(6, future), "mark": wrap(14, future),
		"contact": wrap(16, future), "contact.to": wrap(16, wrap(2, future)), "change": wrap(22, future), "group": wrap(23, future),
		"member": wrap(24, future), "member.user": wrap(24, wrap(1, future)), "rows": wrap(25, future),
		"refused": wrap(26, future), "refused.stream": wrap(26, wrap(2, future)), "refused.author": wrap(26, wrap(5, future)),
	} {
		b := OpCodec{}.Append(nil, &op)
		b = append(b, added...)
		for range 3 { // three old regions in a row
			got, err := OpCodec{}.Decode(b)
			if err != nil {
				t.Fatal(name, err)
			}
			if !bytes.Equal(got.Unknown, added) {
				t.Fatalf("%s: unknown fields %q, want %q", name, got.Unknown, added)
			}
			if diff := cmp.Diff(op, got, cmpopts.IgnoreFields(chat.Op{}, "Unknown")); diff != "" {
				t.Fatalf("%s: known fields changed:\n%s", name, diff)
			}
			b = appendOp(nil, &got, op.Stream)
		}
	}
}

// TestOpRefused: bytes that are no op, or that break a limit, are refused with CodeInvalid.
func TestOpRefused(t *testing.T) {
	field := func(number protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
	}
	for name, b := range map[string][]byte{
		"rubbish":           []byte("rubbish"),
		"cut off":           OpCodec{}.Append(nil, &chat.Op{Body: []byte("hello")})[:4],
		"short id":          field(1, []byte("short")),
		"long hash":         field(13, make([]byte, 33)),
		"short owner id":    field(7, field(1, make([]byte, 15))),
		"too many owners":   bytes.Repeat(field(7, nil), chat.MaxOwners+1),
		"too many regions":  bytes.Repeat(field(8, nil), chat.MaxRegions+1),
		"too many invited":  field(23, bytes.Repeat(field(3, nil), chat.MaxInvited+1)),
		"invited in parts":  bytes.Repeat(field(23, field(3, nil)), chat.MaxInvited+1),
		"too many rows":     field(25, bytes.Repeat(field(1, nil), chat.MaxOpRows+1)),
		"rows in parts":     bytes.Repeat(field(25, bytes.Repeat(field(9, nil), 8)), chat.MaxOpRows/8+1),
		"role out of range": field(24, protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 256)),
		"too many fields":   bytes.Repeat(field(900, nil), maxOpFields+1),
		"too long":          field(12, make([]byte, MaxOpBytes)),
		"kind out of range": protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 256),
	} {
		if _, err := (OpCodec{}).Decode(b); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("%s: got error %v, want CodeInvalid", name, err)
		}
	}
}

// FuzzOpDecode: no bytes make Decode panic, every error has CodeInvalid, and what it takes survives another round.
func FuzzOpDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(OpCodec{}.Append(nil, &chat.Op{Kind: chat.OpMessage, Body: []byte("hello"), To: []chat.Region{"eu-west"}, Owners: make([]chat.Owner, 2)}))
	f.Add(OpCodec{}.Append(nil, &chat.Op{Kind: chat.OpAccount, Account: &chat.Account{Username: "ann", Version: 7}}))
	f.Add(OpCodec{}.Append(nil, &chat.Op{Kind: chat.OpGroup, Logged: 9, Group: &chat.GroupChange{Name: "climbers", Make: true, Invited: make([]chat.Owner, 3)}}))
	f.Add(OpCodec{}.Append(nil, &chat.Op{Kind: chat.OpChange, Change: &chat.Change{Kind: chat.ChangeEdit}, Member: &chat.MemberChange{Role: 3}}))
	f.Add(OpCodec{}.Append(nil, &chat.Op{Kind: chat.OpRows, Refused: &chat.Refusal{Seq: 4}, Rows: &chat.Rows{
		Messages: make([]chat.MessageRow, 1), Retries: make([]chat.RetryRow, 1), Marks: make([]chat.MarkRow, 1), Changes: make([]chat.ChangeRow, 1),
		Groups: make([]chat.GroupRow, 1), Members: make([]chat.MemberRow, 1), GroupZones: make([]chat.GroupZoneRow, 1),
		Conversations: make([]chat.ConversationRow, 1), Contacts: make([]chat.ContactRow, 1), Blocks: make([]chat.BlockRow, 1),
		Accounts: make([]chat.Account, 1), Sessions: make([]chat.Session, 1),
	}}))
	f.Add([]byte(strings.Repeat("\x3a\x00", 20)))
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := OpCodec{}.Decode(b)
		if err != nil {
			if chat.CodeOf(err) != chat.CodeInvalid {
				t.Fatalf("error %v, want CodeInvalid", err)
			}
			return
		}
		again, err := OpCodec{}.Decode(OpCodec{}.Append(nil, &op))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(op, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("second round (-first +second):\n%s", diff)
		}
	})
}

// BenchmarkOp measures one message of 300 bytes, there and back.
func BenchmarkOp(b *testing.B) {
	op := benchOp(1)
	var buf []byte
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = OpCodec{}.Append(buf[:0], &op)
		}
		b.ReportMetric(float64(len(buf)), "bytes/op-encoded")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := (OpCodec{}).Decode(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchOp(seq uint64) chat.Op {
	ann, bob := chat.Owner{ID: chat.UserID{1}, Zone: "world", Name: "ann"}, chat.Owner{ID: chat.UserID{2}, Zone: "eu", Name: "bob"}
	id := chat.NewMessageID(chat.HLC(1_790_000_000_000_000+seq), ann.ID, chat.ClientID{9})
	return chat.Op{
		ID: id, Kind: chat.OpMessage, Time: id.Time(), Logged: id.Time(), Stream: chat.StreamID{Region: "us-east", Node: "n1", Incarnation: 1}, Seq: seq,
		Author: ann, Owners: []chat.Owner{ann, bob}, To: []chat.Region{"ap-south", "eu-west"}, Client: chat.ClientID{9},
		Conversation: chat.DirectConversation(ann.ID, bob.ID), Body: bytes.Repeat([]byte("x"), 300), BodyHash: [32]byte{7},
	}
}
