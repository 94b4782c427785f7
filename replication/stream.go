package replication

import (
	"time"

	"meridian/chat"
)

// inStream is how far one foreign stream is here.
type inStream struct {
	id chat.StreamID
	// link is the node that brings it, the zero NodeRef when none does.
	link     chat.NodeRef
	accepted uint64 // taken in, perhaps not written
	durable  uint64
	shown    uint64 // of durable, what is covered by this node's low mark
	reviewed uint64 // of durable, what was looked at again where other nodes write too
	told     uint64 // durable in this region as another node of it tells, and visible by its low mark toldLow
	toldLow  chat.HLC
	toldMark chat.HLC
	stored   bool            // the store knows that the stream counts
	claim    chat.AppliedRow // the store's word when the node started
	sure     uint64          // shown here, as the store knows; 0: it does not say
	// watermark: every op of the stream for this region at or before it is durable and covered by this node's low mark. next
	// becomes watermark when the last apply write has passed.
	// heard is what the origin told; what is parked holds the two others below it.
	watermark, next, heard chat.HLC
	covers                 covers
	queue                  []inFrame
	queued                 int // ops in queue
	applying               bool
	opening                bool // a position is due
	ackDue                 bool // an ack waits for the lease
	over                   bool // its life has ended, with the op log at ends, and not all of it is here
	ends                   uint64
	unpassed               int // apply writes that have not passed
	parking                parking
	suspect                suspect
	underReview            []*reviewStep

	heardAt time.Time
	askedAt time.Time
	askWhy  chat.Code
	askDue  bool
}

// inFrame is an accepted frame, or what is left of it.
type inFrame struct {
	items     []inOp
	upTo      uint64
	watermark chat.HLC
	since     time.Time
}

// inOp is a received op with its stored retry rows; refused says why it must not be applied.
type inOp struct {
	op      chat.Op
	known   []chat.RetryRow
	refused *chat.Error
}

// enqueue takes a frame in. One that brings no op is joined to the last, so that a stream that waits does not grow.
func (s *inStream) enqueue(fr inFrame) {
	s.queued += len(fr.items)
	if n := len(s.queue); n > 0 && len(fr.items) == 0 {
		last := &s.queue[n-1]
		last.upTo, last.watermark = max(last.upTo, fr.upTo), max(last.watermark, fr.watermark)
		return
	}
	s.queue = append(s.queue, fr)
}

// forgetQueue drops what is accepted and not written: it will be sent again.
func (s *inStream) forgetQueue() { s.queue, s.queued, s.accepted = nil, 0, s.durable }

// pass tells that an apply write failed, or that it and everything older is covered by this node's low mark.
func (s *inStream) pass() {
	s.unpassed--
	s.settleMark()
}

// settleMark moves what is covered by this node's low mark to what is durable, once that has passed.
func (s *inStream) settleMark() {
	if s.unpassed == 0 {
		s.watermark, s.shown = max(s.watermark, s.next), s.durable
	}
}

// end notes that the stream gets nothing more and that this region has all of it, be it parked.
func (s *inStream) end() {
	s.hear(endOfStream)
	s.settleMark()
}

// askSoon asks after a pause, once: frames that were on their way meanwhile would each ask again.
func (s *inStream) askSoon(why chat.Code) { s.askDue, s.askWhy = true, why }

// covers are watermarks of a stream that count once the region's local mark has reached low: only then all of the region's
// nodes show what the watermark speaks of.
type covers struct {
	list []cover
	mark chat.HLC // the largest that counts
}

type cover struct{ low, mark chat.HLC }

// maxCovers bounds the watermarks that wait; beyond it the latest are joined.
const maxCovers = 32

// add takes a watermark that is right where everything up to low is shown.
func (c *covers) add(low, mark chat.HLC) {
	n := len(c.list)
	switch {
	case mark <= c.mark || n > 0 && mark <= c.list[n-1].mark:
	case n > 0 && (n >= maxCovers || low <= c.list[n-1].low):
		last := &c.list[n-1]
		last.low, last.mark = max(last.low, low), mark
	default:
		c.list = append(c.list, cover{low, mark})
	}
}

// at gives what counts where everything up to local is shown.
func (c *covers) at(local chat.HLC) chat.HLC {
	for len(c.list) > 0 && c.list[0].low <= local {
		c.mark = max(c.mark, c.list[0].mark)
		c.list = c.list[1:]
	}
	return c.mark
}
