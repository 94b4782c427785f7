package people

import (
	"fmt"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/groups"
	"meridian/replication"
	"meridian/replication/link"
	"meridian/store/embedded"
)

// benchView is a service over an embedded store in which bob has so many direct conversations and so many groups, with
// messages in all of them.
func benchView(b *testing.B, directs, inGroups int) (*Service, chat.UserID) {
	store, err := embedded.Open(embedded.Options{
		Dir: b.TempDir(), Region: "us-east", Node: "n1", Codec: link.OpCodec{}, ReserveBytes: 1 << 20,
		Retention: embedded.Retention{Inbox: time.Hour, OpLog: time.Hour, Retries: time.Hour},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	v := &view{bob: chat.Owner{ID: chat.UserID{1}, Zone: "world", Name: "bob"}, carl: chat.Owner{ID: chat.UserID{2}, Zone: "world", Name: "carl"}}
	commit := func(rows *chat.Rows) {
		done := make(chan error, 1)
		store.Commit(&chat.Batch{Rows: *rows}, func(err error) { done <- err })
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		*rows = chat.Rows{}
	}
	const messages, others = 10, 5
	at := 0
	id := func(n int, kind byte) (id [16]byte) {
		return [16]byte{kind, byte(n >> 8), byte(n), 15: kind}
	}
	var rows chat.Rows
	say := func(owner chat.UserID, conversation chat.ConversationID) {
		for range messages {
			at++
			m := v.message(at, v.carl)
			m.Owner, m.OwnerZone, m.Conversation = owner, "world", conversation
			rows.Messages = append(rows.Messages, m)
		}
	}
	for n := range directs {
		conversation := chat.ConversationID(id(n, 3))
		say(v.bob.ID, conversation)
		rows.Conversations = append(rows.Conversations, chat.ConversationRow{Owner: v.bob.ID, ID: conversation, Peer: chat.Owner{ID: chat.UserID(id(n, 4)), Name: fmt.Sprint("peer", n)}, Answered: true, Last: v.message(at, v.carl).ID})
		commit(&rows)
	}
	for n := range inGroups {
		conversation := chat.ConversationID(id(n, 5))
		owner := chat.UserID(conversation)
		at++
		made := v.message(at, v.carl).ID
		rows.Groups = append(rows.Groups, chat.GroupRow{Owner: owner, Conversation: conversation, Made: true, Name: "g", By: v.carl.ID, ByZone: "world", Op: made})
		row := chat.MemberRow{Owner: owner, Conversation: conversation, User: v.carl, Op: made, Role: chat.RoleOwner, By: v.carl.ID, ByZone: "world", Made: true}
		rows.Members = append(rows.Members, row)
		for other := range others {
			at++
			row.User, row.Op, row.Role, row.Made = chat.Owner{ID: chat.UserID{6, byte(other)}, Zone: "world"}, v.message(at, v.carl).ID, chat.RoleMember, false
			if other == 0 {
				row.User = v.bob
				rows.Conversations = append(rows.Conversations, chat.ConversationRow{Owner: v.bob.ID, ID: conversation, Last: row.Op, Group: true})
			}
			rows.Members = append(rows.Members, row)
		}
		say(owner, conversation)
		rows.Conversations = append(rows.Conversations, chat.ConversationRow{Owner: owner, ID: conversation, Last: v.message(at, v.carl).ID, Group: true})
		commit(&rows)
	}
	cfg := config.Default()
	return New(Options{Config: cfg, Topology: cfg.Topology(), Store: store, Groups: groups.New(groups.Options{
		Self: "us-east", Limits: cfg.Limits, Topology: cfg.Topology(), Store: store,
		Marks: func() replication.Marks { return replication.Marks{} }, Now: time.Now,
	})}), v.bob.ID
}

// A page of the list of conversations, by how many direct ones and groups there are.
func BenchmarkConversations(b *testing.B) {
	for _, n := range [][2]int{{50, 0}, {1000, 0}, {0, 50}, {0, 1000}, {1000, 1000}} {
		s, bob := benchView(b, n[0], n[1])
		for _, limit := range []int{1, 50} {
			b.Run(fmt.Sprintf("direct=%d/groups=%d/page=%d", n[0], n[1], limit), func(b *testing.B) {
				for b.Loop() {
					list, _, err := s.Conversations(b.Context(), bob, chat.NoMessage, limit)
					if err != nil || len(list) != limit {
						b.Fatal(len(list), err)
					}
				}
			})
		}
	}
}
