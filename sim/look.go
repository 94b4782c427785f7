package sim

import (
	"time"

	"meridian/chat"
	"meridian/replication"
)

// look answers the core's question about groups, in a moment: what it reads is as old as the read.
func (n *node) look(out replication.Look) {
	n.later(n.slowRead(time.Millisecond, 8*time.Millisecond), func() {
		in := replication.Looked{ID: out.ID}
		if !n.w.healed && n.w.chance(n.w.mood.badWrites) {
			n.w.faults["read fails"]++
			in.Err = &chat.Error{Code: chat.CodeRegionDegraded, Op: "sim.look"}
		} else {
			for _, k := range out.Sends {
				in.Sends = append(in.Sends, n.tables.Retries(k.Author, k.Client))
			}
			for _, q := range out.Groups {
				in.Groups = append(in.Groups, n.groupState(q))
			}
		}
		n.later(n.w.between(0, 4*time.Millisecond), func() { n.step(in) })
	})
}

// groupState reads what is asked about a group.
func (n *node) groupState(q replication.GroupQuery) replication.GroupState {
	t, owner := n.tables, chat.UserID(q.Conversation)
	g := replication.GroupState{Conversation: q.Conversation, Zones: t.GroupZones(q.Conversation)}
	if q.Members {
		g.Names = t.GroupNames(owner, q.Conversation)
		g.Members = t.Members(owner, q.Conversation, chat.NoUser)
		g.Marks = t.Marks(owner, q.Conversation)
	}
	if q.Since == 0 {
		return g
	}
	for _, row := range t.Messages(owner, q.Conversation, q.Before, q.Limit) {
		if row.ID.Time() >= q.Since {
			g.Messages = append(g.Messages, row)
		}
	}
	g.More = len(g.Messages) == q.Limit
	from, to := q.Targets(g.Messages, g.More)
	g.Changes = t.Changes(owner, q.Conversation, from, to, everything)
	return g
}

// lastOps are the own ops that the core looks at again when it starts.
func (n *node) lastOps() []chat.Op {
	if n.site.shared() {
		return nil
	}
	id := n.tables.IdentityOf(n.ref.Node)
	stream := chat.StreamID{Region: id.Region, Node: id.Node, Incarnation: id.Incarnation}
	return n.seen(n.tables.ReadLog(stream, id.LastSeq-min(id.LastSeq, replication.RestoredOps), id.LastSeq, "", replication.RestoredOps))
}
