package meridian

import (
	"encoding/json"
	"time"
)

// wireMessage is a message in JSON.
type wireMessage struct {
	ID             string    `json:"id"`
	ConversationID string    `json:"conversation_id"`
	Sender         User      `json:"sender"`
	ClientID       string    `json:"client_id"`
	Body           wireBody  `json:"body"`
	SentAt         time.Time `json:"sent_at"`
	ReplyTo        string    `json:"reply_to,omitempty"`

	EditedAt  time.Time  `json:"edited_at"`
	Deleted   bool       `json:"deleted"`
	Reactions []Reaction `json:"reactions"`
	Refusals  []Refusal  `json:"refusals"`
}

type wireBody struct {
	Text string `json:"text"`
}

func (m *wireMessage) message() Message {
	return Message{
		ID: m.ID, ConversationID: m.ConversationID, Sender: m.Sender, ClientID: m.ClientID,
		Text: m.Body.Text, SentAt: m.SentAt, ReplyTo: m.ReplyTo,
		EditedAt: m.EditedAt, Deleted: m.Deleted, Reactions: m.Reactions, Refusals: m.Refusals,
	}
}

// wireError is a refusal in JSON, of a request or of a frame.
type wireError struct {
	Code         Code       `json:"code"`
	Message      string     `json:"message"`
	Retryable    bool       `json:"retryable"`
	RetryAfterMs int64      `json:"retry_after_ms"`
	Endpoints    []Endpoint `json:"endpoints"`
}

func (e *wireError) err() *Error {
	return &Error{
		Code: e.Code, Message: e.Message, Retryable: e.Retryable, Endpoints: e.Endpoints,
		RetryAfter: time.Duration(e.RetryAfterMs) * time.Millisecond,
	}
}

// inFrame is every field that a server's frame may have, except those whose meaning depends on "t": they stay raw.
type inFrame struct {
	T       string          `json:"t"`
	Cursor  string          `json:"cursor"`
	Message json.RawMessage `json:"message"` // an object in "message", a text in "error"
	User    json.RawMessage `json:"user"`    // an object in "welcome", "contact" and "group", an id elsewhere

	ClientID       string    `json:"client_id"`
	MessageID      string    `json:"message_id"`
	ConversationID string    `json:"conversation_id"`
	Level          AckLevel  `json:"level"`
	SentAt         time.Time `json:"sent_at"`
	From           string    `json:"from"`
	To             string    `json:"to"`
	Kind           string    `json:"kind"`
	State          string    `json:"state"`
	LastSeen       time.Time `json:"last_seen"`
	At             time.Time `json:"at"`
	Body           wireBody  `json:"body"`
	Emoji          string    `json:"emoji"`
	On             bool      `json:"on"`
	Change         string    `json:"change"`
	By             User      `json:"by"`
	Name           string    `json:"name"`
	Role           string    `json:"role"`

	Session     string     `json:"session"`
	Region      string     `json:"region"`
	HomeZone    string     `json:"home_zone"`
	MaxLevel    AckLevel   `json:"max_level"`
	Reset       bool       `json:"reset"`
	Endpoints   []Endpoint `json:"endpoints"`
	HeartbeatMs int64      `json:"heartbeat_ms"`
	Limits      struct {
		FrameBytes     int     `json:"frame_bytes"`
		TextBytes      int     `json:"text_bytes"`
		SendsPerSecond float64 `json:"sends_per_second"`
		ClientOutboxMs int64   `json:"client_outbox_ms"`
	} `json:"limits"`

	Reason   string `json:"reason"`
	WithinMs int64  `json:"within_ms"`

	Code         Code   `json:"code"`
	Retryable    bool   `json:"retryable"`
	RetryAfterMs int64  `json:"retry_after_ms"`
	Re           string `json:"re"`
}

func (f *inFrame) err() *Error {
	e := wireError{Code: f.Code, Retryable: f.Retryable, RetryAfterMs: f.RetryAfterMs, Endpoints: f.Endpoints}
	_ = json.Unmarshal(f.Message, &e.Message) // an error without words is an error all the same
	return e.err()
}

func (f *inFrame) user() (u User) {
	_ = json.Unmarshal(f.User, &u) // a user of another form is unknown
	return u
}

func (f *inFrame) userID() (id string) {
	_ = json.Unmarshal(f.User, &id) // as above
	return id
}

type helloFrame struct {
	T      string `json:"t"`
	Token  string `json:"token"`
	Device string `json:"device"`
	Resume string `json:"resume,omitempty"`
	As     string `json:"as,omitempty"`
	// Failed names regions that could not be reached before.
	Failed []string `json:"failed,omitempty"`
}

type sendFrame struct {
	T        string   `json:"t"`
	ClientID string   `json:"client_id"`
	After    string   `json:"after,omitempty"`
	To       sendTo   `json:"to"`
	Body     wireBody `json:"body"`
	ReplyTo  string   `json:"reply_to,omitempty"`
	Seen     string   `json:"seen,omitempty"`
}

type sendTo struct {
	User         string `json:"user,omitempty"`
	Conversation string `json:"conversation,omitempty"`
}

type changeFrame struct {
	T              string    `json:"t"`
	ClientID       string    `json:"client_id"`
	ConversationID string    `json:"conversation_id"`
	MessageID      string    `json:"message_id"`
	Body           *wireBody `json:"body,omitempty"`
	Emoji          string    `json:"emoji,omitempty"`
	On             *bool     `json:"on,omitempty"`
}

type readFrame struct {
	T              string `json:"t"`
	ConversationID string `json:"conversation_id"`
	MessageID      string `json:"message_id"`
}

type typingFrame struct {
	T              string `json:"t"`
	ConversationID string `json:"conversation_id"`
}

type pingFrame struct {
	T string `json:"t"`
}
