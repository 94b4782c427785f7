package events_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"meridian/chat"
	"meridian/store/events"
)

func opOf(kind chat.OpKind) chat.Op {
	author := chat.Owner{ID: chat.UserID{1}, Zone: "eu", Name: "CANARY-NAME"}
	id := chat.NewMessageID(1_800_000_000_000_000, author.ID, chat.ClientID{9})
	return chat.Op{
		ID: id, Kind: kind, Time: id.Time(), Logged: id.Time(), Stream: chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: 7}, Seq: 3,
		Author: author, Conversation: chat.ConversationID{5}, Client: chat.ClientID{9}, Body: []byte("CANARY-TEXT"),
	}
}

func typesOf(list []chat.Event) (types []chat.EventType) {
	for i := range list {
		types = append(types, list[i].Type)
	}
	return types
}

// Each kind of op gives the events that it is, and no kind gives a name or a text.
func TestOf(t *testing.T) {
	person := chat.Owner{ID: chat.UserID{2}, Zone: "eu", Name: "CANARY-NAME"}
	with := func(kind chat.OpKind, fill func(*chat.Op)) chat.Op {
		op := opOf(kind)
		fill(&op)
		return op
	}
	made := opOf(chat.OpAccount).Time
	cases := []struct {
		op   chat.Op
		want []chat.EventType
	}{
		{opOf(chat.OpMessage), []chat.EventType{chat.EventMessageSent}},
		{with(chat.OpChange, func(op *chat.Op) { op.Change = &chat.Change{Kind: chat.ChangeEdit} }), []chat.EventType{chat.EventMessageEdited}},
		{with(chat.OpChange, func(op *chat.Op) { op.Change = &chat.Change{Kind: chat.ChangeDelete} }), []chat.EventType{chat.EventMessageDeleted}},
		{with(chat.OpChange, func(op *chat.Op) { op.Change = &chat.Change{Kind: chat.ChangeReaction, On: true, Emoji: "CANARY"} }), []chat.EventType{chat.EventReactionSet}},
		{with(chat.OpChange, func(op *chat.Op) { op.Change = &chat.Change{Kind: chat.ChangeReaction} }), []chat.EventType{chat.EventReactionRemoved}},
		{with(chat.OpChange, func(op *chat.Op) { op.Change = &chat.Change{Kind: 99} }), nil},
		{with(chat.OpGroup, func(op *chat.Op) {
			op.Group = &chat.GroupChange{Make: true, Name: "CANARY", Invited: []chat.Owner{person, person}}
		}), []chat.EventType{chat.EventGroupCreated, chat.EventMemberJoined, chat.EventMemberJoined, chat.EventMemberJoined}},
		{with(chat.OpGroup, func(op *chat.Op) { op.Group = &chat.GroupChange{Name: "CANARY"} }), []chat.EventType{chat.EventGroupRenamed}},
		{with(chat.OpMember, func(op *chat.Op) { op.Member = &chat.MemberChange{User: person, Role: chat.RoleAdmin} }), []chat.EventType{chat.EventMemberJoined}},
		{with(chat.OpMember, func(op *chat.Op) { op.Member = &chat.MemberChange{User: person} }), []chat.EventType{chat.EventMemberLeft}},
		{with(chat.OpContact, func(op *chat.Op) { op.Contact = &chat.ContactChange{To: person, Want: true} }), []chat.EventType{chat.EventContactRequested}},
		{with(chat.OpContact, func(op *chat.Op) { op.Contact = &chat.ContactChange{To: person} }), []chat.EventType{chat.EventContactRemoved}},
		{with(chat.OpAccount, func(op *chat.Op) {
			op.Account = &chat.Account{Username: "CANARY", PasswordHash: "CANARY", CreatedAt: made}
		}), []chat.EventType{chat.EventUserCreated}},
		{with(chat.OpAccount, func(op *chat.Op) { op.Account = &chat.Account{Username: "CANARY", CreatedAt: made - 1} }), []chat.EventType{chat.EventUserChanged}},
		{with(chat.OpSession, func(op *chat.Op) { op.Session = &chat.Session{Device: "CANARY"} }), []chat.EventType{chat.EventSessionOpened}},
		{with(chat.OpSession, func(op *chat.Op) { op.Session = &chat.Session{Revoked: true} }), []chat.EventType{chat.EventSessionEnded}},
		{opOf(chat.OpMark), nil},
		{opOf(chat.OpBlock), nil},
		{opOf(chat.OpClaim), nil},
		{opOf(chat.OpRows), nil},
		{opOf(chat.OpRefused), nil},
		{opOf(200), nil},
		// A damaged op has no part.
		{opOf(chat.OpChange), nil},
		{opOf(chat.OpGroup), nil},
		{opOf(chat.OpMember), nil},
		{opOf(chat.OpContact), nil},
		{opOf(chat.OpAccount), nil},
		{opOf(chat.OpSession), nil},
	}
	for _, c := range cases {
		list := events.Of(&c.op)
		if have := typesOf(list); !reflect.DeepEqual(have, c.want) {
			t.Errorf("kind %d gives %v, want %v", c.op.Kind, have, c.want)
		}
		ids := map[string]bool{}
		for i := range list {
			ids[list[i].ID] = true
			b, err := events.Encode(&list[i])
			if err != nil || strings.Contains(string(b), "CANARY") || strings.Contains(string(b), "Q0FOQVJZ") {
				t.Errorf("kind %d: %v: %s", c.op.Kind, err, b)
			}
		}
		if len(ids) != len(list) {
			t.Errorf("kind %d: events share an id: %v", c.op.Kind, ids)
		}
	}
}

// An event is CloudEvents 1.0 in JSON, with its place in the op log.
func TestEncode(t *testing.T) {
	op := opOf(chat.OpMessage)
	b, err := events.Encode(&events.Of(&op)[0])
	if err != nil {
		t.Fatal(err)
	}
	var have map[string]any
	if err := json.Unmarshal(b, &have); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"specversion": "1.0", "id": op.ID.String(), "source": "/regions/eu-west/nodes/n1/lives/7", "type": "meridian.message.sent",
		"time": "2027-01-15T08:00:00Z", "sequence": "00000000000000000003", "datacontenttype": "application/json",
		"data": map[string]any{
			"actor": op.Author.ID.String(), "zone": "eu", "conversation": op.Conversation.String(), "message": op.ID.String(),
		},
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("got %s", b)
	}
}
