package sim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/sim/memstore"
)

// In a share of the worlds a region is restored from a copy of its store that is some seconds old: its nodes start on it as if
// nothing had happened, find out by what the others know of their op logs, and begin a new life that catches up before it
// serves. What others still have of what the region alone had originated comes back by a repair, as an operator starts it.

// restored is what became of the region that was restored.
type restored struct {
	site  *site
	copy  *memstore.Tables
	was   *memstore.Tables // what the copy took the place of
	done  bool             // it has been restored
	whole time.Duration    // until then none of its links is cut
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
	if !w.chance(restoreShare) || m.loseRegion || m.oldBuild || m.unjudged {
		return
	}
	m.restores, m.nodesMax, m.groups, m.crowd = true, 1, 0, 0
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
	w.after(made, func() { w.restored.copy = s.tables.Clone() })
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
	r.done, r.whole = true, w.now+wholeFor
	for _, l := range r.site.nodes[0].links() { // an operator does it while the network is whole
		l.block(0, false)
		l.block(1, false)
	}
	for _, n := range r.site.nodes {
		w.after(w.between(200*time.Millisecond, 2*time.Second), func() {
			if !n.up {
				n.boot()
			}
		})
	}
	w.after(w.between(3*time.Second, 8*time.Second), w.repairNow)
}

// wholeFor is how long the network of a restored region stays whole, unless it has begun its new life before: an operator restores
// one that can be reached. One that is cut off until it has logged as much as it lost does not find out.
const wholeFor = 10 * time.Second

// keepsWhole says that the link is not cut now.
func (r *restored) keepsWhole(w *world, l *link) bool {
	return w.now < r.whole && (l.ends[0].site == r.site || l.ends[1].site == r.site)
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

// forked notes what the region acknowledged between its start on the copy and the moment in which it found out: it stands in the
// old life's op log, in places which the others take for known.
func (r *restored) forked(old chat.StreamID, upTo uint64) {
	last := r.lastSeq(r.copy, old)
	for _, op := range r.site.tables.ReadLog(old, last, upTo, "", everything) {
		for _, owner := range op.Owners {
			if op.Kind == chat.OpMessage {
				r.gone[copyOf{owner: owner.ID, client: op.Client}] = true
			} else {
				r.gone[copyOf{owner: owner.ID, op: op.ID}] = true
			}
		}
	}
	for _, row := range r.site.tables.AllMessages() {
		if r.gone[copyOf{owner: row.Owner, client: row.Client}] {
			r.ids[row.ID] = true
		}
	}
}

// lastSeq gives the last sequence of a stream of the region in some of its tables.
func (r *restored) lastSeq(t *memstore.Tables, stream chat.StreamID) uint64 {
	for _, life := range t.Nodes() {
		if life.Stream == stream {
			return life.LastSeq
		}
	}
	return 0
}

// unseen notes the same at the end of a world in which the region never found out: whom it reached knew no more than itself.
func (r *restored) unseen() {
	if r.done && r.site.nodes[0].core.Stream().Incarnation == r.was.Identity().Incarnation {
		old := r.site.nodes[0].core.Stream()
		r.forked(old, r.lastSeq(r.was, old))
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

// origins tells which of the sites bring which message to the region that is restored.
func (w *world) origins(sites []*site) map[chat.MessageID]origin {
	of := map[chat.MessageID]origin{}
	for _, s := range sites {
		for _, end := range s.tables.Streams() {
			if end.Stream.Region != s.region {
				continue
			}
			for _, op := range s.tables.ReadLog(end.Stream, 0, end.Seq, w.restored.site.region, everything) {
				if op.Kind == chat.OpMessage {
					of[op.ID] = origin{s.region, op.Logged}
				}
			}
		}
	}
	return of
}

// rebornAhead is how far above its clock a store that was restored begins to stamp, as in region-node/messages, but for how far
// clocks are apart in these worlds.
const rebornAhead = time.Second

// reborn begins a new life of a store that turned out to be an old copy of itself.
func (n *node) reborn() {
	if !n.up || !n.core.NeedsNewIncarnation() {
		return
	}
	n.w.faults["new incarnation"]++
	n.w.restored.whole = 0
	n.w.restored.forked(n.core.Stream(), ^uint64(0))
	n.tables.NewIncarnationOf(n.ref.Node)
	n.tables.ApplyOf(n.ref.Node, &chat.Batch{HighWater: chat.HLCFromTime(n.now().Add(rebornAhead))})
	n.catchUp = true
	n.lifeOver("the store is an old copy of itself")
}

// ready says whether the node takes clients.
func (n *node) ready() bool {
	if n.core.NeedsNewIncarnation() {
		return false
	}
	if n.catchUp && !n.core.CaughtUp(n.began) {
		n.w.faults["not caught up yet"]++
		return false
	}
	n.proveCaughtUp()
	return true
}

// proveCaughtUp checks that a region that was restored has again what linked regions had brought it before.
func (n *node) proveCaughtUp() {
	r := &n.w.restored
	if !r.done || n.site != r.site || !n.catchUp {
		return
	}
	n.w.checked(PromiseNoGap)
	linked := map[chat.Region]bool{}
	for _, p := range n.core.Peers(n.clock()) {
		linked[p.Region] = p.Up
	}
	for _, o := range r.owed {
		if _, ok := n.tables.Message(o.row.Owner, o.row.Conversation, o.row.ID); !ok && linked[o.origin.region] && o.origin.logged <= n.began {
			n.w.violate(PromiseNoGap, "%s serves without %s, which %s had brought it before it was restored", n.name(), o.row.ID, o.origin.region)
			return
		}
	}
}
