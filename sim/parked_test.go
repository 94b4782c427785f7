package sim

import (
	"testing"

	"meridian/chat"
	"meridian/replication"
	"meridian/sim/memstore"
)

// lone is a node that has its store alone.
func lone(w *world) *node {
	n := &node{w: w, site: &site{region: "b-west", shown: newShownOps()}, region: "b-west", tables: memstore.New("b-west", "n1")}
	n.site.nodes = []*node{n}
	return n
}

// An op that is shown after a later one of its stream breaks the order, unless it was done with before that one was shown.
func TestProveStreamOrder(t *testing.T) {
	stream := chat.StreamID{Region: "a-east", Node: "n1", Incarnation: 1}
	op := func(seq uint64) chat.Op {
		return chat.Op{Stream: stream, Seq: seq, ID: chat.NewMessageID(chat.HLC(seq), chat.UserID{1}, chat.ClientID{byte(seq)})}
	}
	first, second := op(1), op(2)
	at := func(seq uint64) []chat.AppliedRow { return []chat.AppliedRow{{Stream: stream, Seq: seq}} }
	unparked := []chat.ParkedRow{{Op: first}}
	for _, c := range []struct {
		name    string
		batches []chat.Batch // reach the store before the second op is shown
		broken  bool
	}{
		{"nothing was written of the first", []chat.Batch{{}}, true},
		{"the first was parked when the position passed it", []chat.Batch{{Parked: unparked, Applied: at(1)}, {Applied: at(2)}}, true},
		{"the position passed the first", []chat.Batch{{Applied: at(1)}, {Applied: at(2)}}, false},
		{"the first was parked, and is no more", []chat.Batch{{Parked: unparked, Applied: at(2)}, {Unparked: unparked}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{checks: map[string]int{}}
			n := lone(w)
			for i := range c.batches {
				n.site.shown.stored(&c.batches[i])
			}
			n.proveStreamOrder(replication.Visible{Ops: []chat.Op{second}})
			if len(w.violations) > 0 {
				t.Fatal(w.violations)
			}
			n.site.shown.stored(&chat.Batch{Applied: at(2), Unparked: unparked})
			n.proveStreamOrder(replication.Visible{Ops: []chat.Op{first}})
			if broken := len(w.violations) > 0; broken != c.broken {
				t.Errorf("broken %v, want %v: %v", broken, c.broken, w.violations)
			}
		})
	}
}

// A global time may pass an op that stands in the table of what is parked once it became a dead letter, and not before.
func TestProveParked(t *testing.T) {
	op := chat.Op{Stream: chat.StreamID{Region: "a-east", Node: "n1", Incarnation: 1}, Seq: 1, Kind: chat.OpMessage, Logged: 5}
	op.ID = chat.NewMessageID(5, chat.UserID{1}, chat.ClientID{1})
	w := &world{checks: map[string]int{}}
	n := lone(w)
	n.tables.Apply(&chat.Batch{Parked: []chat.ParkedRow{{Op: op, Reason: chat.CodeClockSkew}}})
	n.proveParked(replication.Marks{Global: 4})
	if len(w.violations) > 0 {
		t.Fatalf("a time before the op: %v", w.violations)
	}
	n.proveParked(replication.Marks{Global: 5})
	if len(w.violations) != 1 {
		t.Fatalf("a time that passes what is parked: %v", w.violations)
	}
	n.tables.Apply(&chat.Batch{DeadLetters: []chat.DeadLetterRow{{Stream: op.Stream, Seq: op.Seq, Op: op.ID, Reason: chat.CodeInvalid}}})
	n.proveParked(replication.Marks{Global: 5})
	if len(w.violations) != 1 {
		t.Errorf("a time that passes a dead letter: %v", w.violations)
	}
}
