package replication

import (
	"time"

	"meridian/chat"
)

// outbound is the relay of one op log to one region. The receiver states its position on every new link (ready); what it must
// have lies in (acked, log.settled].
type outbound struct {
	log       *ownLog
	to        chat.Region
	via       chat.NodeID // the node of the region that it is brought to; "" for none
	ready     bool
	stated    bool // the region has said where it is since this node began to relay
	openedAt  time.Time
	acked     uint64 // durable there
	persisted uint64 // of acked, what the store knows
	sent      uint64 // frames cover everything up to here
	scanned   uint64 // sent, and further where no op concerns the region
	window    []sentFrame
	ops       int       // in window
	bytes     int       // in window
	progress  time.Time // last time the window was empty or moved
	sentAt    time.Time
	reading   bool // a ReadLog is under way, from readFrom
	readFrom  uint64
	readAfter time.Time // no ReadLog before it
	// What lies in (acked, log.settled] for the region: before was there when the core began and is counted, uncounted may be
	// there, owed came since.
	before, owed owed
	uncounted    int64
}

// sentFrame is a frame that is not acknowledged.
type sentFrame struct {
	upTo       uint64
	ops, bytes int
}

func (o *outbound) forgetWindow() { o.window, o.ops, o.bytes = nil, 0, 0 }

// rewind has everything after seq sent again.
func (o *outbound) rewind(now time.Time, seq uint64) {
	o.forgetWindow()
	o.sent, o.scanned, o.progress, o.reading = seq, seq, now, false
}

// open has a relay begin, or begin anew, at a node of the region: the receiver states its position first.
func (c *Core) open(p *peer, o *outbound) {
	if !p.linked(o.via) {
		o.via = p.choose(o.log.stream)
	}
	o.ready, o.reading = false, false
	o.forgetWindow()
	o.openedAt = time.Time{} // the next tick asks again if nothing comes
	if p.linked(o.via) {
		c.emit(Send{Peer: chat.NodeRef{Region: p.region, Node: o.via}, Frame: Frame{Kind: FrameOpen, Stream: o.log.stream}})
	}
}

// relay makes the outbounds of an op log; acked is what each region is known to have, sample are some of its last ops.
func (c *Core) relay(log *ownLog, acked map[chat.Region]uint64, sample []chat.Op) {
	log.recount = recount{at: log.settled, upTo: log.settled, sample: sample}
	for _, r := range c.order {
		p := c.peers[r]
		if p.out[log.stream] != nil {
			continue
		}
		at := min(acked[r], log.settled)
		o := &outbound{log: log, to: r, acked: at, persisted: at}
		p.out[log.stream] = o
		log.relays = append(log.relays, o)
		log.recount.at = min(log.recount.at, at)
		if p.up() {
			c.open(p, o)
		}
	}
	for _, o := range log.relays {
		o.guess()
	}
}
