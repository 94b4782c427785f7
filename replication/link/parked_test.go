package link

import (
	"bytes"
	"crypto/sha256"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"meridian/chat"
	"meridian/replication"
)

// What an edit is called in the encoding of a build that this one does not know yet.
const (
	futureKind  = 200
	futureField = protowire.Number(900)
	changeField = protowire.Number(22)
)

// retold tells an encoded op as another build would: under another kind, and with a part in another field.
func retold(t *testing.T, b []byte, kind uint64, from, to protowire.Number) (out []byte) {
	t.Helper()
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		size := protowire.ConsumeFieldValue(number, wire, b[n:])
		if n < 0 || size < 0 {
			t.Fatal("malformed")
		}
		value := b[n : n+size]
		b = b[n+size:]
		switch number {
		case fieldKind:
			value = protowire.AppendVarint(nil, kind)
		case from:
			number = to
		}
		out = append(protowire.AppendTag(out, number, wire), value...)
	}
	return out
}

// An older build keeps an op of a kind that it does not know as it came, for itself and for whoever it hands it on to: upgraded,
// it applies the op, whole.
func TestUnknownKindSurvivesTheUpgrade(t *testing.T) {
	now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	at := chat.HLCFromTime(now)
	author := chat.Owner{ID: chat.UserID{1}, Zone: "world", Name: "ann"}
	target := chat.NewMessageID(at-1000, author.ID, chat.ClientID{1})
	stream := chat.StreamID{Region: "us", Node: "n1", Incarnation: 1}
	op := chat.Op{
		ID: chat.NewMessageID(at, author.ID, chat.ClientID{2}), Kind: chat.OpChange, Time: at, Logged: at, Stream: stream, Seq: 1,
		Author: author, Owners: []chat.Owner{author}, To: []chat.Region{"eu", "in"}, Client: chat.ClientID{2},
		Conversation: chat.DirectConversation(author.ID, author.ID), Body: []byte("better"), BodyHash: sha256.Sum256([]byte("better")),
		Change: &chat.Change{Kind: chat.ChangeEdit, Target: target},
	}
	sent := retold(t, OpCodec{}.Append(nil, &op), futureKind, changeField, futureField)

	received, err := OpCodec{}.Decode(sent)
	if err != nil {
		t.Fatal(err)
	}
	core := replication.New(coreConfig(), replication.Restored{Identity: chat.Identity{Incarnation: 1}})
	frame := replication.Frame{Kind: replication.FrameBatch, Stream: stream, UpTo: 1, Ops: []chat.Op{received}}
	batch := firstWrite(t, core.Step(now, replication.Received{Peer: chat.NodeRef{Region: "us", Node: "n1"}, Frame: frame}))
	if len(batch.Parked) != 1 || len(batch.Log) != 1 || len(batch.Applied) != 1 || batch.Applied[0].Seq != 1 {
		t.Fatalf("written %+v", batch)
	}
	stored := OpCodec{}.Append(nil, &batch.Parked[0].Op)
	for name, b := range map[string][]byte{"parked": stored, "kept for others": OpCodec{}.Append(nil, &batch.Log[0].Op)} {
		again, err := OpCodec{}.Decode(b)
		if err != nil || again.Kind != futureKind || !bytes.Equal(again.Unknown, received.Unknown) || len(again.Unknown) == 0 {
			t.Fatalf("%s: %+v, error %v", name, again, err)
		}
	}

	upgraded, err := OpCodec{}.Decode(retold(t, stored, uint64(chat.OpChange), futureField, changeField))
	if err != nil {
		t.Fatal(err)
	}
	row := chat.ParkedRow{Op: upgraded, Reason: batch.Parked[0].Reason}
	core = replication.New(coreConfig(), replication.Restored{
		Identity: chat.Identity{Incarnation: 1}, Applied: batch.Applied, Parked: []chat.ParkedRow{row},
	})
	for _, out := range core.Step(now, replication.Tick{}) {
		if read, ok := out.(replication.ReadParked); ok {
			outs := core.Step(now, replication.ParkedRead{Stream: read.Stream, Rows: []chat.ParkedRow{row}})
			applied := firstWrite(t, outs)
			if len(applied.Unparked) != 1 || len(applied.Changes) != 1 || applied.Changes[0].Target != target || string(applied.Changes[0].Body) != "better" {
				t.Fatalf("applied %+v", applied)
			}
			return
		}
	}
	t.Fatal("the upgraded build does not look for what is parked")
}

func coreConfig() replication.Config {
	regions := []chat.Region{"eu", "in", "us"}
	return replication.Config{
		Self: "eu", Node: "n1", MaxDrift: 500 * time.Millisecond, Watermark: 250 * time.Millisecond, Resend: 3 * time.Second,
		WindowOps: 100, WindowBytes: 1 << 20, TailOps: 100, BatchOps: 10, BatchBytes: 1 << 16, InFlight: 10,
		Topology: chat.Topology{Regions: regions, Zones: map[chat.Zone]chat.ZoneSpec{"world": {Name: "world", Regions: regions, Policy: chat.PolicyCopy}}},
	}
}

func firstWrite(t *testing.T, outs []replication.Output) *chat.Batch {
	t.Helper()
	for _, out := range outs {
		if w, ok := out.(replication.Write); ok {
			return w.Batch
		}
	}
	t.Fatalf("nothing is written: %+v", outs)
	return nil
}
