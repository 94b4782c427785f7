package meridian

import "time"

// ChangeKind says what is done to a message.
type ChangeKind string

// The changes of a message.
const (
	ChangeEdit   ChangeKind = "edit"
	ChangeDelete ChangeKind = "delete"
	ChangeReact  ChangeKind = "react"
)

// Outgoing is a message to send, to ToUser or Conversation; or, with Change, what is to be done to MessageID of Conversation.
type Outgoing struct {
	// ClientID is the idempotency key; empty: a new one. Whoever keeps sends across restarts gives and stores it.
	ClientID     string
	ToUser       string
	Conversation string
	Text         string
	ReplyTo      string
	// Seen is the newest message of the conversation that the writer knows; empty: the newest that the Client has brought.
	Seen string
	// Change makes it a change: an edit to Text, a deletion, or the reaction Emoji set or (On false) taken back.
	Change    ChangeKind
	MessageID string
	Emoji     string
	On        bool
	// Created is when it was written; zero: now. A send that is too old fails with CodeExpired.
	Created time.Time
}

// pending is a send that is not yet acknowledged at the highest level.
type pending struct {
	Outgoing
	level  AckLevel
	onWire bool // written to this link, and not refused since
	sent   time.Time
}

const (
	// inFlightMax bounds the sends of one link that wait for their first ack.
	inFlightMax = 128
	// resendAfter is when a send without any answer is written again.
	resendAfter = 10 * time.Second
)

// outbox keeps sends in order. The Client's mutex guards it.
type outbox struct {
	list      []*pending
	notBefore time.Time // nothing is written before
	tries     int       // refusals since the last ack
}

func (o *outbox) find(clientID string) (int, *pending) {
	for i, p := range o.list {
		if p.ClientID == clientID {
			return i, p
		}
	}
	return -1, nil
}

func (o *outbox) remove(i int) { o.list = append(o.list[:i], o.list[i+1:]...) }

// newLink: nothing of what waits has been written to the new link.
func (o *outbox) newLink() {
	for _, p := range o.list {
		p.onWire = false
	}
	o.notBefore = time.Time{}
}

// frame gives what is written for p; after is the send before it that may not be durable yet.
func (p *pending) frame(after string) any {
	f := changeFrame{T: string(p.Change), ClientID: p.ClientID, ConversationID: p.Conversation, MessageID: p.MessageID}
	switch p.Change {
	case ChangeEdit:
		f.Body = &wireBody{Text: p.Text}
	case ChangeReact:
		f.Emoji, f.On = p.Emoji, &p.On
	case ChangeDelete:
	default:
		return sendFrame{
			T: "send", ClientID: p.ClientID, After: after, To: sendTo{User: p.ToUser, Conversation: p.Conversation},
			Body: wireBody{Text: p.Text}, ReplyTo: p.ReplyTo, Seen: p.Seen,
		}
	}
	return f
}

// due gives the frames to write now, in order. Each send names the one before it that may not be durable yet.
func (o *outbox) due(now time.Time) []any {
	if now.Before(o.notBefore) {
		return nil
	}
	var frames []any
	inFlight, before := 0, ""
	for _, p := range o.list {
		after := before
		if p.Change == "" {
			before = p.ClientID
		}
		if p.onWire && p.level == "" && now.Sub(p.sent) >= resendAfter {
			p.onWire = false
		}
		if p.onWire {
			if p.level == "" {
				inFlight++
			}
			continue
		}
		if inFlight >= inFlightMax {
			break
		}
		inFlight++
		p.onWire, p.sent = true, now
		frames = append(frames, p.frame(after))
	}
	return frames
}

// wakeAt gives when due may have something although nothing else happens; ok is false when never.
func (o *outbox) wakeAt() (at time.Time, ok bool) {
	inFlight := 0
	for _, p := range o.list {
		switch {
		case !p.onWire && inFlight < inFlightMax:
			return o.notBefore, true
		case p.onWire && p.level == "":
			inFlight++
			if again := p.sent.Add(resendAfter); !ok || again.Before(at) {
				at, ok = again, true
			}
		}
	}
	return at, ok
}

// ack notes that a send is durable at level; gone is true when that was the highest one.
func (o *outbox) ack(clientID string, level, highest AckLevel) (p *pending, gone bool) {
	i, p := o.find(clientID)
	if p == nil {
		return nil, false
	}
	o.tries = 0
	if level.rank() > p.level.rank() {
		p.level = level
	}
	if p.level.rank() >= highest.rank() {
		o.remove(i)
		return p, true
	}
	return p, false
}

// again puts a refused send back; everything waits for at least wait.
func (o *outbox) again(p *pending, until time.Time) {
	p.onWire = false
	o.tries++
	if until.After(o.notBefore) {
		o.notBefore = until
	}
}

// expire takes out what was written before limit.
func (o *outbox) expire(limit time.Time) []*pending {
	var old []*pending
	for len(o.list) > 0 && o.list[0].Created.Before(limit) {
		old = append(old, o.list[0])
		o.list = o.list[1:]
	}
	return old
}
