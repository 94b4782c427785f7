// Package wire holds the JSON of the client protocol (docs/protocol.md): what REST answers and the socket's frames share.
package wire

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// TimeFormat is RFC 3339 with milliseconds, UTC.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// Time prints t as the protocol has it.
func Time(t chat.HLC) string { return t.Time().Format(TimeFormat) }

// User is how people are named to each other.
type User struct {
	ID       string `json:"id"`
	Username string `json:"username"`
}

// Body is what a message says.
type Body struct {
	Text string `json:"text"`
}

// Message is one message as a reader sees it.
type Message struct {
	ID             string `json:"id"`
	ConversationID string `json:"conversation_id"`
	Sender         User   `json:"sender"`
	ClientID       string `json:"client_id"`
	Body           Body   `json:"body"`
	SentAt         string `json:"sent_at"`
	ReplyTo        string `json:"reply_to,omitempty"`
	EditedAt       string `json:"edited_at,omitempty"`
	Deleted        bool   `json:"deleted,omitempty"`
	// Reactions are in the order of the emojis' bytes.
	Reactions []Reaction `json:"reactions,omitempty"`
	// Refusals are of the regions that will not have it, for its sender to see.
	Refusals []Refusal `json:"refusals,omitempty"`
}

// Refusal says that a region refused a message for good, and why.
type Refusal struct {
	Region chat.Region `json:"region"`
	Code   chat.Code   `json:"code"`
	Reason string      `json:"reason"`
}

// Reaction is one emoji on a message, with the ids of those who set it.
type Reaction struct {
	Emoji string   `json:"emoji"`
	Users []string `json:"users"`
}

// MessageOf gives row as the protocol shows it, with what was changed since, and to its sender who refused it.
func MessageOf(row chat.MessageRow, v replication.Viewed, refusals ...chat.RefusalRow) Message {
	m := Message{
		ID: row.ID.String(), ConversationID: row.Conversation.String(),
		Sender:   User{ID: row.Sender.String(), Username: row.SenderName},
		ClientID: row.Client.String(), Body: Body{Text: string(v.Body)}, SentAt: Time(row.ID.Time()), Deleted: v.Deleted,
	}
	if v.EditedAt != 0 {
		m.EditedAt = Time(v.EditedAt)
	}
	for _, r := range v.Reactions {
		one := Reaction{Emoji: r.Emoji, Users: make([]string, len(r.Users))}
		for i, user := range r.Users {
			one.Users[i] = user.String()
		}
		m.Reactions = append(m.Reactions, one)
	}
	for i := range refusals {
		m.Refusals = append(m.Refusals, Refusal{Region: refusals[i].Region, Code: refusals[i].Code, Reason: refusals[i].Detail})
	}
	if row.ReplyTo != chat.NoMessage {
		m.ReplyTo = row.ReplyTo.String()
	}
	return m
}

// Error is the body of a refused request and the fields of an error frame.
type Error struct {
	Code         chat.Code       `json:"code"`
	Message      string          `json:"message"`
	Retryable    bool            `json:"retryable"`
	RetryAfterMs int64           `json:"retry_after_ms,omitempty"`
	Endpoints    []chat.Endpoint `json:"endpoints,omitempty"`
}

// ErrorOf gives err as the protocol shows it; the cause stays inside.
func ErrorOf(err error) Error {
	e := chat.AsError(err)
	message := e.Message
	if message == "" {
		message = string(e.Code)
	}
	return Error{Code: e.Code, Message: message, Retryable: e.Retryable(), RetryAfterMs: e.RetryAfter.Milliseconds(), Endpoints: e.Endpoints}
}

// WriteJSON answers a request.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone: nobody to tell
}

// WriteError answers a request with err: its status, Retry-After, and for CodeWrongRegion the place to go.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	e := chat.AsError(err)
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	if e.Code == chat.CodeWrongRegion && len(e.Endpoints) > 0 {
		w.Header().Set("Location", e.Endpoints[0].URL+r.URL.RequestURI())
	}
	WriteJSON(w, e.HTTPStatus(), ErrorOf(err))
}
