package replication

import (
	"slices"
	"time"

	"meridian/chat"
)

// Where several nodes share a store, two of them may write the same send under two ids at once, each without knowing of the
// other. So each reads the send's retry rows again once its own are durable: at least the later one sees both, and writes
// that the larger ids are aliases of the smallest.

// keptForReview is how long a message stays known for another look: a node that died may have written just before, without
// having looked itself. It is longer than any node's death goes unnoticed.
const keptForReview = 20 * time.Second

// review is a look at what was written, and who waits for it.
type review struct {
	items []reviewItem
	done  func(now time.Time, winners []chat.MessageID)
	retry bool // the read, or the write that followed, failed
	// writing: what was found is being written. Until then it is as if nobody had looked (see unlooked).
	writing bool
	// Where a review only reads: the sends, and who is told of their rows.
	sends []SendKey
	read  func(now time.Time, rows [][]chat.RetryRow)
}

// reviewItem is a message that was written: its op (later without the body), and the ids of the send that were known then.
type reviewItem struct {
	op    chat.Op
	by    chat.Region // as of applier
	known []chat.RetryRow
	at    time.Time
}

// review has what was written looked at again where others may write; done is told, for each op, the id that stands.
func (c *Core) review(now time.Time, items []reviewItem, done func(now time.Time, winners []chat.MessageID)) {
	if c.cfg.Lease == 0 || len(items) == 0 {
		winners := make([]chat.MessageID, len(items))
		for i := range items {
			winners[i] = items[i].op.ID
		}
		done(now, winners)
		return
	}
	for i := range items {
		items[i].at = now
		kept := items[i]
		kept.op.Body = nil
		c.recentWrites = append(c.recentWrites, kept)
	}
	c.startReview(&review{items: items, done: done})
}

func (c *Core) startReview(r *review) {
	c.lastReview++
	c.reviews[c.lastReview] = r
	out := Review{ID: c.lastReview, Sends: slices.Clone(r.sends)}
	for i := range r.items {
		op := &r.items[i].op
		out.Sends = append(out.Sends, SendKey{op.Author.ID, op.Client})
	}
	c.emit(out)
}

// reviewed takes what was read.
func (c *Core) reviewed(now time.Time, in Reviewed) {
	r, ok := c.reviews[in.Review]
	if !ok || r.writing {
		return
	}
	if in.Err != nil || len(in.Sends) != len(r.items)+len(r.sends) || !c.mayStamp(now) && !c.lease.leaving {
		r.retry = true // the next tick asks again
		return
	}
	if r.read != nil {
		delete(c.reviews, in.Review)
		r.read(now, in.Sends)
		return
	}
	batch := &chat.Batch{}
	a := c.applier(now, batch)
	low := chat.HLC(0)
	winners := make([]chat.MessageID, len(r.items))
	for i := range r.items {
		it := &r.items[i]
		winner, losers := settle(&it.op, it.known, in.Sends[i])
		winners[i] = winner
		if len(losers) > 0 && low == 0 {
			low = c.clock.Next(now)
		}
		a.by = it.by
		if vouched(c.cfg.Topology, &it.op, in.Sends[i]) {
			a.by = ""
		}
		owners := a.owners(&it.op)
		if len(losers) > 0 && len(it.op.Body) > 0 && !c.fromAuthor(winner, it, in.Sends[i]) {
			for _, owner := range owners {
				a.copy(&it.op, owner, winner, a.next())
			}
		}
		for _, loser := range losers {
			a.alias(&it.op, owners, loser, winner, a.next())
		}
		if len(losers) > 0 {
			for _, owner := range a.owners(&it.op) {
				a.names(&it.op, owner, in.Sends[i])
			}
		}
	}
	if low == 0 {
		delete(c.reviews, in.Review)
		r.done(now, winners)
		return
	}
	r.writing = true
	c.issue(now, &write{
		batch: batch, low: low,
		settle: func(now time.Time, err error) {
			delete(c.reviews, in.Review)
			r.writing = false
			if err != nil {
				c.startReview(r)
				return
			}
			r.done(now, winners)
		},
		passed: func(time.Time) { c.visible(batch.Inbox, nil) },
	})
}

// settle gives the id that stands of a send, and those that are aliases of it and that known did not show.
func settle(op *chat.Op, known, rows []chat.RetryRow) (winner chat.MessageID, losers []chat.MessageID) {
	winner = op.ID
	fresh := []chat.MessageID{op.ID}
	news := false
	for i := range rows {
		row := &rows[i]
		if row.ID == op.ID || !sameContent(row, op) {
			continue
		}
		if row.ID.Compare(winner) < 0 {
			winner = row.ID
		}
		if !slices.ContainsFunc(known, func(k chat.RetryRow) bool { return k.ID == row.ID }) {
			fresh = append(fresh, row.ID)
			news = true
		}
	}
	if !news {
		return winner, nil
	}
	return winner, slices.DeleteFunc(fresh, func(id chat.MessageID) bool { return id == winner })
}

// tickReviews asks again where an answer failed, and forgets what is old.
func (c *Core) tickReviews(now time.Time) {
	for _, id := range sortedKeys(c.reviews) {
		if r := c.reviews[id]; r.retry {
			delete(c.reviews, id)
			r.retry = false
			c.startReview(r)
		}
	}
	n := 0
	for n < len(c.recentWrites) && now.Sub(c.recentWrites[n].at) > keptForReview {
		n++
	}
	c.recentWrites = c.recentWrites[n:]
}

// reviewRecent looks again at what this node wrote lately, since another one has died.
func (c *Core) reviewRecent() {
	if len(c.recentWrites) > 0 {
		c.startReview(&review{items: slices.Clone(c.recentWrites), done: func(time.Time, []chat.MessageID) {}})
	}
}

// fromAuthor says whether the author's side has brought the message under the id that stands: then every owner has it.
func (c *Core) fromAuthor(winner chat.MessageID, it *reviewItem, rows []chat.RetryRow) bool {
	inZone := func(r chat.Region) bool { return c.cfg.Topology.InZone(r, it.op.Author.Zone) }
	return winner == it.op.ID && inZone(it.op.Stream.Region) ||
		slices.ContainsFunc(rows, func(r chat.RetryRow) bool { return r.ID == winner && inZone(r.Stream.Region) })
}
