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
	from      *node // of the last welcome
	session   *session

	// What a device keeps over reconnects.
	outbox    []*send
	cursor    string // "" until the first history is here
	view      map[chat.MessageID]*shown
	recent    []chat.MessageID // on the screen lately
	groups    map[chat.ConversationID]*groupView
	joined    []chat.ConversationID // keys of groups, in order
	stale     map[chat.ConversationID]bool
	aliases   map[chat.MessageID]chat.MessageID
	refusals  map[chat.ClientID]bool // of what regions refused
	lastAcked chat.MessageID
	newest    map[chat.ConversationID]chat.MessageID

	awaiting  bool   // of the history of this connection
	next      string // cursor that counts once it is here
	resending bool
}

// send is one message that a device wants sent.
type send struct {
	from         *client
	to           *user // nil: to a group
	n            int
	client       chat.ClientID
	conversation chat.ConversationID
	body         string
	replyTo      chat.MessageID
	id           chat.MessageID // as acknowledged
	region, zone bool           // levels reached
	failed       chat.Code
	poison       bool // a store will not take it
}

// String names the send in messages.
func (s *send) String() string {
	if s.to == nil {
		return fmt.Sprintf("%s#%d to group %s", s.from.name, s.n, s.conversation)
	}
	return fmt.Sprintf("%s#%d to %s", s.from.name, s.n, s.to.name)
}

func (w *world) addClient(u *user) {
	n := w.devices
	w.devices++
	if !kept(w.plan.Devices, n) {
		return
	}
	c := &client{
		w: w, user: u, number: n, name: fmt.Sprintf("%s/%d", u.name, n), view: map[chat.MessageID]*shown{},
		groups: map[chat.ConversationID]*groupView{}, refusals: map[chat.ClientID]bool{}, stale: map[chat.ConversationID]bool{},
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
	for _, id := range c.joined {
		if s.node != c.from { // another region may know more, and have told it long ago
			c.stale[id] = true
		}
	}
	c.from = s.node
	c.w.note(c.name, "welcome in %s, anew %v, %d to send again", s.node.region, fresh, len(c.outbox))
	if fresh {
		c.forgetAll()
		s.pull(func() {
			h := history{}
			for _, conv := range s.node.tables.Conversations(c.user.id, chat.NoMessage, everything) {
				if conv.Group {
					h.groups = append(h.groups, s.node.readGroup(c.user.id, conv.ID))
				} else {
					rows := s.node.mailbox(c.user.id, c.user.id, conv.ID, true)
					h.rows = append(h.rows, rows...)
					h.refusals = append(h.refusals, s.node.refusalsOf(c.user.id, rows)...)
				}
			}
			s.push(func() { c.history(h) })
		})
	}
	c.readStale()
	c.resend()
}

// forgetAll drops what the device shows, and the cursor that goes with it: the region's log does not tell what happened since.
func (c *client) forgetAll() {
	c.cursor, c.view, c.aliases = "", map[chat.MessageID]*shown{}, map[chat.MessageID]chat.MessageID{}
}

// history takes the mailboxes; from now on the cursor counts.
func (c *client) history(h history) {
	for i := range h.rows {
		c.take(&h.rows[i])
	}
	for _, g := range h.groups {
		c.groupRead(g)
	}
	for i := range h.refusals {
		c.refusals[h.refusals[i].Client] = true
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

func (c *client) message(m seen, cursor string) {
	c.take(&m)
	c.keep(cursor)
}

func (c *client) take(m *seen) {
	if m.row.AliasOf != chat.NoMessage {
		c.rekey(m.row.ID, m.row.AliasOf)
		return
	}
	c.show(m)
}

// show puts a message on the screen, unless it is known under another id.
func (c *client) show(m *seen) {
	row := &m.row
	if _, gone := c.aliases[row.ID]; gone {
		return
	}
	on, ok := c.view[row.ID]
	if !ok {
		on = &shown{row: *row, changes: map[changeKey]chat.ChangeRow{}}
		c.view[row.ID] = on
		c.recent = append(c.recent[max(0, len(c.recent)-20):], row.ID)
	}
	for i := range m.changes {
		on.learn(&m.changes[i])
	}
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
	if c.turn() && c.session != nil {
		c.congregate()
	}
}

// write puts a message into the outbox, and on the wire if there is one.
func (c *client) write() {
	w := c.w
	s := &send{from: c, n: len(w.history), client: chat.ClientID(w.uuid(0x20)), body: fmt.Sprintf("body %d of %s", len(w.history), c.name)}
	if len(c.joined) > 0 && w.chance(0.4) {
		s.conversation = pick(w.rng, c.joined...)
		if c.groups[s.conversation].role == chat.RoleNone && w.chance(0.9) {
			return
		}
	} else {
		s.to = w.users[w.rng.IntN(len(w.users))]
		if s.to == c.user {
			return
		}
		s.conversation = chat.DirectConversation(c.user.id, s.to.id)
		s.poison = w.poisonous(c.user, s.to)
	}
	if w.chance(0.5) {
		s.replyTo = c.newest[s.conversation]
	}
	w.history = append(w.history, s)
	if id, ok := c.reuse(); ok {
		s.client, s.poison = id, false
	}
	w.byClient[s.client] = append(w.byClient[s.client], s)
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
	spec := c.from.topology().Zones[c.user.zone]
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
		if e.Code == chat.CodeClientIDReused && c.w.reused(m) {
			return
		}
		if e.Code != chat.CodeDenied && (e.Code != chat.CodeNotMember || m.to != nil) {
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
