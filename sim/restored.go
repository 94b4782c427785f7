package sim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/residency"
	"meridian/sim/memstore"
)

// In a share of the worlds a region is restored from a copy of its store that is some seconds old: its nodes start on it as if
// nothing had happened, and catch up before they serve, as at each start. What others still have of what the region alone had
// originated comes back by a repair, as an operator starts it.

// restored is what became of the region that was restored.
type restored struct {
	site *site
	copy *memstore.Tables
	was  *memstore.Tables // what the copy took the place of
	done bool             // it has been restored
	// gone and ids are what nobody else was known to have at that moment: acknowledged at level region only.
	gone map[copyOf]bool
	ids  map[chat.MessageID]bool
	// renamed are the sends that the region has forgotten: a device that sends one again gets another id, while a zone that was
	// brought the first one keeps it.
	renamed map[*send]bool
	// owed are the messages that other regions had originated and the region had lost with its store.
	owed    []owedRow
	repairs int  // repairs after healing, in a row, that found nothing
	moved   bool // the devices have gone to another region since
	left    bool // and before the first repair
}

// origin is the region that brings an op, and when it logged it.
type origin struct {
	region chat.Region
	logged chat.HLC
}

// owedRow is a message of a mailbox, and where it comes from.
type owedRow struct {
	origin origin
	row    chat.MessageRow
}

// restoreShare is the share of the worlds in which a region is restored.
const restoreShare = 0.12

// mayRestore says, by dice of its own, whether the world is one of those.
func (w *world) mayRestore() {
	w.roll("restores", "", 0)
	m := &w.mood
	if !w.chance(restoreShare) || m.loseRegion || m.unjudged {
		return
	}
	m.restores, m.narrow, m.groups, m.crowd = true, false, 0, 0
	m.opLog, m.outbox, m.poison, m.forged, m.leaps = 0, 0, 0, 0, 0
}

// planRestore plans when the copy is made, and when it takes the place of the store.
func (w *world) planRestore() {
	if !w.mood.restores {
		return
	}
	w.roll("restore", "", 0)
	s := w.sites[w.rng.IntN(len(w.sites))]
	w.restored.site = s
	made := w.between(w.busy/5, w.busy/2)
	w.after(made, func() {
		w.restored.copy = s.tables.Clone()
		for _, n := range w.nodes { // lives that the copy does not know of begin, here and elsewhere
			if n.up && w.chance(0.4) {
				n.later(w.between(0, time.Second), func() { w.crashFor(n, w.between(50*time.Millisecond, 500*time.Millisecond)) })
			}
		}
	})
	w.after(made+w.between(2*time.Second, 8*time.Second), w.restore)
}

// restore puts the copy in the place of the store.
func (w *world) restore() {
	r := &w.restored
	if w.healed {
		return
	}
	w.faults["restored from an old copy"]++
	w.note("world", "%s is restored from an old copy", r.site.region)
	for _, n := range r.site.nodes {
		if n.up {
			n.crash()
		}
	}
	w.lost()
	r.was = r.site.tables.Clone()
	*r.site.tables = *r.copy.Clone()
	r.site.shown = newShownOps() // it shows them once more
	r.done = true
	for _, n := range r.site.nodes {
		w.after(w.between(200*time.Millisecond, 2*time.Second), func() {
			if !n.up {
				n.boot()
			}
		})
	}
	w.after(w.between(3*time.Second, 8*time.Second), w.repairNow)
}

// had says that the send was on the disk that the copy took the place of.
func (r *restored) had(m *send) bool { return r.done && m.remembered(r.was) }

// copyOf is what somebody's mailbox has of an op: a message by its client id, anything else by its id.
type copyOf struct {
	owner  chat.UserID
	client chat.ClientID
	op     chat.MessageID
}

// lost notes what goes with the store: what this region had originated and nobody else holds for the mailbox.
func (w *world) lost() {
	r := &w.restored
	r.gone, r.ids, r.renamed = map[copyOf]bool{}, map[chat.MessageID]bool{}, map[*send]bool{}
	others := slices.DeleteFunc(slices.Clone(w.sites), func(s *site) bool { return s == r.site })
	origins := w.origins(others)
	kept := func(owner chat.Owner, holds func(*site) bool) bool {
		return slices.ContainsFunc(others, func(s *site) bool { return w.topology.InZone(s.region, owner.Zone) && holds(s) })
	}
	for _, m := range w.history {
		if m.to == nil || m.remembered(r.copy) {
			continue
		}
		r.renamed[m] = m.remembered(r.site.tables)
		for _, u := range []*user{m.from.user, m.to} {
			r.gone[copyOf{owner: u.id, client: m.client}] = !r.site.brought(m, u, origins) && !kept(u.owner(), func(s *site) bool { return s.keeps(m, u) })
		}
	}
	for _, a := range w.acts {
		for _, owner := range a.op.Owners {
			r.gone[copyOf{owner: owner.ID, op: a.op.ID}] = a.op.Stream.Region == r.site.region && (&site{tables: r.copy}).lacks(&a.op, owner) != "" &&
				!kept(owner, func(s *site) bool { return s.lacks(&a.op, owner) == "" })
		}
	}
	for _, row := range r.site.tables.AllMessages() {
		if _, ok := r.copy.Message(row.Owner, row.Conversation, row.ID); ok {
			continue
		}
		if !kept(chat.Owner{Zone: row.OwnerZone}, func(s *site) bool {
			_, ok := s.tables.Message(row.Owner, row.Conversation, row.ID)
			return ok
		}) {
			r.ids[row.ID] = true
		}
		if from, ok := origins[row.ID]; ok {
			r.owed = append(r.owed, owedRow{from, row})
		}
	}
}

// keeps says whether the region has the message in the person's mailbox.
func (s *site) keeps(m *send, u *user) bool {
	return slices.ContainsFunc(s.tables.Messages(u.id, m.conversation, chat.NoMessage, everything), func(row chat.MessageRow) bool {
		return row.Client == m.client && string(row.Body) == m.body && row.AliasOf == chat.NoMessage
	})
}

// brought says that the message of the person's mailbox came from one of the origins, under the id that stands.
func (s *site) brought(m *send, u *user, origins map[chat.MessageID]origin) bool {
	return slices.ContainsFunc(s.tables.Messages(u.id, m.conversation, chat.NoMessage, everything), func(row chat.MessageRow) bool {
		_, ok := origins[row.ID]
		return ok && row.Client == m.client && string(row.Body) == m.body && row.AliasOf == chat.NoMessage
	})
}

// origins tells which of the sites bring which message, for everybody, to the region that is restored.
func (w *world) origins(sites []*site) map[chat.MessageID]origin {
	of := map[chat.MessageID]origin{}
	for _, s := range sites {
		for _, end := range s.tables.Streams() {
			if end.Stream.Region != s.region {
				continue
			}
			for _, op := range s.tables.ReadLog(end.Stream, 0, end.Seq, w.restored.site.region, everything) {
				if op.Kind == chat.OpMessage && residency.Speak(w.topology, op.Author.Zone, s.region).Allowed() {
					of[op.ID] = origin{s.region, op.Logged}
				}
			}
		}
	}
	return of
}

// ready says whether the node takes clients.
func (n *node) ready() bool {
	if n.core.CaughtUp() {
		return true
	}
	n.w.faults["not caught up yet"]++
	return false
}

// caughtUp notes when the node has caught up, and checks then that a region that was restored has again what those that it could
// reach had brought it before.
func (n *node) caughtUp() {
	r := &n.w.restored
	if n.serves || !n.core.CaughtUp() {
		return
	}
	n.serves = true
	n.w.note(n.name(), "has caught up, but for %v", n.core.Missed())
	if !r.done || n.site != r.site {
		return
	}
	n.w.checked(PromiseNoGap)
	for _, o := range r.owed {
		_, ok := n.tables.Message(o.row.Owner, o.row.Conversation, o.row.ID)
		if !ok && !slices.Contains(n.core.Missed(), o.origin.region) && o.origin.logged <= n.began {
			n.w.violate(PromiseNoGap, "%s serves without %s, which %s had brought it before it was restored", n.name(), o.row.ID, o.origin.region)
			return
		}
	}
}
