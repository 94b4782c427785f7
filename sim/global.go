package sim

import (
	"cmp"
	"slices"

	"meridian/chat"
)

// owed is an op of another region that must be visible here once a global time reaches it.
type owed struct {
	op   chat.Op
	from *site
}

// audience gives whose inbox logs tell of an op: of those kinds that are always told.
func audience(op *chat.Op) []chat.Owner {
	switch op.Kind {
	case chat.OpMessage:
		return op.Owners
	case chat.OpBlock, chat.OpAccount:
		return []chat.Owner{op.Author}
	}
	return nil
}

// entered notes the ops that became durable in an op log of their own region, for all regions that must have them. What comes in a
// log that another node has closed is logged anew, with another time.
func (s *site) entered(b *chat.Batch) {
	for i := range b.Log {
		op := &b.Log[i].Op
		if audience(op) == nil || op.Stream.Region != s.region || s.closed(op.Stream) {
			continue
		}
		for _, to := range s.nodes[0].w.sites {
			if slices.Contains(op.To, to.region) {
				at, _ := slices.BinarySearchFunc(to.owed, op.Logged, func(o owed, t chat.HLC) int { return cmp.Compare(o.op.Logged, t) })
				to.owed = slices.Insert(to.owed, at, owed{*op, s})
			}
		}
	}
}

// closed says that another node has adopted the life.
func (s *site) closed(life chat.StreamID) bool {
	return slices.ContainsFunc(s.tables.Nodes(), func(row chat.NodeRow) bool { return row.Stream == life && row.AdoptedBy != "" })
}

// proveGlobal checks that everything that was logged elsewhere at or before a global time is visible here by the local mark given with it.
func (n *node) proveGlobal(local, global chat.HLC) {
	s := n.site
	for len(s.owed) > 0 && s.owed[0].op.Logged <= global {
		o := s.owed[0]
		s.owed = s.owed[1:]
		if o.op.Stream.Region == n.without || !n.w.topology.InZone(o.from.region, o.op.Author.Zone) || n.buried(&o.op) {
			continue
		}
		n.w.checked(PromiseNoGap)
		for _, owner := range audience(&o.op) {
			if n.w.topology.InZone(s.region, owner.Zone) && !n.shows(owner.ID, &o.op, local) && o.from.logs(&o.op) {
				n.w.violate(PromiseNoGap, "%s gives a global time that holds op %d of %v, which %s is not shown by %s",
					n.name(), o.op.Seq, o.op.Stream, owner.ID, local.Time())
			}
		}
	}
}

// lateRow names an entry of an inbox log.
type lateRow struct {
	owner   chat.UserID
	arrival chat.HLC
}

// comesLate notes which entries of a batch reach the store when a local mark beyond them was given out: nobody is sure to be shown them.
func (s *site) comesLate(b *chat.Batch) {
	for i := range b.Inbox {
		row := &b.Inbox[i]
		if row.Arrival <= s.givenLocal && len(s.tables.Inbox(row.Owner, row.Arrival-1, row.Arrival, 1)) == 0 {
			s.late[lateRow{row.Owner, row.Arrival}] = true
		}
	}
}

// shows says whether the inbox log of the owner tells of the op by the local mark.
func (n *node) shows(owner chat.UserID, op *chat.Op, local chat.HLC) bool {
	return slices.ContainsFunc(n.tables.Inbox(owner, op.Time-1, local, everything), func(row chat.InboxRow) bool {
		return row.Op == op.ID && !n.site.late[lateRow{owner, row.Arrival}]
	})
}

// logs says whether the op still stands in the log that it came with: a restored region forgets some.
func (s *site) logs(op *chat.Op) bool {
	return slices.ContainsFunc(s.tables.ReadLog(op.Stream, op.Seq-1, op.Seq, "", 1), func(o chat.Op) bool { return o.ID == op.ID })
}
