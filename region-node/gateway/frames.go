package gateway

import (
	"context"
	"fmt"
	"time"

	"meridian/chat"
	"meridian/region-node/wire"
)

// frame handles one frame of the client; false ends the socket.
func (s *session) frame(ctx context.Context, data []byte) bool {
	in, err := wire.ParseIn(data, s.g.opt.Limits.FrameBytes)
	if err != nil {
		if chat.CodeOf(err) == chat.CodeInvalidUTF8 {
			s.g.opt.Metrics.Count("refused_total", string(chat.CodeInvalidUTF8))
			Refuse(s.conn, err, "")
			return false
		}
		s.fail(err, in.ClientID)
		return true
	}
	switch in.T {
	case "ping":
		s.mu.Lock()
		cursor := s.cursor
		s.mu.Unlock()
		s.push(wire.Encode(wire.Pong{T: "pong", Cursor: cursor}))
		s.Wake() // keeps the cursor of an idle client close to the stable time
	case "pong":
	case "send":
		if err := s.onSend(ctx, in); err != nil {
			s.fail(err, in.ClientID)
		}
	case "edit", "delete", "react":
		if err := s.onChange(ctx, in); err != nil {
			s.fail(err, in.ClientID)
		}
	case "read":
		if err := s.onRead(ctx, in); err != nil {
			s.fail(err, "read")
		}
	case "typing":
		if err := s.onTyping(ctx, in); err != nil {
			s.fail(err, "typing")
		}
	case "hello":
		s.fail(&chat.Error{Code: chat.CodeBadFrame, Message: "hello comes once"}, "hello")
	default:
		s.fail(&chat.Error{Code: chat.CodeUnknownFrame, Message: fmt.Sprintf("frame type %.32q is not known", in.T)}, in.T)
	}
	return true
}

func invalid(message string) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "gateway", Message: message}
}

// Typing brings another's typing hint to this socket.
func (s *session) Typing(from chat.UserID, conversation chat.ConversationID) {
	if from == s.self.ID || s.blocks.Load().Now(from) {
		return
	}
	s.pushEphemeral(wire.Encode(wire.Typing{T: "typing", ConversationID: conversation.String(), User: from.String()}))
}

// Presence brings a watched person's state to this socket.
func (s *session) Presence(user chat.UserID, online bool, lastSeen time.Time) {
	p := wire.Presence{T: "presence", User: user.String(), State: "offline"}
	if online {
		p.State = "online"
	} else if !lastSeen.IsZero() {
		p.LastSeen = lastSeen.UTC().Format(wire.TimeFormat)
	}
	s.pushEphemeral(wire.Encode(p))
}
