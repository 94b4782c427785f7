package sim

import (
	"fmt"
	"reflect"
	"slices"

	"meridian/chat"
	"meridian/replication"
	"meridian/residency"
)

// atRest says that nothing is under way any more.
func (w *world) atRest() bool { return w.unrest() == "" }

// unrest names the first thing that is still under way.
func (w *world) unrest() string {
	healedAt := chat.HLCFromTime(start.Add(w.busy))
	for _, n := range w.nodes {
		if n.site.lost {
			continue
		}
		for _, p := range n.core.Peers(n.clock()) {
			if !w.isLost(p.Region) && (!p.Ready || p.Backlog > 0 || p.WindowOps > 0) {
				return fmt.Sprintf("%s has not brought everything to %s: %+v", n.name(), p.Region, p)
			}
		}
		if k := n.core.Submits(); k > 0 {
			return fmt.Sprintf("%s has %d submits not answered", n.name(), k)
		}
		if k := len(n.tables.Parked()); k > 0 {
			return fmt.Sprintf("%s has %d ops parked", n.name(), k)
		}
		if k := n.core.Looks(); k > 0 {
			return fmt.Sprintf("%s has %d groups to look at", n.name(), k)
		}
		if m := n.core.Marks(n.now()); !w.mood.loseRegion && m.Global <= healedAt.Add(2*w.mood.skew) {
			return fmt.Sprintf("global time of %s stands at %s, with %+v", n.name(), m.Global.Time(), n.core.Origins(n.clock()))
		}
	}
	if what := w.notHandedOn(); what != "" {
		return what
	}
	if w.doomed != nil && w.mood.outbox > 0 && !w.takenOut {
		return "the lost region is not taken out"
	}
	for _, c := range w.clients {
		switch {
		case !w.served(c.user.zone): // its people wait for their region
		case c.session == nil || c.awaiting:
			return c.name + " is not connected"
		case len(c.stale) > 0:
			return c.name + " has not read a group since it changed"
		case c.waits() != nil:
			return fmt.Sprintf("%s waits for acks of %d, first %s", c.name, len(c.outbox), c.waits())
		case c.missing() != "":
			return c.missing()
		case c.alien() != "":
			return c.alien()
		case c.untold() != "":
			return c.untold()
		}
	}
	return w.unrepaired()
}

// notHandedOn names something of a lost region that one region holds for another and has not entered in its own op log for it, ""
// if there is none. It goes page by page, each with a write, and may take long where disks are slow.
func (w *world) notHandedOn() string {
	for _, s := range w.living() {
		for _, end := range s.tables.Streams() {
			if !w.isLost(end.Stream.Region) {
				continue
			}
			positions := s.tables.Positions(end.Stream)
			for _, to := range w.living() {
				if to == s {
					continue
				}
				ops := s.tables.ReadLog(end.Stream, max(positions[to.region], to.reached(end.Stream)), end.Seq, to.region, everything)
				if i := slices.IndexFunc(ops, func(op chat.Op) bool { return w.mayHandOn(s, to, &op) }); i >= 0 {
					return fmt.Sprintf("%s has not handed on %d of %v to %s", s.region, ops[i].Seq, end.Stream, to.region)
				}
			}
		}
	}
	return ""
}

// reached is how far the region has applied a stream: nothing up to there is handed on to it.
func (s *site) reached(stream chat.StreamID) uint64 {
	for _, row := range s.tables.Applied() {
		if row.Stream == stream {
			return row.Seq
		}
	}
	return 0
}

// mayHandOn says whether one region may bring another an op: steps of groups, say, come from the author's side only.
func (w *world) mayHandOn(s, to *site, op *chat.Op) bool {
	if op.Kind == chat.OpRows {
		return residency.Rows(w.topology, op, s.region, to.region).Allowed()
	}
	return residency.Bring(w.topology, op, s.region).Allowed() && residency.Op(w.topology, op, to.region).Allowed()
}

// missing names a message of the mailbox that the device does not show, "" if there is none.
func (c *client) missing() string {
	for _, m := range c.mailbox() {
		if _, ok := c.view[m.row.ID]; !ok && !c.showsLost(m.row) {
			return fmt.Sprintf("%s does not show %s, %s", c.name, m.row.ID, c.w.sendOf(c.endpoints[c.at].tables, m.row))
		}
	}
	return ""
}

// alien names a message that the device shows and the mailbox has not, as what became an alias, "" if there is none. (A group's
// may have been shown before somebody was removed.)
func (c *client) alien() string {
	mailbox := map[chat.MessageID]bool{}
	for _, m := range c.mailbox() {
		mailbox[m.row.ID] = true
	}
	alien := chat.NoMessage
	for id, on := range c.view {
		if !mailbox[id] && !c.phantom(id) && on.row.Owner != chat.UserID(on.row.Conversation) && (alien == chat.NoMessage || id.Compare(alien) < 0) {
			alien = id
		}
	}
	if alien == chat.NoMessage {
		return ""
	}
	return fmt.Sprintf("%s shows %s, which is not in its mailbox", c.name, alien)
}

// mailbox is what the device's own region would show.
func (c *client) mailbox() []seen {
	var list []seen
	n := c.endpoints[c.at]
	for _, conv := range n.tables.Conversations(c.user.id, chat.NoMessage, everything) {
		list = append(list, n.mailbox(c.user.id, n.ofMailbox(c.user.id, conv.ID), conv.ID, false)...)
	}
	return list
}

// check asks for every promise, in a world at rest.
func (w *world) check() {
	final := w.checkMailboxes()
	w.checkOrder(final)
	w.checkViews()
	w.checkAlike()
	w.checkResidency()
	w.checkGroups()
	w.checkActs()
	w.checkTold()
	w.checkShown(final)
}

// waits gives a send that is not acknowledged as far as its zone can do it now.
func (c *client) waits() *send {
	w := c.w
	for _, m := range c.outbox {
		left := 0
		for _, s := range w.living() {
			if !w.topology.InZone(s.region, c.user.zone) {
				continue
			}
			if left++; !m.region || !w.taken(m, s) {
				return m
			}
		}
		if left > 1 {
			return m
		}
	}
	return nil
}

// taken says whether a region of the author's zone has a send as the author's side brought it.
func (w *world) taken(m *send, s *site) bool {
	return slices.ContainsFunc(s.tables.Retries(m.from.user.id, m.client), func(row chat.RetryRow) bool {
		return m.is(&row) && w.topology.InZone(row.Stream.Region, m.from.user.zone)
	})
}

// phantom says that only a region had the message which is lost: nobody else will ever tell of that id.
func (c *client) phantom(id chat.MessageID) bool {
	if c.w.restored.ids[id] {
		return true
	}
	if !c.w.mood.loseRegion {
		return false
	}
	row, had := &c.view[id].row, false
	for _, s := range c.w.sites {
		if _, ok := s.tables.Message(row.Owner, row.Conversation, id); ok {
			if !s.lost {
				return false
			}
			had = true
		}
	}
	return had
}

// showsLost says that the device shows the message under an id that the lost region gave it, and told to be the one that stands.
func (c *client) showsLost(row chat.MessageRow) bool {
	to, ok := c.aliases[row.ID]
	_, shown := c.view[to]
	return ok && shown && c.phantom(to)
}

// beforeZone says that the copy of a message of a group is shown to nobody: it is older than that the copy's zone has members there.
func (s *site) beforeZone(row chat.MessageRow) bool {
	return slices.ContainsFunc(s.tables.GroupZones(row.Conversation), func(z chat.GroupZoneRow) bool {
		return z.Zone == row.OwnerZone && row.ID.Time() < z.Since
	})
}

// checkMailboxes: every acknowledged send once in every mailbox that must have it, under one id; nothing else.
func (w *world) checkMailboxes() map[*send]chat.MessageID {
	final := map[*send]chat.MessageID{}
	for _, n := range w.living() {
		seen := map[*send]map[chat.UserID]int{}
		for _, row := range n.tables.AllMessages() {
			w.checked(PromiseInvented)
			s := w.sendOf(n.tables, row)
			if s == nil || row.Sender != s.from.user.id || row.Conversation != s.conversation || !s.owns(row.Owner) {
				w.violate(PromiseInvented, "%s holds message %s of nobody", n.region, row.ID)
				continue
			}
			if row.AliasOf != chat.NoMessage {
				if row.AliasOf.Compare(row.ID) >= 0 {
					w.violate(PromiseOnce, "%s holds %s as another name of %s, which is not smaller", n.region, row.ID, row.AliasOf)
				}
				continue
			}
			if string(row.Body) != s.body || row.ReplyTo != s.replyTo {
				w.violate(PromiseInvented, "%s holds %s with another content", n.region, s)
			}
			if seen[s] == nil {
				seen[s] = map[chat.UserID]int{}
			}
			seen[s][row.Owner]++
			if n.beforeZone(row) {
				continue
			}
			if id, ok := final[s]; ok && id != row.ID && !w.restored.renamed[s] {
				w.violate(PromiseOrder, "%s is %s in one mailbox and %s in %s", s, id, row.ID, n.region)
			}
			final[s] = row.ID
		}
		for _, s := range w.history {
			if s.to == nil {
				continue
			}
			for _, owner := range []*user{s.from.user, s.to} {
				w.checked(PromiseOnce)
				want := 0
				if w.topology.InZone(n.region, owner.zone) && s.region && !n.refuses(s) {
					want = 1
				}
				have := seen[s][owner.id]
				if !w.served(s.from.user.zone) && have < 2 {
					continue // only the lost region had acknowledged it: it was handed on, or not
				}
				if w.reused(s) && s.failed != "" && !s.region && have < 2 {
					continue // refused here, taken there
				}
				if w.restored.gone[copyOf{owner: owner.id, client: s.client}] && have < 2 {
					continue // only the region that was restored had acknowledged it
				}
				if have != want && (s.region || s.failed != "") {
					w.violate(PromiseOnce, "%s is %d times in the mailbox of %s in %s, want %d; acknowledged as %s", s, have, owner.name, n.region, want, s.id)
				}
			}
		}
	}
	return final
}

// owns says whether a copy of the message belongs into the mailbox.
func (s *send) owns(owner chat.UserID) bool {
	if s.to == nil {
		return owner == chat.UserID(s.conversation)
	}
	return owner == s.from.user.id || owner == s.to.id
}

// checkOrder: a device's messages keep their order, and a reply stands after what it answers. Across conversations a message that only
// a lost region had, and that was sent again, may stand after a later one.
func (w *world) checkOrder(final map[*send]chat.MessageID) {
	type writer struct {
		client *client
		within chat.ConversationID // none: across conversations
	}
	last := map[writer]*send{}
	aliasOf := map[chat.MessageID]chat.MessageID{}
	for _, n := range w.living() {
		for _, row := range n.tables.AllMessages() {
			if row.AliasOf != chat.NoMessage {
				aliasOf[row.ID] = row.AliasOf
			}
		}
	}
	for _, s := range w.history {
		id, ok := final[s]
		if !ok || s.failed != "" || w.reused(s) || w.restored.renamed[s] { // who was refused goes on without it; a try that was held elsewhere may still have been taken
			continue
		}
		w.checked(PromiseOrder)
		across, within := writer{client: s.from}, writer{s.from, s.conversation}
		for _, by := range []writer{across, within} {
			if before := last[by]; before != nil && final[before].Compare(id) >= 0 {
				w.violate(PromiseOrder, "%s (%s) stands before %s (%s), which was written first", s, id, before, final[before])
			}
			if !w.sentAgain(s) || by == within && !s.poison { // who refused it may have the next one from the lost region
				last[by] = s
			}
		}
		parent := s.replyTo
		if to, ok := aliasOf[parent]; ok {
			parent = to
		}
		if parent != chat.NoMessage && parent.Compare(id) >= 0 {
			w.violate(PromiseOrder, "%s stands before what it answers", s)
		}
	}
}

// sentAgain says that a lost region had the send under an id that no other region has.
func (w *world) sentAgain(s *send) bool {
	for _, lost := range w.sites {
		if !lost.lost {
			continue
		}
		for _, row := range lost.tables.Retries(s.from.user.id, s.client) {
			told := slices.ContainsFunc(w.living(), func(n *site) bool {
				return slices.ContainsFunc(n.tables.Retries(s.from.user.id, s.client), func(r chat.RetryRow) bool { return r.ID == row.ID })
			})
			if !told {
				return true
			}
		}
	}
	return false
}

// checkViews: what a device has shown, live and after resumes, is its mailbox, each message as its changes make it.
func (w *world) checkViews() {
	for _, c := range w.clients {
		if !w.served(c.user.zone) {
			continue
		}
		w.checked(PromiseNoGap)
		if m := c.missing(); m != "" {
			w.violate(PromiseNoGap, "%s", m)
		}
		for _, m := range c.mailbox() {
			on, ok := c.view[m.row.ID]
			if is := replication.View(&m.row, m.changes, nil, c.user.id); ok && !m.vain && !w.mood.loseRegion && !w.restored.done && !reflect.DeepEqual(on.view(), is) {
				w.violate(PromiseConverge, "%s shows %s as %+v, it is %+v", c.name, m.row.ID, on.view(), is)
			}
		}
		if m := c.alien(); m != "" {
			w.violate(PromiseOnce, "%s", m)
		}
	}
}

// checkAlike: the regions of a zone hold the same about its people, but for groups of which not all regions can know.
func (w *world) checkAlike() {
	partial := map[chat.ConversationID]bool{}
	for _, g := range w.groups {
		partial[g.id] = !w.whole(g)
	}
	for _, u := range w.users {
		var first *site
		for _, n := range w.living() {
			if !w.topology.InZone(n.region, u.zone) {
				continue
			}
			if first == nil {
				first = n
				continue
			}
			w.checked(PromiseConverge)
			if a, b := first.about(u, partial), n.about(u, partial); !reflect.DeepEqual(a, b) {
				w.violate(PromiseConverge, "%s and %s differ about %s:\n%+v\n%+v", first.region, n.region, u.name, a, b)
			}
		}
	}
}

// about gathers what a region holds of a person and what does not depend on arrival, without the conversations in but.
func (s *site) about(u *user, but map[chat.ConversationID]bool) []any {
	t := s.tables
	conversations := slices.DeleteFunc(t.Conversations(u.id, chat.NoMessage, everything), func(row chat.ConversationRow) bool { return but[row.ID] })
	list := []any{t.Contacts(u.id, chat.NoUser, everything), t.Blocks(u.id), conversations, t.AccountOf(u.id)}
	_, last := replication.GroupQuery{Since: 1}.Targets(nil, false)
	for _, conv := range conversations {
		list = append(list, t.Marks(u.id, conv.ID), t.Messages(u.id, conv.ID, chat.NoMessage, everything), t.Changes(u.id, conv.ID, chat.NoMessage, last, everything))
	}
	return list
}

// checkResidency: nothing kept for, or written by, people of a deny zone lies outside it.
func (w *world) checkResidency() {
	for _, n := range w.living() {
		for _, u := range w.users {
			w.checked(PromiseResidency)
			inside := w.topology.InZone(n.region, u.zone)
			if inside {
				continue
			}
			if len(n.tables.Conversations(u.id, chat.NoMessage, 1)) > 0 || n.tables.AccountOf(u.id).ID != chat.NoUser || len(n.tables.Inbox(u.id, 0, ^chat.HLC(0), 1)) > 0 {
				w.violate(PromiseResidency, "%s holds rows of %s of zone %s", n.region, u.name, u.zone)
			}
		}
		for _, row := range n.tables.AllMessages() {
			if s := w.sendOf(n.tables, row); s != nil && s.from.user.zone == "deny" && !w.topology.InZone(n.region, "deny") {
				w.violate(PromiseResidency, "%s holds a text of %s of zone deny", n.region, s.from.name)
			}
		}
	}
}
