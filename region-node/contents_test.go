package regionnode_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"meridian/chat"
)

// contents gives every row that a store holds of people and groups, and of op logs; not positions and dead letters.
func contents(t *testing.T, s chat.Store) (rows []string) {
	t.Helper()
	ctx := t.Context()
	add := func(kind string, v any, err error) {
		must(t, err)
		b, err := json.Marshal(v)
		must(t, err)
		rows = append(rows, fmt.Sprintf("%s %s", kind, b))
	}
	owners, err := s.Owners(ctx, chat.NoUser, 1000)
	add("owners", owners, err)
	conversations := []chat.ConversationID{emmysGroup, chat.DirectConversation(ada.ID, grace.ID)}
	for _, o := range append(owners, chat.OwnerRow{ID: emmy.ID}, chat.OwnerRow{ID: indu.ID}) {
		account, _, err := s.Account(ctx, o.ID)
		add("account", account, err)
		sessions, err := s.Sessions(ctx, o.ID)
		add("sessions", sessions, err)
		contacts, err := s.Contacts(ctx, o.ID, chat.NoUser, 1000)
		add("contacts", contacts, err)
		blocks, err := s.Blocks(ctx, o.ID)
		add("blocks", blocks, err)
		inbox, err := s.Inbox(ctx, o.ID, 0, 1<<60, 1000)
		add("inbox", inbox, err)
		list, err := s.Conversations(ctx, o.ID, chat.NoMessage, 1000)
		add("conversations", list, err)
		for _, id := range append(conversations, chat.ConversationID(o.ID)) {
			messages, err := s.Messages(ctx, o.ID, id, chat.NoMessage, 1000)
			add("messages", messages, err)
			changes, err := s.Changes(ctx, o.ID, id, chat.NoMessage, chat.NewMessageID(1<<52, chat.NoUser, chat.NoClient), 1000)
			add("changes", changes, err)
			marks, err := s.Marks(ctx, o.ID, id)
			add("marks", marks, err)
			names, err := s.GroupNames(ctx, o.ID, id)
			add("names", names, err)
			members, err := s.Members(ctx, o.ID, id, chat.NoUser)
			add("members", members, err)
			zones, err := s.GroupZones(ctx, id)
			add("zones", zones, err)
		}
	}
	claim, _, err := s.Claim(ctx, chat.ClaimKey{1})
	add("claim", claim, err)
	none, _, err := s.Claim(ctx, chat.ClaimKey{})
	add("claim", none, err)
	streams, err := s.Streams(ctx)
	own := func(e chat.StreamEnd) bool { return e.Stream.Region == "eu-west" } // tells of what was refused
	add("streams", slices.DeleteFunc(streams, own), err)
	parked, err := s.Parked(ctx)
	add("parked", parked, err)
	return rows
}
