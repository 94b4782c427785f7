package sim

import (
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
				op = ops[0]
			}
			in.Ops = append(in.Ops, op)
			in.Told = append(in.Told, n.tables.Refusals([]chat.MessageID{r.Op}))
		}
		n.step(in)
	})
}
