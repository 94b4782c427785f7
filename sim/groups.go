package sim

import (
	"fmt"
	"slices"

	"meridian/chat"
	"meridian/replication"
	"meridian/residency"
)

// group is one that somebody made.
type group struct {
	id    chat.ConversationID
	maker *user
}

// groupView is a group as a device knows it.
type groupView struct {
	id      chat.ConversationID
	name    string
	role    chat.Role
	members []replication.Member
}

// shown is a message on a device's screen, with what was told of its changes: the newest of each kind, person and emoji.
type shown struct {
	row     chat.MessageRow
	changes map[changeKey]chat.ChangeRow
}

type changeKey struct {
	kind  chat.ChangeKind
	user  chat.UserID
	emoji string
}

// learn takes a change in; a region that lags tells nothing new.
func (on *shown) learn(c *chat.ChangeRow) {
	k := changeKey{c.Kind, c.User, c.Emoji}
	if old, ok := on.changes[k]; !ok || old.Version < c.Version {
		on.changes[k] = *c
	}
}

// view is how the device shows the message.
func (on *shown) view() replication.Viewed {
	changes := make([]chat.ChangeRow, 0, len(on.changes))
	for _, c := range on.changes {
		changes = append(changes, c)
	}
	return replication.View(&on.row, changes, nil, on.row.Sender)
}

// act is what somebody did that is no message, once it is acknowledged.
type act struct {
	by *client
	op chat.Op
}

// act asks the node for op; it is remembered when it is acknowledged. Nobody repeats it.
func (c *client) act(op chat.Op) {
	if op.Client == chat.NoClient {
		op.Client = chat.ClientID(c.w.uuid(0x21))
	}
	op.Author = c.user.owner()
	s := c.session
	s.pull(func() { s.act(op) })
}

// congregate does something with groups, or to a message.
func (c *client) congregate() {
	w := c.w
	if len(w.groups) < w.mood.groups && w.chance(0.3) {
		c.makeGroup()
		return
	}
	if w.chance(0.5) {
		c.touch()
		return
	}
	if len(c.joined) == 0 {
		return
	}
	g := c.groups[pick(w.rng, c.joined...)]
	if g.role != chat.RoleNone || w.chance(0.1) {
		c.manage(g)
	}
}

// makeGroup makes one with a few others, or with all of a crowd.
func (c *client) makeGroup() {
	w := c.w
	g := &group{maker: c.user}
	op := chat.Op{Kind: chat.OpGroup, Client: chat.ClientID(w.uuid(0x22)), Group: &chat.GroupChange{Name: fmt.Sprint("group ", len(w.groups)), Make: true}}
	g.id = chat.GroupConversation(chat.Owner{ID: c.user.id, Zone: c.user.zone}, op.Client)
	op.Conversation = g.id
	size, narrow := 2+w.rng.IntN(4), w.chance(0.5)
	if w.mood.crowd > 0 {
		size = chat.MaxInvited
	}
	for range 4 * size {
		u := pick(w.rng, w.everybody()...)
		if len(op.Group.Invited) < size && u != c.user && w.share(c.user.zone, u.zone) && (!narrow || u.zone == c.user.zone) &&
			!slices.Contains(op.Group.Invited, u.owner()) {
			op.Group.Invited = append(op.Group.Invited, u.owner())
		}
	}
	w.groups = append(w.groups, g)
	c.act(op)
}

// everybody gives the people who have devices, and the crowd.
func (w *world) everybody() []*user { return append(slices.Clone(w.users), w.crowd...) }

func (w *world) share(a, b chat.Zone) bool {
	return residency.Share(w.topology, []chat.Zone{a, b}).Allowed()
}

// manage changes who is in a group, or its name; sometimes what the person may not.
func (c *client) manage(g *groupView) {
	w := c.w
	member := func(user chat.Owner, role chat.Role) {
		c.act(chat.Op{Kind: chat.OpMember, Conversation: g.id, Member: &chat.MemberChange{User: user, Role: role}})
	}
	var other chat.Owner
	if len(g.members) > 0 {
		other = pick(w.rng, g.members...).User
	}
	switch w.rng.IntN(10) {
	case 0:
		c.act(chat.Op{Kind: chat.OpGroup, Conversation: g.id, Group: &chat.GroupChange{Name: fmt.Sprint("name ", w.rng.Uint32())}})
	case 1:
		if w.chance(0.3) {
			member(c.user.owner(), chat.RoleNone)
		}
	case 2, 3:
		if other.ID != c.user.id && other.ID != chat.NoUser {
			member(other, chat.RoleNone)
		}
	case 4, 5:
		if other.ID != c.user.id && other.ID != chat.NoUser {
			member(other, pick(w.rng, chat.RoleMember, chat.RoleAdmin, chat.RoleAdmin))
		}
	default:
		n := 1
		if w.mood.crowd > 0 {
			n = 20
		}
		for range n {
			u := pick(w.rng, w.everybody()...)
			for range 3 { // rather somebody whose zone is not in the group yet
				if slices.ContainsFunc(g.members, func(m replication.Member) bool { return m.User.Zone == u.zone }) {
					u = pick(w.rng, w.users...)
				}
			}
			if u != c.user {
				member(u.owner(), chat.RoleMember)
			}
		}
	}
}

// touch edits, deletes or reacts to a message: by the id that the device shows, or by the one that was acknowledged, which
// may have become an alias since.
func (c *client) touch() {
	w := c.w
	target, conversation := chat.NoMessage, chat.NoConversation
	mine := false
	if sent := w.history; len(sent) > 0 && w.chance(0.5) {
		s := sent[len(sent)-1-w.rng.IntN(min(len(sent), 30))]
		if s.from.user == c.user && s.id != chat.NoMessage {
			target, conversation, mine = s.id, s.conversation, true
		}
	} else if len(c.recent) > 0 {
		target = pick(w.rng, c.recent...)
		if on, ok := c.view[target]; ok {
			conversation, mine = on.row.Conversation, on.row.Sender == c.user.id
		}
	}
	if conversation == chat.NoConversation {
		return
	}
	op := chat.Op{Kind: chat.OpChange, Conversation: conversation, Change: &chat.Change{Target: target, Kind: chat.ChangeReaction}}
	switch roll := w.rng.IntN(6); {
	case roll == 0 && (mine || w.chance(0.5)):
		op.Change.Kind = chat.ChangeDelete
		c.act(op)
	case roll <= 2 && mine:
		op.Change.Kind, op.Body = chat.ChangeEdit, []byte(fmt.Sprint("edit ", w.rng.Uint32()))
		c.act(op)
	default:
		op.Change.Emoji, op.Change.On = pick(w.rng, "+1", "ok"), w.chance(0.8)
		c.act(op)
	}
}

// changed takes a change of a message.
func (c *client) changed(m seen, cursor string) {
	c.take(&m)
	c.keep(cursor)
}

// groupChanged: something about who is in the group changed; it is read anew.
func (c *client) groupChanged(id chat.ConversationID, cursor string) {
	c.stale[id] = true
	c.keep(cursor)
	c.readGroup(id)
}

// readGroup asks for the group; it is asked again on every new connection until it was read.
func (c *client) readGroup(id chat.ConversationID) {
	s := c.session
	if s == nil {
		return
	}
	s.pull(func() {
		read := s.node.readGroup(c.user.id, id)
		s.push(func() { c.groupRead(read) })
	})
}

// readStale asks for all groups that are not read since they changed.
func (c *client) readStale() {
	for _, id := range c.joined {
		if c.stale[id] {
			c.readGroup(id)
		}
	}
	for _, g := range c.w.groups {
		if c.stale[g.id] && !slices.Contains(c.joined, g.id) {
			c.readGroup(g.id)
		}
	}
}

// groupRead takes what a region knows of a group. What the device shows already stays: the region may lag behind the one
// that told it.
func (c *client) groupRead(read groupHistory) {
	id := read.view.id
	delete(c.stale, id)
	if _, ok := c.groups[id]; !ok {
		c.joined = append(c.joined, id)
	}
	c.groups[id] = &read.view
	for i := range read.rows {
		c.take(&read.rows[i])
	}
}
