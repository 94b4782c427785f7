package sim

import (
	"cmp"
	"slices"

	"meridian/chat"
	"meridian/replication"
)

// seen is a message with the changes that count for the reader.
type seen struct {
	row     chat.MessageRow
	changes []chat.ChangeRow
	vain    bool // some do not
}

// groupHistory is what a device reads of a group.
type groupHistory struct {
	view groupView
	rows []seen
}

// members gives the fold of a group's members, kept up with the steps.
func (n *node) members(id chat.ConversationID) *replication.Members {
	m, ok := n.groups[id]
	if !ok {
		m = &replication.Members{}
		n.groups[id] = m
	}
	if n.tables.Steps(chat.UserID(id), id) > m.Len() {
		m.Add(n.tables.Members(chat.UserID(id), id, chat.NoUser)...)
	}
	return m
}

// inGroups gives the groups that the person was ever brought into, as far as the region knows.
func (n *node) inGroups(user chat.UserID) []chat.ConversationID {
	var ids []chat.ConversationID
	for _, row := range n.tables.Conversations(user, chat.NoMessage, everything) {
		if row.Group {
			ids = append(ids, row.ID)
		}
	}
	return ids
}

// inbox reads a person's own inbox log and those of the groups, merged by arrival, up to where the first of them is cut off.
func (n *node) inbox(user chat.UserID, after, upTo chat.HLC) (rows []chat.InboxRow, complete bool) {
	complete = true
	read := func(owner chat.UserID) {
		page := n.tables.Inbox(owner, after, upTo, pageRows)
		if len(page) == pageRows {
			complete = false
			upTo = min(upTo, page[len(page)-1].Arrival)
		}
		rows = append(rows, page...)
	}
	read(user)
	for _, id := range n.inGroups(user) {
		read(chat.UserID(id))
	}
	rows = slices.DeleteFunc(rows, func(row chat.InboxRow) bool { return row.Arrival > upTo })
	slices.SortStableFunc(rows, func(a, b chat.InboxRow) int { return cmp.Compare(a.Arrival, b.Arrival) })
	return rows, complete
}

// viewer shows one conversation to one reader.
type viewer struct {
	reader  chat.UserID
	members *replication.Members // nil: a direct conversation
	changes map[chat.MessageID][]chat.ChangeRow
}

// viewer reads all changes of a mailbox; of is its owner.
func (n *node) viewer(reader, of chat.UserID, id chat.ConversationID) *viewer {
	v := &viewer{reader: reader, changes: map[chat.MessageID][]chat.ChangeRow{}}
	if of == chat.UserID(id) {
		v.members = n.members(id)
	}
	_, last := replication.GroupQuery{Since: 1}.Targets(nil, false)
	for _, c := range n.tables.Changes(of, id, chat.NoMessage, last, everything) {
		v.changes[c.Target] = append(v.changes[c.Target], c)
	}
	return v
}

// sees says whether the reader is shown the message.
func (v *viewer) sees(row *chat.MessageRow) bool {
	return v.members == nil || v.members.Shows(v.reader, row.Sender, row.ID.Time())
}

// view gives the message with what counts of its changes.
func (v *viewer) view(row chat.MessageRow) seen {
	m := seen{row: row}
	for _, name := range replication.Names(row.ID, v.changes[row.ID]) {
		for _, c := range v.changes[name] {
			if replication.Counts(&row, &c, v.members, v.reader) {
				if c.Kind == chat.ChangeDelete {
					c.User = row.Sender // it counts, whoever did it
				}
				m.changes = append(m.changes, c)
			} else {
				m.vain = m.vain || c.Kind != chat.ChangeAlias
			}
		}
	}
	return m
}

// mailbox gives what reader is shown of a conversation; with aliases also the ids that mean others.
func (n *node) mailbox(reader, of chat.UserID, id chat.ConversationID, aliases bool) []seen {
	v := n.viewer(reader, of, id)
	var list []seen
	for _, row := range n.tables.Messages(of, id, chat.NoMessage, everything) {
		switch {
		case row.AliasOf != chat.NoMessage:
			if aliases {
				list = append(list, seen{row: row})
			}
		case v.sees(&row):
			list = append(list, v.view(row))
		}
	}
	return list
}

// proveSeen checks what a reader is given of a group by the rules written anew.
func (n *node) proveSeen(reader chat.UserID, m *seen) {
	if m.row.Owner != chat.UserID(m.row.Conversation) || m.row.AliasOf != chat.NoMessage {
		return
	}
	n.w.checked(PromiseMembers)
	h, t := n.roles(m.row.Conversation), m.row.ID.Time()
	if h.of(reader, t) == chat.RoleNone || h.of(m.row.Sender, t) == chat.RoleNone {
		n.w.violate(PromiseMembers, "%s shows %s of group %s to somebody who was not in it, or from somebody who was not", n.region, m.row.ID, m.row.Conversation)
	}
}

// readGroup gives a group as the region knows it.
func (n *node) readGroup(reader chat.UserID, id chat.ConversationID) groupHistory {
	m := n.members(id)
	g, _ := m.Name(n.tables.GroupNames(chat.UserID(id), id))
	h := groupHistory{view: groupView{id: id, name: g.Name, role: m.Role(reader)}, rows: n.mailbox(reader, chat.UserID(id), id, false)}
	for i := range h.rows {
		n.proveSeen(reader, &h.rows[i])
	}
	if h.view.role != chat.RoleNone {
		h.view.members = m.List()
	}
	return h
}

// ofMailbox gives whose mailbox of the conversation the person reads.
func (n *node) ofMailbox(user chat.UserID, id chat.ConversationID) chat.UserID {
	if row, ok := n.tables.Conversation(user, id); ok && row.Group {
		return chat.UserID(id)
	}
	return user
}

// deliverChange pushes how a message looks after a change, if the reader sees it and it is here.
func (s *session) deliverChange(row *chat.InboxRow, cursor string) {
	n, c := s.node, s.client
	m, ok := n.tables.Message(row.Owner, row.Conversation, row.Ref)
	if ok && m.AliasOf != chat.NoMessage {
		m, ok = n.tables.Message(row.Owner, row.Conversation, m.AliasOf)
	}
	v := n.viewer(c.user.id, row.Owner, row.Conversation)
	if !ok || m.AliasOf != chat.NoMessage || !v.sees(&m) {
		s.push(func() { c.keep(cursor) })
		return
	}
	now := v.view(m)
	n.proveSeen(c.user.id, &now)
	s.push(func() { c.changed(now, cursor) })
}

// allowed asks, by what the region knows, whether the person may do what op says, and completes op.
func (s *session) allowed(op *chat.Op) (after []chat.MessageID, ok bool) {
	n, me := s.node, s.client.user
	if op.Kind == chat.OpGroup && op.Group.Make {
		zones := []chat.Zone{me.zone}
		people := append([]chat.Owner{op.Author}, op.Group.Invited...)
		for _, p := range people {
			if !slices.Contains(zones, p.Zone) {
				zones = append(zones, p.Zone)
			}
		}
		op.Owners = groupOwners(op.Conversation, zones, people...)
		return nil, true
	}
	of := n.ofMailbox(me.id, op.Conversation)
	if of == me.id && op.Kind != chat.OpChange {
		return nil, false // this region does not know yet that the person is in it
	}
	if of == me.id {
		op.Owners = s.pairOwners(op.Conversation)
		return s.mayTouch(op, of, nil)
	}
	m := n.members(op.Conversation)
	op.Owners = m.Owners(op.Conversation)
	switch op.Kind {
	case chat.OpGroup:
		ok = m.Role(me.id) >= chat.RoleAdmin
	case chat.OpMember:
		zones := m.Zones()
		if !slices.Contains(zones, op.Member.User.Zone) {
			zones = append(zones, op.Member.User.Zone)
		}
		op.Owners = groupOwners(op.Conversation, zones, op.Member.User)
		ok = m.May(me.id, op.Member.User.ID, op.Member.Role)
	default:
		after, ok = s.mayTouch(op, of, m)
	}
	return append(after, m.Newest()), ok
}

// groupOwners gives the owners of an op about people of a group.
func groupOwners(id chat.ConversationID, zones []chat.Zone, people ...chat.Owner) []chat.Owner {
	var owners []chat.Owner
	for _, z := range zones {
		owners = append(owners, chat.GroupOwner(id, z))
	}
	return append(owners, people...)
}

// pairOwners gives the owners of what concerns a direct conversation.
func (s *session) pairOwners(id chat.ConversationID) []chat.Owner {
	me := s.client.user
	owners := []chat.Owner{me.owner()}
	if row, ok := s.node.tables.Conversation(me.id, id); ok && s.node.w.mayWrite(me.zone, row.Peer.Zone) {
		owners = append(owners, row.Peer)
	}
	return owners
}

// mayTouch says whether the person may do that to the message, which must be here.
func (s *session) mayTouch(op *chat.Op, of chat.UserID, m *replication.Members) (after []chat.MessageID, ok bool) {
	me := s.client.user.id
	row, ok := s.node.tables.Message(of, op.Conversation, op.Change.Target)
	if !ok || m != nil && (m.Role(me) == chat.RoleNone || !m.Sees(me, row.ID.Time())) {
		return nil, false
	}
	switch op.Change.Kind {
	case chat.ChangeEdit:
		ok = row.Sender == me
	case chat.ChangeDelete:
		ok = row.Sender == me || m != nil && m.Role(me) >= chat.RoleAdmin
	}
	return []chat.MessageID{op.Change.Target}, ok
}

// act submits what is no message, if it is allowed; who asks for more hears no.
func (s *session) act(op chat.Op) {
	n, w := s.node, s.node.w
	if !n.knows(op.Kind) {
		return
	}
	after, ok := s.allowed(&op)
	if !ok {
		w.checked(PromiseMembers)
		return
	}
	after = slices.DeleteFunc(after, func(id chat.MessageID) bool { return id == chat.NoMessage })
	n.submit(replication.Submit{Op: op, After: after}, func(sub replication.Submitted) {
		if sub.Err != nil {
			return
		}
		w.did(sub.Op)
		w.acts = append(w.acts, &act{by: s.client, op: sub.Op})
	}, nil)
}
