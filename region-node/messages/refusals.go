package messages

import (
	"context"

	"meridian/chat"
	"meridian/replication"
)

// Prove answers the core's question about ops that a region says it refused. It reads when it is called, beside the loop.
func Prove(ctx context.Context, store chat.Log, out replication.Prove) replication.Proved {
	in := replication.Proved{ID: out.ID, Ops: make([]chat.Op, len(out.Of)), Told: make([][]chat.RefusalRow, len(out.Of))}
	for i := range out.Of {
		r := &out.Of[i]
		ops, err := store.ReadLog(ctx, r.Stream, r.Seq-min(r.Seq, 1), r.Seq, "", 1)
		if err == nil && len(ops) == 1 {
			in.Ops[i] = ops[0]
		}
		if err == nil {
			in.Told[i], err = store.Refusals(ctx, []chat.MessageID{r.Op})
		}
		if err != nil {
			in.Err = err
			return in
		}
	}
	return in
}
