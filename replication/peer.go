package replication

import (
	"cmp"
	"slices"
	"time"

	"meridian/chat"
)

// peer is the state towards one region, in both directions.
type peer struct {
	region chat.Region
	up     bool

	// Sending. The receiver states its position on every new link (ready); what it must have lies in (acked, settled].
	ready     bool
	acked     uint64 // durable there
	persisted uint64 // of acked, what the store knows
	sent      uint64 // frames cover everything up to here
	scanned   uint64 // sent, and further where no op concerns the peer
	window    []sentFrame
	ops       int       // in window
	bytes     int       // in window
	progress  time.Time // last time the window was empty or moved
	sentAt    time.Time
	reading   bool // a ReadLog is under way, from readFrom
	readFrom  uint64
	readAfter time.Time // no ReadLog before it

	// Receiving.
	streams map[chat.StreamID]*inStream
	heardAt time.Time
	askedAt time.Time
	askWhy  chat.Code
	askDue  bool
}

// sentFrame is a frame that is not acknowledged.
type sentFrame struct {
	upTo       uint64
	ops, bytes int
}

// inStream is how far one foreign stream is here.
type inStream struct {
	id       chat.StreamID
	accepted uint64 // taken in, perhaps not written
	durable  uint64
	// watermark: every op of the stream for this region at or before it is durable and covered by Marks().Local. next
	// becomes watermark when the last apply write has passed.
	watermark, next chat.HLC
	queue           []inFrame
	queued          int // ops in queue
	applying        bool
	unpassed        int  // apply writes that have not passed
	warned          bool // the alarm about an op ahead of the clock was given for the head of the queue
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

// inbound gives the state of a stream, made at its first frame.
func (p *peer) inbound(id chat.StreamID) *inStream {
	s, ok := p.streams[id]
	if !ok {
		s = &inStream{id: id}
		p.streams[id] = s
	}
	return s
}

// known gives the peer's streams, sorted.
func (p *peer) known() []*inStream {
	list := make([]*inStream, 0, len(p.streams))
	for _, s := range p.streams {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *inStream) int {
		return cmp.Or(cmp.Compare(a.id.Node, b.id.Node), cmp.Compare(a.id.Incarnation, b.id.Incarnation))
	})
	return list
}

// latest gives the stream of the latest incarnation of each of the peer's nodes.
func (p *peer) latest() []*inStream {
	var list []*inStream
	for _, s := range p.known() {
		if n := len(list); n > 0 && list[n-1].id.Node == s.id.Node {
			list[n-1] = s
			continue
		}
		list = append(list, s)
	}
	return list
}

func (p *peer) forgetWindow() { p.window, p.ops, p.bytes = nil, 0, 0 }

// rewind has everything after seq sent again.
func (p *peer) rewind(now time.Time, seq uint64) {
	p.forgetWindow()
	p.sent, p.scanned, p.progress, p.reading = seq, seq, now, false
}
