package meridian

import (
	"encoding/json"
	"time"
)

// frame handles one frame of the server; what it does not know it ignores.
func (s *serving) frame(f *inFrame) (linkEnd, bool) {
	switch f.T {
	case "welcome":
		s.onWelcome(f)
	case "error":
		return s.onError(f)
	case "ack":
		s.onAck(f)
	case "message":
		s.onMessage(f)
	case "alias":
		s.c.onAlias(f)
	case "edit", "delete", "react":
		s.c.onChange(f)
	case "group":
		s.c.opt.Handle(GroupChanged{
			ConversationID: f.ConversationID, Change: f.Change, User: f.user(), By: f.By, Name: f.Name, Role: f.Role, At: f.At,
			Cursor: s.c.advance(f.Cursor),
		})
	case "failed":
		s.c.opt.Handle(Undelivered{
			ConversationID: f.ConversationID, MessageID: f.MessageID, ClientID: f.ClientID, Region: f.Region, Err: f.err(),
			Cursor: s.c.advance(f.Cursor),
		})
	case "receipt":
		s.c.onReceipt(f)
	case "contact":
		s.c.opt.Handle(ContactChanged{User: f.user(), State: f.State, Cursor: s.c.advance(f.Cursor)})
	case "typing":
		s.c.opt.Handle(Typing{ConversationID: f.ConversationID, User: f.userID()})
	case "presence":
		s.c.opt.Handle(Presence{User: f.userID(), State: f.State, LastSeen: f.LastSeen})
	case "ping":
		if err := s.write(pingFrame{T: "pong"}); err != nil {
			return endOf(err, s.said), true
		}
	case "pong":
		s.c.onPong(f)
	case "goaway":
		s.c.eps.prefer(f.Endpoints)
		within := time.Duration(f.WithinMs) * time.Millisecond
		s.moveAt = s.c.opt.Clock.Now().Add(time.Duration(s.c.opt.Random() * float64(within)))
	}
	return linkEnd{}, false
}

func (s *serving) onWelcome(f *inFrame) {
	if s.welcomed {
		return
	}
	c := s.c
	s.welcomed, s.maxLevel, s.since = true, f.MaxLevel, c.opt.Clock.Now()
	c.unauthorized = 0
	if f.HeartbeatMs > 0 {
		s.live.heartbeat = time.Duration(f.HeartbeatMs) * time.Millisecond
	}
	c.eps.prefer(f.Endpoints)
	limits := Limits{
		FrameBytes: f.Limits.FrameBytes, TextBytes: f.Limits.TextBytes, SendsPerSecond: f.Limits.SendsPerSecond,
		ClientOutbox: time.Duration(f.Limits.ClientOutboxMs) * time.Millisecond,
	}
	c.mu.Lock()
	begin := c.cursor == ""
	c.url, c.self, c.limits = s.ep.URL, f.user(), limits
	var expired []*pending
	if limits.ClientOutbox > 0 {
		expired = c.out.expire(s.since.Add(-limits.ClientOutbox))
	}
	c.mu.Unlock()
	c.opt.Handle(Connected{
		Region: f.Region, URL: s.ep.URL, Session: f.Session, User: f.user(), HomeZone: f.HomeZone,
		MaxLevel: f.MaxLevel, Limits: limits, Reset: f.Reset,
	})
	for _, p := range expired {
		c.opt.Handle(Failed{ClientID: p.ClientID, Err: &Error{Code: CodeExpired, Message: "not acknowledged in time"}})
	}
	switch {
	case f.Reset:
		s.startReread(f.Cursor)
	case begin: // a resume goes on from the old cursor: what was missed is still to come
		c.opt.Handle(CursorMoved{Cursor: c.advance(f.Cursor)})
	}
}

// onError judges a refusal: of a send, of another frame, or of the link.
func (s *serving) onError(f *inFrame) (linkEnd, bool) {
	e := f.err()
	c := s.c
	if !s.welcomed {
		s.said = e
		return linkEnd{}, false // the close code follows; endOf joins both
	}
	now := c.opt.Clock.Now()
	c.mu.Lock()
	i, p := c.out.find(f.Re)
	if p == nil {
		c.mu.Unlock()
		switch {
		case f.Re == "": // about the link: a close follows
			s.said = e
		case f.Re == "read" && (e.Retryable || e.Code == CodeUnknownMessage || e.Code == CodeUnknownConversation):
			c.readAgain(now)
		}
		c.opt.Handle(Refused{Re: f.Re, Err: e})
		return linkEnd{}, false
	}
	if !e.Retryable {
		c.out.remove(i)
		c.mu.Unlock()
		c.opt.Handle(Failed{ClientID: f.Re, Err: e})
		return linkEnd{}, false
	}
	pause := e.RetryAfter
	if pause <= 0 {
		pause = retryPause(c.out.tries, c.opt.Random())
	}
	c.out.again(p, now.Add(pause))
	c.mu.Unlock()
	switch e.Code {
	case CodeRegionDegraded, CodeStoreFull, CodeZoneUnreachable, CodeClockSkew:
		if s.hard++; s.hard >= hardMax {
			return linkEnd{err: errHard}, true
		}
	}
	return linkEnd{}, false
}

const (
	retryPauseMin = 200 * time.Millisecond
	retryPauseMax = 5 * time.Second
)

// retryPause is how long a refused send waits when the server does not say: half of a doubling time for sure, half by chance.
func retryPause(tries int, jitter float64) time.Duration {
	limit := retryPauseMin
	for range min(tries, 10) {
		limit = min(limit*2, retryPauseMax)
	}
	return time.Duration((0.5 + jitter/2) * float64(limit))
}

func (s *serving) onAck(f *inFrame) {
	c := s.c
	c.mu.Lock()
	p, gone := c.out.ack(f.ClientID, f.Level, s.maxLevel)
	if p == nil {
		c.mu.Unlock()
		return
	}
	s.hard = 0
	if p.Change != "" {
		c.mu.Unlock()
		c.opt.Handle(Acked{
			ClientID: f.ClientID, MessageID: f.MessageID, ConversationID: f.ConversationID,
			Level: f.Level, SentAt: f.SentAt, Final: gone,
		})
		return
	}
	key := keyOf(c.self.ID, f.ClientID, f.ConversationID, p.Text)
	_, was := c.known.note(key, f.ConversationID, f.MessageID)
	id := c.known.current(f.MessageID)
	if p.ToUser != "" {
		c.known.direct[p.ToUser] = f.ConversationID
	}
	c.mu.Unlock()
	if was != "" {
		c.opt.Handle(Aliased{ConversationID: f.ConversationID, ClientID: f.ClientID, From: was, To: id})
	}
	c.opt.Handle(Acked{
		ClientID: f.ClientID, MessageID: id, ConversationID: f.ConversationID,
		Level: f.Level, SentAt: f.SentAt, Final: gone,
	})
}

func (s *serving) onMessage(f *inFrame) {
	var w wireMessage
	if json.Unmarshal(f.Message, &w) != nil || w.ID == "" {
		return
	}
	s.c.give(w.message(), f.Cursor)
}

// give tells the application of a message, once, and under one id.
func (c *Client) give(m Message, cursor string) {
	c.mu.Lock()
	n, was := c.known.note(keyOf(m.Sender.ID, m.ClientID, m.ConversationID, m.Text), m.ConversationID, m.ID)
	if m.Sender.ID != c.self.ID && m.Sender.ID != "" && m.ConversationID == DirectConversation(c.self.ID, m.Sender.ID) {
		c.known.direct[m.Sender.Username] = m.ConversationID
	}
	c.mu.Unlock()
	cursor = c.advance(cursor)
	switch n {
	case fresh:
		c.opt.Handle(Received{Message: m, Cursor: cursor})
	case renamed:
		c.opt.Handle(Aliased{ConversationID: m.ConversationID, ClientID: m.ClientID, From: was, To: m.ID, Cursor: cursor})
	case repeat:
		c.moved(cursor)
	}
}

func (c *Client) onAlias(f *inFrame) {
	c.mu.Lock()
	tell := c.known.alias(f.From, f.To, c.opt.Resume != "")
	c.mu.Unlock()
	cursor := c.advance(f.Cursor)
	if tell {
		c.opt.Handle(Aliased{ConversationID: f.ConversationID, ClientID: f.ClientID, From: f.From, To: f.To, Cursor: cursor})
		return
	}
	c.moved(cursor)
}

// onChange tells of a change of a message, under the id by which the application knows the message.
func (c *Client) onChange(f *inFrame) {
	c.mu.Lock()
	message := f.MessageID
	if key, ok := c.known.byID[message]; ok && c.known.bySend[key] != "" {
		message = c.known.bySend[key]
	}
	c.mu.Unlock()
	cursor := c.advance(f.Cursor)
	switch user := f.userID(); f.T {
	case "edit":
		c.opt.Handle(Edited{
			ConversationID: f.ConversationID, MessageID: message, ClientID: f.ClientID, User: user, Text: f.Body.Text, At: f.At, Cursor: cursor,
		})
	case "delete":
		c.opt.Handle(Deleted{ConversationID: f.ConversationID, MessageID: message, ClientID: f.ClientID, User: user, At: f.At, Cursor: cursor})
	case "react":
		c.opt.Handle(Reacted{
			ConversationID: f.ConversationID, MessageID: message, ClientID: f.ClientID, User: user, Emoji: f.Emoji, On: f.On, At: f.At, Cursor: cursor,
		})
	}
}

func (c *Client) onReceipt(f *inFrame) {
	user := f.userID()
	c.mu.Lock()
	if r := c.reads[f.ConversationID]; r != nil && user == c.self.ID && f.Kind == "read" && CompareMessageIDs(r.messageID, f.MessageID) <= 0 {
		delete(c.reads, f.ConversationID)
	}
	c.mu.Unlock()
	c.opt.Handle(Receipt{ConversationID: f.ConversationID, User: user, Kind: f.Kind, MessageID: f.MessageID, Cursor: c.advance(f.Cursor)})
}

func (c *Client) onPong(f *inFrame) {
	c.mu.Lock()
	same := f.Cursor == c.cursor
	c.mu.Unlock()
	if !same {
		c.moved(c.advance(f.Cursor))
	}
}

// advance takes in the cursor of an event and gives what the application may keep: nothing while a reset is being read.
func (c *Client) advance(cursor string) string {
	switch {
	case cursor == "":
		return ""
	case c.rereading:
		c.heldCursor = cursor
		return ""
	}
	c.mu.Lock()
	c.cursor = cursor
	c.mu.Unlock()
	return cursor
}

// moved tells of a cursor that no event carries.
func (c *Client) moved(cursor string) {
	if cursor != "" {
		c.opt.Handle(CursorMoved{Cursor: cursor})
	}
}
