package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"meridian/chat"
)

// In is every field that a client's frame may have; T says which count.
type In struct {
	T      string `json:"t"`
	Token  string `json:"token"`
	Device string `json:"device"`
	Resume string `json:"resume"`
	As     string `json:"as"`
	// Failed names regions that the client could not reach before it came here.
	Failed       []string `json:"failed"`
	ClientID     string   `json:"client_id"`
	After        string   `json:"after"`
	Seen         string   `json:"seen"`
	To           *Target  `json:"to"`
	Body         *Body    `json:"body"`
	ReplyTo      string   `json:"reply_to"`
	Conversation string   `json:"conversation_id"`
	MessageID    string   `json:"message_id"`
	Emoji        string   `json:"emoji"`
	On           *bool    `json:"on"`
}

// Target names the receiver of a send: one of the two.
type Target struct {
	User         string `json:"user"`
	Conversation string `json:"conversation"`
}

// ParseIn reads one frame of at most limit bytes. Errors: CodeTooLarge, CodeInvalidUTF8, CodeBadFrame (not a JSON object
// with "t"), CodeInvalid (a field of the wrong type, named).
func ParseIn(data []byte, limit int) (In, error) {
	const op = "wire.ParseIn"
	var in In
	if len(data) > limit {
		return in, &chat.Error{Code: chat.CodeTooLarge, Op: op, Message: fmt.Sprintf("frame of %d bytes; at most %d are allowed", len(data), limit)}
	}
	if !utf8.Valid(data) {
		return in, &chat.Error{Code: chat.CodeInvalidUTF8, Op: op, Message: "frame is not UTF-8"}
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return in, &chat.Error{Code: chat.CodeBadFrame, Op: op, Message: "frame is not a JSON object"}
	}
	if err := json.Unmarshal(data, &in); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return in, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: fmt.Sprintf("field %q must be %s, not %s", wrong.Field, wrong.Type, wrong.Value)}
		}
		return in, &chat.Error{Code: chat.CodeBadFrame, Op: op, Message: "frame is not JSON", Cause: err}
	}
	if in.T == "" {
		return in, &chat.Error{Code: chat.CodeBadFrame, Op: op, Message: `frame has no "t"`}
	}
	return in, nil
}

// Limits are those a client must know.
type Limits struct {
	FrameBytes     int     `json:"frame_bytes"`
	TextBytes      int     `json:"text_bytes"`
	SendsPerSecond float64 `json:"sends_per_second"`
	ClientOutboxMs int64   `json:"client_outbox_ms"`
	EmojiBytes     int     `json:"emoji_bytes"`
	GroupNameBytes int     `json:"group_name_bytes"`
}

// Welcome answers hello.
type Welcome struct {
	T           string          `json:"t"`
	Session     string          `json:"session"`
	User        User            `json:"user"`
	Region      chat.Region     `json:"region"`
	HomeZone    chat.Zone       `json:"home_zone"`
	MaxLevel    chat.AckLevel   `json:"max_level"`
	Cursor      string          `json:"cursor"`
	Reset       bool            `json:"reset,omitempty"`
	Endpoints   []chat.Endpoint `json:"endpoints"`
	Limits      Limits          `json:"limits"`
	HeartbeatMs int64           `json:"heartbeat_ms"`
}

// Ack answers send.
type Ack struct {
	T              string        `json:"t"`
	ClientID       string        `json:"client_id"`
	MessageID      string        `json:"message_id"`
	ConversationID string        `json:"conversation_id"`
	Level          chat.AckLevel `json:"level"`
	SentAt         string        `json:"sent_at"`
}

// MessageEvent brings a message.
type MessageEvent struct {
	T       string  `json:"t"`
	Cursor  string  `json:"cursor"`
	Message Message `json:"message"`
}

// Raw is a frame that is encoded already.
type Raw []byte

// MessageFrame gives the bytes of a MessageEvent with a message that is encoded already; a cursor needs no escapes.
func MessageFrame(cursor string, message []byte) Raw {
	const head, middle = `{"t":"message","cursor":"`, `","message":`
	b := make([]byte, 0, len(head)+len(cursor)+len(middle)+len(message)+1)
	b = append(append(append(append(b, head...), cursor...), middle...), message...)
	return append(b, '}')
}

// Change tells that a message was edited, deleted or reacted to; T says which. User is a user id.
type Change struct {
	T              string `json:"t"`
	Cursor         string `json:"cursor"`
	ConversationID string `json:"conversation_id"`
	MessageID      string `json:"message_id"`
	ClientID       string `json:"client_id"`
	User           string `json:"user"`
	At             string `json:"at"`
	Body           *Body  `json:"body,omitempty"`  // edit
	Emoji          string `json:"emoji,omitempty"` // react
	On             *bool  `json:"on,omitempty"`    // react
}

// GroupEvent tells what happened to a group; User is whom it happened to.
type GroupEvent struct {
	T              string `json:"t"`
	Cursor         string `json:"cursor"`
	ConversationID string `json:"conversation_id"`
	Change         string `json:"change"`
	User           *User  `json:"user,omitempty"`
	By             User   `json:"by"`
	Name           string `json:"name,omitempty"`
	Role           string `json:"role,omitempty"`
	At             string `json:"at"`
}

// Failed tells that a region refused for good what was acknowledged.
type Failed struct {
	T              string      `json:"t"`
	Cursor         string      `json:"cursor"`
	ConversationID string      `json:"conversation_id"`
	ClientID       string      `json:"client_id,omitempty"`
	MessageID      string      `json:"message_id"`
	Region         chat.Region `json:"region"`
	Code           chat.Code   `json:"code"`
	Message        string      `json:"message"`
}

// Receipt tells how far somebody has come.
type Receipt struct {
	T              string `json:"t"`
	Cursor         string `json:"cursor"`
	ConversationID string `json:"conversation_id"`
	User           string `json:"user"`
	Kind           string `json:"kind"`
	MessageID      string `json:"message_id"`
}

// Alias tells that another id won for an own or received send.
type Alias struct {
	T              string `json:"t"`
	Cursor         string `json:"cursor"`
	ConversationID string `json:"conversation_id"`
	ClientID       string `json:"client_id"`
	From           string `json:"from"`
	To             string `json:"to"`
}

// ContactEvent tells that a contact changed.
type ContactEvent struct {
	T      string `json:"t"`
	Cursor string `json:"cursor"`
	User   User   `json:"user"`
	State  string `json:"state"`
}

// Typing is ephemeral, both ways.
type Typing struct {
	T              string `json:"t"`
	ConversationID string `json:"conversation_id"`
	User           string `json:"user,omitempty"`
}

// Presence is ephemeral.
type Presence struct {
	T        string `json:"t"`
	User     string `json:"user"`
	State    string `json:"state"`
	LastSeen string `json:"last_seen,omitempty"`
}

// Pong answers ping; the cursor lets an idle client follow the stable time.
type Pong struct {
	T      string `json:"t"`
	Cursor string `json:"cursor,omitempty"`
}

// GoAway asks a client to move.
type GoAway struct {
	T         string          `json:"t"`
	Reason    string          `json:"reason"`
	Endpoints []chat.Endpoint `json:"endpoints"`
	WithinMs  int64           `json:"within_ms"`
}

// ErrorFrame refuses a frame. Re is the client_id or the frame type that failed.
type ErrorFrame struct {
	T  string `json:"t"`
	Re string `json:"re,omitempty"`
	Error
}

// Encode gives the frame's bytes; the frames of this package always encode.
func Encode(frame any) []byte {
	if raw, ok := frame.(Raw); ok {
		return raw
	}
	b, err := json.Marshal(frame)
	if err != nil {
		panic("wire: a frame does not encode: " + err.Error())
	}
	return b
}
