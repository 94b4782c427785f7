package sim

import (
	"fmt"
	"time"

	"meridian/chat"
)

// client is one device of a person; it obeys docs/protocol.md.
type client struct {
	w      *world
	name   string
	number int // of all devices that people may have
	user   *user

	endpoints []*node
	at        int // index of the endpoint in use
	gen       int // counts connections and attempts
	had       int // turns
	lived     int // stretches at the keyboard
	roams     int
	session   *session

	// What a device keeps over reconnects.
	outbox    []*send
	cursor    string // "" until the first history is here
	view      map[chat.MessageID]chat.ClientID
	aliases   map[chat.MessageID]chat.MessageID
	lastAcked chat.MessageID
	newest    map[chat.ConversationID]chat.MessageID

	awaiting  bool   // of the history of this connection
	next      string // cursor that counts once it is here
	resending bool
}

// send is one message that a device wants sent.
type send struct {
	from         *client
	to           *user
	n            int
	client       chat.ClientID
	conversation chat.ConversationID
	body         string
	replyTo      chat.MessageID
	id           chat.MessageID // as acknowledged
	region, zone bool           // levels reached
	failed       chat.Code
}

// String names the send in messages.
func (s *send) String() string { return fmt.Sprintf("%s#%d to %s", s.from.name, s.n, s.to.name) }

func (w *world) addClient(u *user) {
	n := w.devices
	w.devices++
	if !kept(w.plan.Devices, n) {
		return
	}
	c := &client{
		w: w, user: u, number: n, name: fmt.Sprintf("%s/%d", u.name, n), view: map[chat.MessageID]chat.ClientID{},
		aliases: map[chat.MessageID]chat.MessageID{}, newest: map[chat.ConversationID]chat.MessageID{},
	}
	for _, r := range w.topology.Zones[u.zone].Regions {
		c.endpoints = append(c.endpoints, w.nodesOf(r)...)
	}
	w.roll("device", c.name, 0)
	c.at = w.rng.IntN(len(c.endpoints))
	w.clients = append(w.clients, c)
	w.after(w.between(0, 2*time.Second), c.connect)
	w.after(w.between(time.Second, 4*time.Second), c.live)
	w.after(w.between(w.mood.roamEvery/2, w.mood.roamEvery*2), c.roam)
}

// wire is the one-way delay between the device and a node.
func (c *client) wire(n *node) time.Duration {
	return 10*time.Millisecond + 25*time.Millisecond*time.Duration((n.site.index+len(c.name)+c.endpoints[0].site.index)%4)
}

// connect tries the endpoint in use; without a welcome in time it is the next one's turn.
func (c *client) connect() {
	c.gen++
	c.w.roll("connect", c.name, c.gen)
	c.session = nil
	gen, n := c.gen, c.endpoints[c.at]
	n.later(c.wire(n), func() {
		if c.gen == gen {
			n.hello(c, gen)
		}
	})
	c.w.after(1500*time.Millisecond, func() {
		if c.gen == gen && c.session == nil {
			c.lost(gen)
		}
	})
}

// lost: the connection is gone or was not made; go to the next endpoint after a moment.
func (c *client) lost(gen int) {
	if c.gen != gen {
		return
	}
	c.leave()
	c.at = (c.at + 1) % len(c.endpoints)
	c.reconnect(c.w.between(0, time.Second))
}

func (c *client) leave() {
	if c.session != nil && c.session.open {
		c.session.close()
	}
	c.session = nil
	c.gen++
}

func (c *client) reconnect(d time.Duration) {
	gen := c.gen
	c.w.after(d, func() {
		if c.gen == gen {
			c.connect()
		}
	})
}

// roam moves to another region, or only drops the socket, without a word.
func (c *client) roam() {
	if c.w.healed {
		return
	}
	c.roams++
	c.w.roll("roam", c.name, c.roams)
	c.w.after(c.w.between(c.w.mood.roamEvery/2, c.w.mood.roamEvery*2), c.roam)
	if c.session != nil {
		c.w.faults["client roams"]++
		c.leave()
		c.at = c.w.rng.IntN(len(c.endpoints))
		c.reconnect(c.w.between(0, 300*time.Millisecond))
	}
}

// welcome starts the session: history if it is a new start, and what is not yet acknowledged again, in order.
func (c *client) welcome(s *session, fresh bool, cursor string) {
	c.session = s
	c.awaiting, c.next = fresh, cursor
	c.w.note(c.name, "welcome in %s, anew %v, %d to send again", s.node.region, fresh, len(c.outbox))
	if fresh {
		s.pull(func() {
			h := history{}
			t := s.node.tables
			for _, conv := range t.Conversations(c.user.id, chat.NoMessage, everything) {
				h.rows = append(h.rows, t.Messages(c.user.id, conv.ID, chat.NoMessage, everything)...)
			}
			s.push(func() { c.history(h) })
		})
	}
	c.resend()
}

// history takes the mailboxes; from now on the cursor counts.
func (c *client) history(h history) {
	for _, row := range h.rows {
		if row.AliasOf != chat.NoMessage {
			c.rekey(row.ID, row.AliasOf)
			continue
		}
		c.show(row)
	}
	c.awaiting = false
	c.cursor = c.next
}

// keep stores the cursor with what came with it.
func (c *client) keep(cursor string) {
	if c.awaiting {
		c.next = cursor
		return
	}
	c.cursor = cursor
}

func (c *client) message(row chat.MessageRow, cursor string) {
	if row.AliasOf != chat.NoMessage {
		c.rekey(row.ID, row.AliasOf)
	} else {
		c.show(row)
	}
	c.keep(cursor)
}

// show puts a message on the screen, unless it is there or known under another id.
func (c *client) show(row chat.MessageRow) {
	if _, gone := c.aliases[row.ID]; gone {
		return
	}
	c.view[row.ID] = row.Client
	if c.newest[row.Conversation].Compare(row.ID) < 0 {
		c.newest[row.Conversation] = row.ID
	}
}

func (c *client) alias(from, to chat.MessageID, cursor string) {
	c.rekey(from, to)
	c.keep(cursor)
}

// rekey: from is another name of to, which comes, or came, on its own.
func (c *client) rekey(from, to chat.MessageID) {
	delete(c.view, from)
	c.aliases[from] = to
}

// live is a person at the keyboard.
func (c *client) live() {
	w := c.w
	if w.healed || len(w.turns) >= w.plan.turnsMax() {
		return
	}
	c.lived++
	w.roll("live", c.name, c.lived)
	w.after(w.between(200*time.Millisecond, 4*time.Second), c.live)
	for range 1 + w.rng.IntN(3) {
		if c.turn() {
			c.write()
		}
	}
	if c.turn() && c.session != nil {
		c.fidget()
	}
}

// write puts a message into the outbox, and on the wire if there is one.
func (c *client) write() {
	w := c.w
	to := w.users[w.rng.IntN(len(w.users))]
	if to == c.user {
		return
	}
	s := &send{
		from: c, to: to, n: len(w.history), client: chat.ClientID(w.uuid(0x20)),
		conversation: chat.DirectConversation(c.user.id, to.id), body: fmt.Sprintf("body %d of %s", len(w.history), c.name),
	}
	if w.chance(0.5) {
		s.replyTo = c.newest[s.conversation]
	}
	w.history = append(w.history, s)
	w.byClient[s.client] = s
	c.outbox = append(c.outbox, s)
	if c.session != nil && !c.resending {
		c.transmit(len(c.outbox) - 1)
	}
}

// transmit sends the i-th of the outbox, naming the one before it: that one is not acknowledged at its level.
func (c *client) transmit(i int) {
	m, previous, lastAcked, s := c.outbox[i], chat.NoClient, c.lastAcked, c.session
	if i > 0 {
		previous = c.outbox[i-1].client
	}
	s.pull(func() { s.send(m, previous, lastAcked) })
}

// resend sends the whole outbox, in order.
func (c *client) resend() {
	c.resending = false
	for i := range c.outbox {
		c.transmit(i)
	}
}

// acked: forgotten only at the highest level that the zone has.
func (c *client) acked(m *send, id chat.MessageID, level chat.AckLevel) {
	if level == chat.AckRegion {
		m.region, m.id = true, id
		if c.lastAcked.Compare(id) < 0 {
			c.lastAcked = id
		}
	} else {
		m.zone = true
	}
	spec := c.w.topology.Zones[c.user.zone]
	if m.zone || spec.MaxLevel() == chat.AckRegion {
		c.forget(m)
	}
}

func (c *client) forget(m *send) {
	for i, x := range c.outbox {
		if x == m {
			c.outbox = append(c.outbox[:i:i], c.outbox[i+1:]...)
			return
		}
	}
}

// refused: for good, or to be tried again with everything that is not acknowledged.
func (c *client) refused(m *send, err error) {
	e := chat.AsError(err)
	c.w.note(c.name, "%s refused: %s", m, e.Code)
	if !e.Retryable() {
		m.failed = e.Code
		c.forget(m)
		if e.Code != chat.CodeDenied {
			c.w.violate(PromiseProtocol, "%s refused for good: %v", m, err)
		}
		return
	}
	if c.resending {
		return
	}
	c.resending = true
	gen := c.gen
	c.w.after(max(e.RetryAfter, c.w.between(200*time.Millisecond, time.Second)), func() {
		if c.gen == gen && c.session != nil {
			c.resend()
		} else {
			c.resending = false
		}
	})
}

// fidget does one of the small things that are ops too.
func (c *client) fidget() {
	w, s := c.w, c.session
	other := w.users[w.rng.IntN(len(w.users))]
	if other == c.user {
		return
	}
	conv := chat.DirectConversation(c.user.id, other.id)
	me, you := c.user.owner(), other.owner()
	var op chat.Op
	switch w.rng.IntN(6) {
	case 0, 1, 2:
		upTo := c.newest[conv]
		if upTo == chat.NoMessage {
			return
		}
		op = chat.Op{Kind: chat.OpMark, Conversation: conv, Mark: &chat.Mark{Conversation: conv, User: me.ID, Kind: chat.MarkRead, UpTo: upTo}}
	case 3:
		op = chat.Op{Kind: chat.OpContact, Contact: &chat.ContactChange{From: me, To: you, Want: w.chance(0.6)}}
	case 4:
		op = chat.Op{Kind: chat.OpBlock, Block: &chat.BlockChange{By: me, User: you, On: w.chance(0.5)}}
	default:
		op = chat.Op{Kind: chat.OpAccount, Account: &chat.Account{ID: me.ID, Zone: me.Zone, DisplayName: fmt.Sprint(w.rng.Uint32()), CreatedAt: 1}}
	}
	s.pull(func() { s.other(op, other) })
}
