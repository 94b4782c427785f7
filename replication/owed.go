package replication

import (
	"slices"
	"sort"
	"time"

	"meridian/chat"
)

// stretchesMax bounds the stretches that are told apart of what one op log owes one region: an acknowledgement that ends in a
// stretch leaves all of it counted, which is about a fiftieth of the whole.
const stretchesMax = 256

// stretch is some ops of an op log that one region must have and has not acknowledged, one after the other.
type stretch struct {
	upTo  uint64
	bytes int64
	since chat.HLC // the first of them was logged then
}

// owed is what an op log owes one region, in bytes, as frames would carry it.
type owed struct {
	list  []stretch // ascending
	bytes int64
	grain int64 // stretches are joined up to this
}

// add counts an op that comes after all others.
func (w *owed) add(op *chat.Op) {
	bytes := int64(size(op))
	w.bytes += bytes
	if n := len(w.list); n > 0 && w.list[n-1].bytes+bytes <= w.grain {
		w.list[n-1].upTo = op.Seq
		w.list[n-1].bytes += bytes
		return
	}
	w.list = append(w.list, stretch{upTo: op.Seq, bytes: bytes, since: op.Logged})
	if len(w.list) > stretchesMax {
		w.coarsen()
	}
}

// drop takes off an op that was not stored.
func (w *owed) drop(op *chat.Op) {
	i := sort.Search(len(w.list), func(i int) bool { return w.list[i].upTo >= op.Seq })
	bytes := int64(size(op))
	w.bytes -= bytes
	if w.list[i].bytes -= bytes; w.list[i].bytes == 0 {
		w.list = slices.Delete(w.list, i, i+1)
	}
}

// coarsen joins neighbours.
func (w *owed) coarsen() {
	w.grain = 4 * w.bytes / stretchesMax
	joined := w.list[:1:stretchesMax]
	for _, s := range w.list[1:] {
		if last := &joined[len(joined)-1]; last.bytes+s.bytes <= w.grain {
			last.upTo, last.bytes = s.upTo, last.bytes+s.bytes
			continue
		}
		joined = append(joined, s)
	}
	w.list = joined
}

// acked takes off what lies at or below seq.
func (w *owed) acked(seq uint64) {
	n := sort.Search(len(w.list), func(i int) bool { return w.list[i].upTo > seq })
	for _, s := range w.list[:n] {
		w.bytes -= s.bytes
	}
	if w.list = w.list[n:]; len(w.list) == 0 {
		w.list, w.grain = nil, 0
	}
}

// again counts what was acknowledged up to upTo, and is not any more.
func (w *owed) again(upTo uint64, bytes int64, since chat.HLC) {
	w.bytes += bytes
	w.list = slices.Insert(w.list, 0, stretch{upTo: upTo, bytes: bytes, since: since})
}

// recount finds what an op log from before this life of the core owes: it is read once, page by page, beside everything else.
// What is not read yet is guessed, from its length and the size of its last ops.
type recount struct {
	at, upTo  uint64 // (at, upTo] is not read
	reading   bool
	readAfter time.Time
	sample    []chat.Op
}

const (
	// countPage is how many ops are read at once to be counted.
	countPage = 512
	// opBytesGuess is what an op is taken for where none was seen.
	opBytesGuess = 512
)

// guess gives what each sequence that is not read yet may owe region.
func (r *recount) guess(region chat.Region) int64 {
	if len(r.sample) == 0 {
		return opBytesGuess
	}
	bytes := 0
	for i := range r.sample {
		if concerns(&r.sample[i], region) {
			bytes += size(&r.sample[i])
		}
	}
	return int64(bytes / len(r.sample))
}

// countOwed asks for the next page of op logs that are not counted.
func (c *Core) countOwed(now time.Time) {
	for _, id := range sortedStreams(c.logs) {
		log := c.logs[id]
		r := &log.recount
		if r.at >= r.upTo || r.reading || now.Before(r.readAfter) {
			continue
		}
		r.reading = true
		c.emit(ReadLog{Stream: id, After: r.at, UpTo: r.upTo, Limit: countPage, Count: true})
	}
}

// counted takes a page.
func (c *Core) counted(now time.Time, in LogRead) {
	log := c.logs[in.Stream]
	if log == nil || !log.recount.reading || in.After != log.recount.at {
		return
	}
	r := &log.recount
	r.reading = false
	if in.Err != nil {
		r.readAfter = now.Add(pause)
		return
	}
	for i := range in.Ops {
		for _, o := range log.relays {
			if op := &in.Ops[i]; op.Seq > o.acked && concerns(op, o.to) {
				o.before.add(op)
			}
		}
	}
	r.at = in.UpTo
	if r.at >= r.upTo {
		r.sample = nil
	}
	for _, o := range log.relays {
		o.guess()
	}
	c.countOwed(now)
}

// guess notes what may be owed of what is not counted.
func (o *outbound) guess() {
	o.uncounted = 0
	if r := &o.log.recount; max(r.at, o.acked) < r.upTo {
		o.uncounted = int64(r.upTo-max(r.at, o.acked)) * r.guess(o.to)
	}
}

// owes is what the op log owes the region, in bytes.
func (o *outbound) owes() int64 { return o.before.bytes + o.uncounted + o.owed.bytes }

// oldest is when the oldest op was logged that is owed and counted; 0 when there is none.
func (o *outbound) oldest() chat.HLC {
	for _, w := range []*owed{&o.before, &o.owed} {
		if len(w.list) > 0 {
			return w.list[0].since
		}
	}
	return 0
}
