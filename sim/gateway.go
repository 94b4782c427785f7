package sim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication"
	"meridian/residency"
)

// pageRows is small, so that reads are often cut off in the middle.
const pageRows = 4

// session is one socket, as its node sees it.
type session struct {
	node    *node
	client  *client
	gen     int // of the client's connection
	open    bool
	reader  *replication.Reader
	reading bool
	again   bool
	polls   int
	last    [2]time.Duration // when the last frame to the server, to the client arrives
}

// history is what a client reads over REST when it starts anew.
type history struct {
	rows     []seen
	groups   []groupHistory
	refusals []chat.RefusalRow
}

// hello opens a session on the node, where a client resumes from its cursor.
func (n *node) hello(c *client, gen int) {
	if n.judged.Refuse != nil || !n.ready() {
		n.w.after(c.wire(n), func() { c.lost(gen) }) // there are others to go to
		return
	}
	s := &session{node: n, client: c, gen: gen, open: true}
	id := n.tables.IdentityOf(n.ref.Node)
	m := n.marks()
	fresh := true
	if c.cursor != "" {
		cur, err := replication.ParseCursor(c.cursor)
		if err != nil {
			n.w.violate(PromiseProtocol, "cursor %q: %v", c.cursor, err)
			return
		}
		s.reader, fresh = replication.Resume(cur, id, m, n.floor())
	} else {
		s.reader = replication.NewReader(id, m)
	}
	n.sessions = append(n.sessions, s)
	n.w.note(n.name(), "hello of %s, anew %v, local %d global %d", c.name, fresh, m.Local-chat.HLCFromTime(start), m.Global-min(m.Global, chat.HLCFromTime(start)))
	cursor := s.reader.Cursor().String()
	s.push(func() { c.welcome(s, fresh, cursor) })
	s.polling()
}

// polling reads again now and then, in case a hint got lost.
func (s *session) polling() {
	if !s.open {
		return
	}
	s.polls++
	s.node.w.roll("poll", s.client.name, s.gen<<16|s.polls)
	s.node.later(s.node.w.between(500*time.Millisecond, 1500*time.Millisecond), s.polling)
	s.read()
}

// hear tells the node what another of its region, or itself, has made visible; between nodes the word may get lost.
func (n *node) hear(from *node, owners []chat.UserID) {
	switch {
	case from == n:
		n.poke(owners)
	case n.up && !n.w.chance(0.1):
		n.later(time.Millisecond, func() { n.poke(owners) })
	}
}

// poke has the sessions of these owners read.
func (n *node) poke(owners []chat.UserID) {
	for _, s := range n.sessions {
		if s.open && slices.ContainsFunc(owners, s.reads) && !n.w.chance(0.1) {
			s.read()
		}
	}
}

// reads says whether the session reads the owner's inbox log.
func (s *session) reads(owner chat.UserID) bool {
	if owner == s.client.user.id {
		return true
	}
	_, ok := s.node.tables.Conversation(s.client.user.id, chat.ConversationID(owner))
	return ok
}

// read takes the marks, and a little later reads the log: in this order, or what becomes visible in between is lost.
func (s *session) read() {
	if s.reading {
		s.again = true
		return
	}
	n := s.node
	after, upTo, ok := s.reader.Query(n.marks())
	if !ok {
		return
	}
	s.reading, s.again = true, false
	n.later(n.slowRead(0, 8*time.Millisecond), func() {
		s.reading = false
		if !s.open {
			return
		}
		rows, complete := n.inbox(s.client.user.id, after, upTo)
		for _, e := range s.reader.Page(rows, complete) {
			s.deliver(e)
		}
		if s.again || !complete {
			s.read()
		}
	})
}

// deliver turns an inbox entry into the client's event.
func (s *session) deliver(e replication.Entry) {
	c, cursor := s.client, e.Cursor.String()
	switch e.Row.Kind {
	case chat.InboxMessage:
		row, ok := s.node.tables.Message(e.Row.Owner, e.Row.Conversation, e.Row.Ref)
		if !ok {
			s.node.w.violate(PromiseOnce, "%s: inbox of %s names message %s, which is not in the mailbox", s.node.region, c.user.name, e.Row.Ref)
			return
		}
		v := s.node.viewer(c.user.id, e.Row.Owner, e.Row.Conversation)
		if row.AliasOf == chat.NoMessage && !v.sees(&row) {
			s.push(func() { c.keep(cursor) })
			return
		}
		now := v.view(row)
		s.node.proveSeen(c.user.id, &now)
		s.push(func() { c.message(now, cursor) })
	case chat.InboxChange:
		s.deliverChange(&e.Row, cursor)
	case chat.InboxGroup, chat.InboxMember:
		s.push(func() { c.groupChanged(e.Row.Conversation, cursor) })
	case chat.InboxFailed:
		s.deliverRefusal(&e.Row, cursor)
	case chat.InboxAlias:
		s.push(func() { c.alias(e.Row.Op, e.Row.Ref, cursor) })
		s.deliverChange(&e.Row, cursor) // what was done to the other id counts from now on
	default:
		s.push(func() { c.keep(cursor) })
	}
}

// push sends a frame to the client; frames arrive in order, or not at all when the socket ends.
func (s *session) push(do func()) {
	w, c := s.node.w, s.client
	at := max(s.last[1], w.now+c.wire(s.node)+w.between(0, 10*time.Millisecond))
	s.last[1] = at
	gen := s.gen
	w.after(at-w.now, func() {
		if c.gen == gen {
			do()
		}
	})
}

// pull brings a frame of the client to the node.
func (s *session) pull(do func()) {
	w := s.node.w
	at := max(s.last[0], w.now+s.client.wire(s.node)+w.between(0, 10*time.Millisecond))
	s.last[0] = at
	s.node.later(at-w.now, func() {
		if s.open {
			do()
		}
	})
}

// drop ends the session; the client notices after d.
func (s *session) drop(d time.Duration) {
	s.open = false
	c, gen := s.client, s.gen
	s.node.w.after(d, func() { c.lost(gen) })
}

func (s *session) close() {
	s.open = false
	s.node.sessions = slices.DeleteFunc(s.node.sessions, func(x *session) bool { return x == s })
}

// send submits a client's message and sends back the acks.
func (s *session) send(m *send, previous chat.ClientID, lastAcked chat.MessageID) {
	n, c := s.node, s.client
	var newest chat.MessageID
	var owners []chat.Owner
	if m.to != nil {
		owners = []chat.Owner{c.user.owner(), m.to.owner()}
	} else {
		group := n.members(m.conversation)
		if group.Role(c.user.id) == chat.RoleNone {
			s.reply(func() { c.refused(m, &chat.Error{Code: chat.CodeNotMember, Op: "sim.send"}) })
			return
		}
		newest, owners = group.Newest(), group.Owners(m.conversation)
	}
	in := replication.Submit{
		Op: chat.Op{
			Kind: chat.OpMessage, Author: c.user.owner(), Owners: owners,
			Client: m.client, Conversation: m.conversation, ReplyTo: m.replyTo, Body: []byte(m.body),
		},
		Previous: previous,
		Known:    n.tables.Retries(c.user.id, m.client),
	}
	for _, id := range []chat.MessageID{m.replyTo, lastAcked, newest} {
		if id != chat.NoMessage {
			in.After = append(in.After, id)
		}
	}
	if previous != chat.NoClient {
		in.PreviousKnown = n.tables.Retries(c.user.id, previous)
	}
	n.submit(in, func(sub replication.Submitted) {
		if sub.Err != nil {
			err := sub.Err
			s.reply(func() { c.refused(m, err) })
			return
		}
		n.w.did(sub.Op)
		n.w.proveDurable(n, m, sub.Op.ID, sub.ZoneDurable)
		s.reply(func() { c.acked(m, sub.Op.ID, chat.AckRegion) })
		if sub.ZoneDurable {
			s.reply(func() { c.acked(m, sub.Op.ID, chat.AckZone) })
		}
	}, func() {
		n.w.proveDurable(n, m, chat.NoMessage, true)
		s.reply(func() { c.acked(m, chat.NoMessage, chat.AckZone) })
	})
}

// proveDurable checks an ack in the moment in which it is given.
func (w *world) proveDurable(n *node, m *send, id chat.MessageID, zone bool) {
	w.checked(PromiseDurable)
	rows := n.tables.Retries(m.from.user.id, m.client)
	if id != chat.NoMessage && !slices.ContainsFunc(rows, func(r chat.RetryRow) bool { return r.ID == id }) {
		w.violate(PromiseDurable, "%s acknowledged %s as %s, which is not on its disk", n.region, m, id)
	}
	if have := w.durableIn(m.from.user.zone, m); zone && have < 2 {
		w.violate(PromiseDurable, "%s gave a zone ack for %s, which is durable in %d region of zone %s", n.region, m, have, m.from.user.zone)
	}
}

func (s *session) reply(do func()) {
	if s.open {
		s.push(do)
	}
}

// mayWrite says whether people of one zone may write to those of another.
func (w *world) mayWrite(from, to chat.Zone) bool {
	return residency.Write(w.topology, from, to).Allowed()
}

// other submits an op that is not a message; nobody waits for it, and it may fail.
func (s *session) other(op chat.Op, with *user) {
	if !s.node.knows(op.Kind) {
		return
	}
	op.Author = s.client.user.owner()
	op.Owners = []chat.Owner{op.Author}
	if s.node.w.mayWrite(op.Author.Zone, with.zone) {
		op.Owners = append(op.Owners, with.owner())
	}
	s.node.submit(replication.Submit{Op: op}, func(sub replication.Submitted) {
		if sub.Err == nil {
			s.node.w.did(sub.Op)
		}
	}, nil)
}
