package events

import (
	"encoding/json"
	"fmt"
	"time"

	"meridian/chat"
)

// contentType is what Encode gives.
const contentType = "application/cloudevents+json"

// envelope is an event as CloudEvents 1.0 in JSON.
type envelope struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"` // the op log
	Type        string    `json:"type"`
	Time        time.Time `json:"time"`
	Sequence    string    `json:"sequence"` // in the op log; decimal, 20 digits, so that its order is that of text
	ContentType string    `json:"datacontenttype"`
	Data        data      `json:"data"`
}

type data struct {
	Actor        string `json:"actor,omitempty"`
	Zone         string `json:"zone,omitempty"`
	Conversation string `json:"conversation,omitempty"`
	Message      string `json:"message,omitempty"`
	User         string `json:"user,omitempty"`
	Role         string `json:"role,omitempty"`
}

// Encode gives an event as consumers get it.
func Encode(e *chat.Event) ([]byte, error) {
	d := data{Zone: string(e.Zone), Role: roles[e.Role]}
	for _, id := range []struct {
		into *string
		id   chat.UUID
	}{{&d.Actor, chat.UUID(e.Actor)}, {&d.Conversation, chat.UUID(e.Conversation)}, {&d.Message, chat.UUID(e.Message)}, {&d.User, chat.UUID(e.User)}} {
		if id.id != (chat.UUID{}) {
			*id.into = id.id.String()
		}
	}
	return json.Marshal(envelope{
		SpecVersion: "1.0", ID: e.ID, Source: source(e.Stream), Type: "meridian." + string(e.Type), Time: e.Time.Time(),
		Sequence: fmt.Sprintf("%020d", e.Seq), ContentType: "application/json", Data: d,
	})
}

// source names an op log as a reference of a URI.
func source(s chat.StreamID) string {
	return fmt.Sprintf("/regions/%s/nodes/%s/lives/%d", s.Region, s.Node, s.Incarnation)
}

var roles = map[chat.Role]string{chat.RoleMember: "member", chat.RoleAdmin: "admin", chat.RoleOwner: "owner"}
