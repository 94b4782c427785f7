package shared_test

import (
	"context"
	"encoding/binary"
	"net"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meridian/chat"
	"meridian/replication/link"
	"meridian/sim/memstore"
	"meridian/store/shared"
)

// older is a store whose process does not know what conversations are listed by, when it is told not to.
type older struct {
	chat.Store
	old *atomic.Bool
}

func (o older) Activities(ctx context.Context, owner chat.UserID, before chat.MessageID, limit int) ([]chat.ActivityRow, error) {
	if o.old.Load() {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "shared.serve"}
	}
	return o.Store.Activities(ctx, owner, before, limit)
}

// A store of an older version is asked in the words that it knows, and the list is the same, page by page.
func TestActivitiesOfAnOlderStore(t *testing.T) {
	store, old := memstore.Open(memstore.New("eu-west", "n1"), memstore.Retention{}), &atomic.Bool{}
	defer store.Close()
	id := func(n uint16, kind byte) (id [16]byte) {
		id[0] = kind
		binary.BigEndian.PutUint16(id[1:], n)
		return id
	}
	me, at := chat.Owner{ID: chat.UserID{1}, Zone: "world", Name: "me"}, chat.HLC(1_800_000_000_000_000)
	op := func(n int) chat.MessageID { return chat.NewMessageID(at+chat.HLC(n), me.ID, chat.ClientID{1}) }
	var rows chat.Rows
	const many = 1100 // more than is read at once
	for n := range many {
		conversation := chat.ConversationID(id(uint16(n), 2))
		row := chat.ConversationRow{Owner: me.ID, ID: conversation, Last: op(10 * n), Group: n%3 > 0}
		if !row.Group {
			row.Peer = chat.Owner{ID: id(uint16(n), 3), Zone: "world", Name: "peer"}
		}
		if n%6 == 1 {
			rows.Conversations = append(rows.Conversations, chat.ConversationRow{Owner: chat.UserID(conversation), ID: conversation, Last: op(50*n + 1), Group: true})
		}
		if n%6 == 4 {
			rows.Members = append(rows.Members, chat.MemberRow{Owner: chat.UserID(conversation), Conversation: conversation, User: me, Op: op(20*many + 10*n + 2), By: me.ID, ByZone: "world"})
		}
		rows.Conversations = append(rows.Conversations, row)
	}
	done := make(chan error, 1)
	store.Commit(&chat.Batch{Rows: rows}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := shared.Serve(listener, shared.ServerOptions{
		Region: "eu-west", Secret: secret, Codec: link.OpCodec{}, Node: func(context.Context, chat.NodeID, chat.Incarnation) (chat.Store, error) {
			return older{store, old}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c, err := shared.Open(ctx, shared.ClientOptions{Network: "tcp", Address: listener.Addr().String(), Region: "eu-west", Node: "n1", Secret: secret, Codec: link.OpCodec{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for before, pages := chat.NoMessage, 0; pages < 3; pages++ {
		old.Store(false)
		want, err := c.Activities(ctx, me.ID, before, 400)
		if err != nil || len(want) < many-1000 {
			t.Fatal(len(want), err)
		}
		old.Store(true)
		have, err := c.Activities(ctx, me.ID, before, 400)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Fatal(d)
		}
		before = want[len(want)-1].Newest
	}
}
