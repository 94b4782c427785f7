package sim

import (
	"reflect"
	"slices"

	"meridian/chat"
)

// role is what somebody has from a time on.
type role struct {
	at   chat.HLC
	user chat.UserID
	role chat.Role
}

// history of a group's roles, as the rules of docs/protocol.md tell them: written anew, plainly, so that it errs otherwise
// than the fold that it checks.
type roles []role

// rolesOf takes all steps of a group, sorted by op.
func rolesOf(steps []chat.MemberRow) roles {
	var h roles
	made := chat.NoMessage
	for _, s := range steps {
		was, by, at := h.of(s.User.ID, ^chat.HLC(0)), h.of(s.By, ^chat.HLC(0)), s.Op.Time()
		self := s.By == s.User.ID
		switch {
		case s.Made && made == chat.NoMessage:
			made = s.Op
		case s.Made && (made != s.Op || was != chat.RoleNone), !s.Made && was == s.Role:
			continue
		case s.Made:
		case self && s.Role != chat.RoleNone, s.Role == chat.RoleOwner:
			continue
		case !self && by != chat.RoleOwner && (by != chat.RoleAdmin || was >= chat.RoleAdmin || s.Role >= chat.RoleAdmin):
			continue
		}
		h = append(h, role{at, s.User.ID, s.Role})
		if was == chat.RoleOwner && self {
			h = h.succession(at, steps)
		}
	}
	return h
}

// succession gives the group to the longest-serving admin, else member.
func (h roles) succession(at chat.HLC, steps []chat.MemberRow) roles {
	best := role{}
	for _, s := range steps {
		now := h.of(s.User.ID, ^chat.HLC(0))
		since := h.since(s.User.ID)
		better := now > best.role || now == best.role && (since < best.at || since == best.at && slices.Compare(s.User.ID[:], best.user[:]) < 0)
		if now != chat.RoleNone && better {
			best = role{since, s.User.ID, now}
		}
	}
	if best.role == chat.RoleNone {
		return h
	}
	return append(h, role{at, best.user, chat.RoleOwner})
}

// roles gives the roles by the steps that the node knows.
func (n *node) roles(id chat.ConversationID) roles {
	h, ok := n.told[id]
	if count := n.tables.Steps(chat.UserID(id), id); !ok || h.steps != count {
		h = knownRoles{count, rolesOf(n.tables.Members(chat.UserID(id), id, chat.NoUser))}
		n.told[id] = h
	}
	return h.roles
}

// knownRoles are roles by so many steps.
type knownRoles struct {
	steps int
	roles roles
}

// of gives the role of user at t.
func (h roles) of(user chat.UserID, t chat.HLC) chat.Role {
	now := chat.RoleNone
	for _, r := range h {
		if r.user == user && r.at <= t {
			now = r.role
		}
	}
	return now
}

// since gives when user's present stay began.
func (h roles) since(user chat.UserID) chat.HLC {
	var at chat.HLC
	in := false
	for _, r := range h {
		if r.user != user {
			continue
		}
		if !in && r.role != chat.RoleNone {
			at = r.at
		}
		in = r.role != chat.RoleNone
	}
	return at
}

// keeps says whether the region serves a zone of the group at t; ever: of anybody who was named in it.
func (w *world) keeps(n *site, steps []chat.MemberRow, h roles, t chat.HLC, ever bool) bool {
	return slices.ContainsFunc(steps, func(s chat.MemberRow) bool {
		in := s.Role != chat.RoleNone && (ever || s.Op.Time() <= t && h.of(s.User.ID, s.Op.Time()) != chat.RoleNone)
		return in && w.topology.InZone(n.region, s.User.Zone)
	})
}

// checkGroups: every region of a group's zones knows the same steps; messages are there once, from when the zone came in;
// every device shows what its person's membership allows. (That it shows nothing else is checked whenever it is told
// something: what left before a removal arrived cannot be taken back.)
func (w *world) checkGroups() {
	for _, g := range w.groups {
		var steps []chat.MemberRow
		var first *site
		for _, n := range w.living() {
			if w.topology.InZone(n.region, g.maker.zone) && first == nil {
				first, steps = n, n.steps(g)
			}
		}
		h := rolesOf(steps)
		whole := first != nil && w.whole(g)
		w.checkGroupMessages(g, steps, h, whole)
		if whole {
			w.checkGroupCopies(g, first, steps, h)
			w.checkGroupViews(g, first, h)
		}
	}
}

// whole says that each step, and each name, of the group that a region knows has been known in a region of its maker's zone that is not
// lost: nobody else may bring it.
func (w *world) whole(g *group) bool {
	among := func(zone chat.Zone, has func(*site) bool) bool {
		return slices.ContainsFunc(w.living(), func(n *site) bool { return w.topology.InZone(n.region, zone) && has(n) })
	}
	stray := func(s chat.MemberRow) bool {
		return !among(s.ByZone, func(n *site) bool { return slices.Contains(n.steps(g), s) })
	}
	nameless := func(row chat.GroupRow) bool {
		return !among(row.ByZone, func(n *site) bool { return slices.Contains(n.names(g), row) })
	}
	return !w.mood.loseRegion || !slices.ContainsFunc(w.living(), func(n *site) bool {
		return slices.ContainsFunc(n.steps(g), stray) || slices.ContainsFunc(n.names(g), nameless)
	})
}

// names gives the names of a group that the region knows.
func (s *site) names(g *group) []chat.GroupRow { return s.tables.GroupNames(chat.UserID(g.id), g.id) }

// steps gives the steps of a group that the region knows, or knew when it was lost.
func (s *site) steps(g *group) []chat.MemberRow {
	return s.tables.Members(chat.UserID(g.id), g.id, chat.NoUser)
}

// serves says whether the region serves somebody who was ever named in the group, as far as any region, also a lost one, knew.
func (w *world) serves(n *site, g *group) bool {
	return slices.ContainsFunc(w.sites, func(s *site) bool { return w.keeps(n, s.steps(g), nil, 0, true) })
}

// checkGroupCopies: the regions that keep the group agree.
func (w *world) checkGroupCopies(g *group, first *site, steps []chat.MemberRow, h roles) {
	owner := chat.UserID(g.id)
	names := first.names(g)
	for _, n := range w.living() {
		have := n.steps(g)
		if !w.serves(n, g) {
			if len(have) > 0 || len(n.tables.Messages(owner, g.id, chat.NoMessage, 1)) > 0 {
				w.violate(PromiseResidency, "%s holds group %s, and serves nobody who is in it", n.region, g.id)
			}
			continue
		}
		if !w.keeps(n, steps, h, ^chat.HLC(0), false) {
			continue // somebody was invited in vain: nothing is brought there
		}
		if !reflect.DeepEqual(have, steps) {
			w.violate(PromiseConverge, "%s and %s know other steps of group %s:\n%+v\n%+v", first.region, n.region, g.id, steps, have)
		}
		if have := n.names(g); !slices.Equal(have, names) {
			w.violate(PromiseConverge, "%s and %s know other names of group %s:\n%+v\n%+v", first.region, n.region, g.id, names, have)
		}
	}
}

// checkGroupMessages: what was acknowledged is once in every copy of the group that was there at its time. What only a lost region had
// was sent again, and may have been refused where nothing is known of the group.
func (w *world) checkGroupMessages(g *group, steps []chat.MemberRow, h roles, whole bool) {
	for _, n := range w.living() {
		rows := map[*send]int{}
		for _, row := range n.tables.Messages(chat.UserID(g.id), g.id, chat.NoMessage, everything) {
			if row.AliasOf == chat.NoMessage {
				rows[w.sendOf(n.tables, row)]++
			}
		}
		for _, s := range w.history {
			if s.conversation != g.id || !s.region {
				continue
			}
			must := whole && w.served(s.from.user.zone) && (!w.mood.loseRegion || s.failed == "")
			if have := rows[s]; have > 1 || have == 0 && must && w.keeps(n, steps, h, s.id.Time(), false) {
				w.violate(PromiseOnce, "%s is %d times in the group's mailbox in %s; acknowledged as %s", s, have, n.region, s.id)
			}
		}
	}
}

// checkGroupViews: a device shows all that was written while its person and the writer were in the group.
func (w *world) checkGroupViews(g *group, first *site, h roles) {
	for _, c := range w.clients {
		if !w.served(c.user.zone) {
			continue
		}
		want := map[chat.MessageID]chat.MessageRow{}
		for _, row := range first.tables.Messages(chat.UserID(g.id), g.id, chat.NoMessage, everything) {
			t := row.ID.Time()
			if row.AliasOf == chat.NoMessage && h.of(c.user.id, t) != chat.RoleNone && h.of(row.Sender, t) != chat.RoleNone {
				want[row.ID] = row
			}
		}
		for id, row := range want {
			if _, ok := c.view[id]; ok || c.showsLost(row) {
				continue
			}
			w.violate(PromiseNoGap, "%s does not show %s of group %s", c.name, id, g.id)
		}
		if view, ok := c.groups[g.id]; ok && view.role != h.of(c.user.id, ^chat.HLC(0)) {
			w.violate(PromiseMembers, "%s believes to have role %d in group %s, and has %d", c.name, view.role, g.id, h.of(c.user.id, ^chat.HLC(0)))
		}
	}
}

// checkActs: what was acknowledged besides messages stands in every copy, unless something newer took its place.
func (w *world) checkActs() {
	for _, a := range w.acts {
		if w.isLost(a.op.Stream.Region) {
			continue // it was handed on, or it was lost with the region; the rest agrees
		}
		for _, n := range w.living() {
			for _, owner := range a.op.Owners {
				if !w.topology.InZone(n.region, owner.Zone) || w.restored.gone[copyOf{owner: owner.ID, op: a.op.ID}] {
					continue
				}
				if what := n.lacks(&a.op, owner); what != "" {
					w.violate(PromiseOnce, "%s lacks %s of %s, acknowledged as %s at %s", n.region, what, a.by.name, a.op.ID, a.op.Stream.Region)
				}
			}
		}
	}
}

// checkShown: what somebody did to a message of a direct conversation is found from the id that stands, by whatever id the
// message was named.
func (w *world) checkShown(final map[*send]chat.MessageID) {
	for _, a := range w.acts {
		if w.isLost(a.op.Stream.Region) {
			continue
		}
		for _, n := range w.living() {
			me := a.by.user.id
			row, ok := n.tables.Message(me, a.op.Conversation, a.target())
			if !ok || a.op.Kind != chat.OpChange || !w.topology.InZone(n.region, a.by.user.zone) || w.restored.gone[copyOf{owner: me, op: a.op.ID}] {
				continue
			}
			row, ok = n.tables.Message(me, a.op.Conversation, final[w.sendOf(n.tables, row)])
			if m := n.nodes[0].viewer(me, me, a.op.Conversation).view(row); ok && !slices.ContainsFunc(m.changes, func(c chat.ChangeRow) bool { return a.shows(&c) }) {
				w.violate(PromiseOnce, "%s does not show what %s did to %s, acknowledged as %s", n.region, a.by.name, a.target(), a.op.ID)
			}
		}
	}
}

func (a *act) target() chat.MessageID {
	if a.op.Kind != chat.OpChange {
		return chat.NoMessage
	}
	return a.op.Change.Target
}

// shows says whether c is what was done, or something newer in its place.
func (a *act) shows(c *chat.ChangeRow) bool {
	return c.Kind == a.op.Change.Kind && c.User == a.op.Author.ID && c.Emoji == a.op.Change.Emoji && c.Version >= a.op.Time
}

// lacks names what the node does not have of an op, "" when it has all.
func (s *site) lacks(op *chat.Op, owner chat.Owner) string {
	t := s.tables
	if owner.ID != chat.UserID(op.Conversation) && op.Kind != chat.OpChange {
		row, ok := t.Conversation(owner.ID, op.Conversation)
		if (!ok || !row.Group) && (op.Kind != chat.OpMember || op.Member.Role != chat.RoleNone) {
			return "somebody's entry into a group"
		}
		return ""
	}
	switch op.Kind {
	case chat.OpChange:
		if !slices.ContainsFunc(t.Changes(owner.ID, op.Conversation, op.Change.Target, op.Change.Target, everything), func(c chat.ChangeRow) bool { return stands(op, &c) }) {
			return "a change"
		}
	case chat.OpGroup:
		if !slices.ContainsFunc(t.GroupNames(owner.ID, op.Conversation), func(row chat.GroupRow) bool { return row.Op == op.ID }) {
			return "a group's name"
		}
	case chat.OpMember:
		if !slices.ContainsFunc(t.Members(owner.ID, op.Conversation, op.Member.User.ID), func(row chat.MemberRow) bool { return row.Op == op.ID }) {
			return "a step of a membership"
		}
	}
	return ""
}

// stands says whether c is the change of op, or what took its place.
func stands(op *chat.Op, c *chat.ChangeRow) bool {
	same := c.Kind == op.Change.Kind && c.User == op.Author.ID && c.Emoji == op.Change.Emoji
	return same && (c.Op == op.ID || c.Version > op.Time && c.Kind != chat.ChangeDelete)
}
