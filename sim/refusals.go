package sim

import (
	"fmt"
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// prove answers the core's question about ops that another region says it refused.
func (n *node) prove(out replication.Prove) {
	n.later(n.w.between(time.Millisecond, 8*time.Millisecond), func() {
		in := replication.Proved{ID: out.ID}
		if !n.w.healed && n.w.chance(n.w.mood.badWrites) {
			n.w.faults["read fails"]++
			in.Err = &chat.Error{Code: chat.CodeRegionDegraded, Op: "sim.prove"}
			n.step(in)
			return
		}
		for i := range out.Of {
			r := &out.Of[i]
			var op chat.Op
			if ops := n.tables.ReadLog(r.Stream, r.Seq-min(r.Seq, 1), r.Seq, "", 1); len(ops) == 1 {
				op = n.seen(ops)[0]
			}
			in.Ops = append(in.Ops, op)
			in.Told = append(in.Told, n.tables.Refusals([]chat.MessageID{r.Op}))
		}
		n.step(in)
	})
}

// poisonous says whether what from writes to to is something that the store of to's region will not take. Their zones have no
// region in common, so that each region either takes it for all of its people or for none.
func (w *world) poisonous(from, to *user) bool {
	return w.mood.poison > 0 && to.zone == "deny" && (from.zone == "pair" || from.zone == "solo") && w.chance(w.mood.poison)
}

// refuses says whether the store of the region will not take the message.
func (s *site) refuses(m *send) bool {
	return m.poison && !s.nodes[0].w.topology.InZone(s.region, m.from.user.zone)
}

// poisoned says whether the store will not take the batch, for good.
func (n *node) poisoned(b *chat.Batch) bool {
	for i := range b.Messages {
		if slices.ContainsFunc(n.w.byClient[b.Messages[i].Client], n.site.refuses) {
			n.w.faults["poison op"]++
			return true
		}
	}
	return false
}

// deliverRefusal tells the client that a region refused what its person wrote.
func (s *session) deliverRefusal(row *chat.InboxRow, cursor string) {
	c := s.client
	for _, r := range s.node.tables.Refusals([]chat.MessageID{row.Ref}) {
		if r.Told == row.Op {
			s.push(func() {
				c.refusals[r.Client] = true
				c.keep(cursor)
			})
			return
		}
	}
	s.node.w.violate(PromiseTold, "%s: inbox of %s tells of a refusal of %s, which is not there", s.node.region, c.user.name, row.Ref)
}

// refusalsOf gives the refusals of the reader's own among messages.
func (n *node) refusalsOf(reader chat.UserID, rows []seen) []chat.RefusalRow {
	var own []chat.MessageID
	for i := range rows {
		if rows[i].row.Sender == reader {
			own = append(own, rows[i].row.ID)
		}
	}
	return n.tables.Refusals(own)
}

// untold names a message that a region refused without the device being told, "" if there is none.
func (c *client) untold() string {
	if c.w.mood.loseRegion { // the region that knows it may be lost, or the one that was told
		return ""
	}
	for _, s := range c.w.history {
		if s.from.user == c.user && s.poison && s.region && !c.refusals[s.client] {
			return fmt.Sprintf("%s was not told that %s is refused", c.name, s)
		}
	}
	return ""
}

// checkTold: whoever wrote what a region refuses is told on each device, and nobody is told anything else.
func (w *world) checkTold() {
	for _, c := range w.clients {
		if !w.served(c.user.zone) {
			continue
		}
		w.checked(PromiseTold)
		if m := c.untold(); m != "" {
			w.violate(PromiseTold, "%s", m)
		}
		for _, s := range w.history {
			if c.refusals[s.client] && (!s.poison || s.from.user != c.user) {
				w.violate(PromiseTold, "%s was told that %s is refused, which it is not", c.name, s)
			}
		}
	}
}

// forged is the frame as a region sends it that lies now and then: in it stands, in a place that is of no concern to the
// receiver, that the region refused what it was never brought.
func (w *world) forged(from, to *node, f replication.Frame) replication.Frame {
	if w.healed || w.mood.forged == 0 || f.Kind != replication.FrameBatch || from.site == to.site || !w.chance(w.mood.forged) {
		return f
	}
	at := 0
	for at < len(f.Ops) && f.Ops[at].Seq == f.After+uint64(at)+1 {
		at++
	}
	seq := f.After + uint64(at) + 1
	op, ok := to.site.unbrought(from.region)
	if seq > f.UpTo || !ok {
		return f
	}
	w.faults["forged refusal"]++
	w.note(from.name(), "lies that it refused %s", op.ID)
	now := chat.HLCFromTime(from.now())
	client := chat.ClientID(w.uuid(0x30))
	f.Ops = slices.Insert(slices.Clone(f.Ops), at, chat.Op{
		Kind: chat.OpRefused, ID: chat.NewMessageID(now, chat.NoUser, client), Time: now, Logged: now, Client: client,
		Stream: f.Stream, Seq: seq, To: []chat.Region{to.region},
		Refused: &chat.Refusal{Region: from.region, Stream: op.Stream, Seq: op.Seq, Op: op.ID, Code: chat.CodeDenied},
	})
	return f
}

// unbrought gives a message of the region's own op logs that it did not bring to the other one.
func (s *site) unbrought(other chat.Region) (chat.Op, bool) {
	for _, end := range s.tables.Streams() {
		if end.Stream.Region != s.region {
			continue
		}
		for _, op := range s.tables.ReadLog(end.Stream, 0, end.Seq, "", everything) {
			if op.Kind == chat.OpMessage && !slices.Contains(op.To, other) && s.nodes[0].w.topology.InZone(s.region, op.Author.Zone) {
				return op, true
			}
		}
	}
	return chat.Op{}, false
}
