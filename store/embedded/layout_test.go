package embedded_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meridian/chat"
	"meridian/replication/link"
	"meridian/store/embedded"
	"meridian/store/storetest"
)

// layout1 gives a copy of a store that was written before several nodes shared one: two sends of life 1, of which us-east has
// acknowledged the first, a reservation, and one send of life 2.
func layout1(t *testing.T) embedded.Options {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(dir, os.DirFS("testdata/layout1")); err != nil {
		t.Fatal(err)
	}
	o := options(dir, storetest.DefaultConfig())
	o.Codec = link.OpCodec{}
	return o
}

// A directory of layout 1 opens, reads as before, and goes on as the present layout: its lives are listed, times of entry are those of
// the ops, conversations take groups; it does so again after closing, and refuses other nodes and regions as before.
func TestLayout1(t *testing.T) {
	o := layout1(t)
	other := o
	other.Region = "us-east"
	_, err := embedded.Open(other)
	wantCode(t, err, chat.CodeInvalid)
	other = o
	other.Node = "n2"
	_, err = embedded.Open(other)
	wantCode(t, err, chat.CodeInvalid)
	const high = 1_790_000_000_500_000
	ann, bob := chat.UserID{1}, chat.UserID{2}
	conv := chat.DirectConversation(ann, bob)
	life := func(inc chat.Incarnation) chat.StreamID {
		return chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: inc}
	}
	for round := range 2 {
		s := mustOpen(t, o)
		id, err := s.Identity(ctx)
		equal(t, err, id, chat.Identity{Region: "eu-west", Node: "n1", Incarnation: 2, HighWater: high, LastSeq: 1})
		nodes, err := s.Nodes(ctx)
		equal(t, err, nodes, []chat.NodeRow{{Stream: life(1), HighWater: high, LastSeq: 2}, {Stream: life(2), HighWater: high, LastSeq: 1}})
		ops, err := s.ReadLog(ctx, life(1), 0, 9, "us-east", 9)
		if err != nil || len(ops) != 2 || ops[1].Logged != ops[1].Time || string(ops[1].Body) != "hello" {
			t.Fatalf("ops %+v, error %v", ops, err)
		}
		rows, err := s.Messages(ctx, bob, conv, chat.NoMessage, 10)
		if err != nil || len(rows) != 3 {
			t.Fatalf("%d messages, error %v", len(rows), err)
		}
		row, ok, err := s.Conversation(ctx, ann, conv)
		equal(t, err, []any{row, ok}, []any{
			chat.ConversationRow{Owner: ann, ID: conv, Peer: chat.Owner{ID: bob, Zone: "world", Name: "bob"}, Last: rows[0].ID, Answered: true, Group: round == 1}, true,
		})
		owners, err := s.Owners(ctx, chat.NoUser, 10)
		equal(t, err, owners, []chat.OwnerRow{{ID: ann, Zone: "world"}, {ID: bob, Zone: "world"}})
		grouped := chat.ConversationRow{Owner: ann, ID: conv, Group: true}
		if err := storetest.Commit(s, &chat.Batch{Rows: chat.Rows{Conversations: []chat.ConversationRow{grouped}}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func equal(t *testing.T, err error, have, want any) {
	t.Helper()
	if d := cmp.Diff(want, have); err != nil || d != "" {
		t.Fatalf("error %v, differs (-want +have):\n%s", err, d)
	}
}

// A directory of layout 2 goes on as the present layout when it holds no groups, and is refused by name when it does: it loses
// nothing, and nothing is read wrongly.
func TestLayout2(t *testing.T) {
	o := options(filepath.Join(t.TempDir(), "store"), storetest.DefaultConfig())
	s := mustOpen(t, o)
	wantCode(t, storetest.Commit(s, send(1, 10)), "")
	for _, group := range []bool{false, true} {
		if group {
			row := chat.GroupRow{Owner: chat.UserID{7}, Conversation: chat.ConversationID{7}, Name: "g", Op: chat.NewMessageID(10, chat.UserID{1}, chat.ClientID{1})}
			wantCode(t, storetest.Commit(s, &chat.Batch{Rows: chat.Rows{Groups: []chat.GroupRow{row}}}), "")
		}
		wantCode(t, embedded.SetLayout(s, 2), "")
		wantCode(t, s.Close(), "")
		if group {
			_, err := embedded.Open(o)
			wantCode(t, err, chat.CodeInvalid)
			continue
		}
		if s = mustOpen(t, o); !has(t, s, 1) {
			t.Fatal("the message is gone")
		}
	}
}

// A store that a process keeps for nodes only has no life of its own, and refuses what needs one; its nodes come and go.
func TestKeeper(t *testing.T) {
	o := options(t.TempDir(), storetest.DefaultConfig())
	o.Node = ""
	s := mustOpen(t, o)
	wantCode(t, storetest.Commit(s, send(1, 10)), chat.CodeInvalid)
	_, err := s.Identity(ctx)
	wantCode(t, err, chat.CodeInvalid)
	_, err = s.Adopt(ctx, chat.StreamID{}, 1)
	wantCode(t, err, chat.CodeInvalid)
	wantCode(t, s.Renew(ctx, 1, 1), chat.CodeInvalid)
	_, err = s.NewIncarnation(ctx, 0)
	wantCode(t, err, chat.CodeInvalid)
	_, err = s.Node(ctx, "")
	wantCode(t, err, chat.CodeInvalid)
	for range 2 {
		n, err := s.Node(ctx, "n7")
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, storetest.Commit(n, send(1, 10)), "")
		wantCode(t, n.Close(), "")
	}
	if !has(t, s, 1) {
		t.Fatal("the message is gone")
	}
	wantCode(t, s.Close(), "")
	o.Node = "n7"
	if n := mustOpen(t, o); !has(t, n, 1) {
		t.Fatal("the message is gone")
	}
}

// A handle whose node has begun a later life elsewhere cannot prolong its own; it keeps naming the life that it is of.
func TestOldHandle(t *testing.T) {
	s := mustOpen(t, options(t.TempDir(), storetest.DefaultConfig()))
	old, err := s.Node(ctx, "n2")
	wantCode(t, err, "")
	again, err := s.Node(ctx, "n2")
	wantCode(t, err, "")
	wantCode(t, old.Renew(ctx, 100, 50), "")
	_, err = again.NewIncarnation(ctx, 0)
	wantCode(t, err, "")
	wantCode(t, old.Renew(ctx, 200, 150), chat.CodeVersionConflict)
	wantCode(t, again.Renew(ctx, 200, 150), "")
	id, err := old.Identity(ctx)
	wantCode(t, err, "")
	if id.Incarnation != 1 {
		t.Fatalf("the old handle is of life %d", id.Incarnation)
	}
}
