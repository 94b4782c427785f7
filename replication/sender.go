package replication

import (
	"fmt"
	"time"

	"meridian/chat"
)

// position is the receiver's word on where to go on, on a new link or after it lost something. It counts as an ack too.
func (c *Core) position(now time.Time, p *peer, from chat.NodeRef, f *Frame) {
	if f.Stream.Region != c.cfg.Self {
		c.alarm(Alarm{Code: chat.CodeBadFrame, Peer: p.region, Stream: f.Stream, Detail: "a position in a stream that is not ours"})
		return
	}
	o := p.out[f.Stream]
	if o == nil {
		c.askedAgain(p, f)
		return
	}
	if o.via != "" && o.via != from.Node || !c.plausible(p, o, f) {
		return
	}
	upTo := min(f.UpTo, o.log.settled)
	if !o.stated {
		o.stated = true
		c.doubt(o, upTo)
	}
	o.via, o.ready = from.Node, true
	o.rewind(now, upTo)
	o.sentAt = time.Time{}
	if upTo < o.acked {
		c.retreatAck(o, upTo)
	}
	c.advanceAck(now, p, o, upTo)
	c.pump(now, p, o)
}

// acked is the receiver's word that it is durable up to f.UpTo.
func (c *Core) acked(now time.Time, p *peer, f *Frame) {
	o := p.out[f.Stream]
	if o == nil || f.UpTo <= o.acked || !c.plausible(p, o, f) {
		return
	}
	upTo := min(f.UpTo, o.log.settled)
	o.progress = now
	n := 0
	for n < len(o.window) && o.window[n].upTo <= upTo {
		o.ops -= o.window[n].ops
		o.bytes -= o.window[n].bytes
		n++
	}
	o.window = o.window[n:]
	o.sent = max(o.sent, upTo)
	o.scanned = max(o.scanned, o.sent)
	c.advanceAck(now, p, o, upTo)
	c.pump(now, p, o)
}

func (c *Core) advanceAck(now time.Time, p *peer, o *outbound, upTo uint64) {
	if upTo <= o.acked {
		return
	}
	o.acked = upTo
	o.before.acked(upTo)
	o.owed.acked(upTo)
	o.guess()
	c.tellMarks = true
	c.zoneAcked(now, o.log.stream, p.region, o.acked)
}

// retreatAck takes an acknowledgement back: the region's store was restored, or another of its nodes knows less for sure.
func (c *Core) retreatAck(o *outbound, upTo uint64) {
	o.before.again(o.acked, int64(o.acked-upTo)*o.log.recount.guess(o.to), c.clock.Last())
	o.acked = upTo
	o.guess()
}

// plausible says whether the peer can know what it claims. It cannot know what this life never had durable; one that has ended
// may be known better by others than by a store that was restored since.
func (c *Core) plausible(p *peer, o *outbound, f *Frame) bool {
	if f.UpTo <= o.log.settled || o.log.closed {
		return true
	}
	c.alarmLater(p, f)
	return false
}

// alarmLater tells that a peer claims to know what this node has not originated yet: it lies, or the node's clock was ahead by more
// than the age of the copy that its store was restored from, so that an earlier life has a higher number.
func (c *Core) alarmLater(p *peer, f *Frame) {
	c.alarm(Alarm{
		Code: chat.CodeVersionConflict, Peer: p.region, Stream: f.Stream,
		Detail: fmt.Sprintf("the peer claims to know %v up to %d; this life is %v, up to %d", f.Stream, f.UpTo, c.stream, c.own.settled),
	})
}

// pump sends what waits, as far as the window allows: from the tail, or from the log where the tail does not reach back.
func (c *Core) pump(now time.Time, p *peer, o *outbound) {
	for o.via != "" && o.ready && !o.reading && o.scanned < o.log.settled && c.room(o) {
		if o.scanned < o.log.tailFrom {
			c.readBack(now, p, o)
			return
		}
		ops, upTo := c.collect(p, o)
		o.scanned = upTo
		if len(ops) == 0 {
			return // a watermark will tell, when it is due
		}
		mark := ops[len(ops)-1].Logged
		if upTo == o.log.settled {
			mark = max(mark, c.watermark(now, o.log))
		}
		c.send(now, p, o, upTo, mark, ops)
	}
}

func (c *Core) room(o *outbound) bool {
	return o.ops < c.cfg.WindowOps && o.bytes < c.cfg.WindowBytes
}

// collect takes the next frame's ops from the tail; upTo is where it ends.
func (c *Core) collect(p *peer, o *outbound) (ops []chat.Op, upTo uint64) {
	bytes := 0
	tail := o.log.after(o.scanned)
	for i := range tail {
		op := &tail[i]
		if !concerns(op, p.region) {
			continue
		}
		full := len(ops) >= c.cfg.BatchOps || o.ops+len(ops) >= c.cfg.WindowOps || bytes+size(op) > c.cfg.BatchBytes
		if full && len(ops) > 0 {
			return ops, ops[len(ops)-1].Seq
		}
		ops = append(ops, *op)
		bytes += size(op)
	}
	return ops, o.log.settled
}

func (c *Core) send(now time.Time, p *peer, o *outbound, upTo uint64, mark chat.HLC, ops []chat.Op) {
	after := o.sent
	o.sent, o.sentAt = upTo, now
	o.scanned = max(o.scanned, upTo)
	if upTo > after {
		if len(o.window) == 0 {
			o.progress = now
		}
		fr := sentFrame{upTo: upTo, ops: len(ops)}
		for i := range ops {
			fr.bytes += size(&ops[i])
		}
		o.window = append(o.window, fr)
		o.ops += fr.ops
		o.bytes += fr.bytes
	}
	c.emit(Send{
		Peer:  chat.NodeRef{Region: p.region, Node: o.via},
		Frame: Frame{Kind: FrameBatch, Stream: o.log.stream, After: after, UpTo: upTo, Watermark: mark, Ops: ops},
	})
}

// readBack asks for ops that are no longer in memory.
func (c *Core) readBack(now time.Time, p *peer, o *outbound) {
	if now.Before(o.readAfter) {
		return
	}
	o.reading, o.readFrom = true, o.scanned
	c.emit(ReadLog{
		Stream: o.log.stream, To: p.region, After: o.scanned, UpTo: min(o.log.settled, o.log.tailFrom), Limit: max(1, c.cfg.BatchOps),
	})
}

// logRead takes what was read of an op log: for a region that is behind, or of a life that has ended.
func (c *Core) logRead(now time.Time, in LogRead) {
	if in.Count {
		c.counted(now, in)
		return
	}
	if in.To == "" {
		c.tailRead(now, in)
		return
	}
	p, ok := c.peers[in.To]
	if !ok {
		return
	}
	if in.Stream.Region != c.cfg.Self {
		c.foreignRead(p, in)
		return
	}
	if o := p.out[in.Stream]; o != nil && o.reading && in.After == o.readFrom {
		c.sendRead(now, p, o, in)
	}
}

// sendRead sends what was read.
func (c *Core) sendRead(now time.Time, p *peer, o *outbound, in LogRead) {
	o.reading = false
	if in.Err != nil {
		o.readAfter = now.Add(pause)
		c.alarm(Alarm{Code: chat.CodeOf(in.Err), Peer: p.region, Stream: in.Stream, Detail: "cannot read the op log: " + in.Err.Error()})
		return
	}
	ops := in.Ops
	for len(ops) > 0 && ops[0].Seq <= o.sent {
		ops = ops[1:] // acknowledged meanwhile
	}
	for len(ops) > 0 {
		n, bytes := 1, size(&ops[0])
		for n < len(ops) && bytes+size(&ops[n]) <= c.cfg.BatchBytes {
			bytes += size(&ops[n])
			n++
		}
		c.send(now, p, o, ops[n-1].Seq, ops[n-1].Logged, ops[:n:n])
		ops = ops[n:]
	}
	o.scanned = max(o.scanned, in.UpTo)
	c.pump(now, p, o)
}

// tickSender opens again what got no position, sends again what got no ack, and tells the watermark of a stream that has
// nothing else to say.
func (c *Core) tickSender(now time.Time, p *peer, o *outbound) {
	if !p.linked(o.via) {
		return
	}
	if !o.ready {
		if o.openedAt.IsZero() {
			o.openedAt = now
		}
		if now.Sub(o.openedAt) >= c.cfg.Resend {
			c.open(p, o)
		}
		return
	}
	if len(o.window) > 0 && now.Sub(o.progress) >= c.cfg.Resend {
		o.rewind(now, o.acked)
	}
	c.pump(now, p, o)
	if !o.reading && o.scanned == o.log.settled && now.Sub(o.sentAt) >= c.cfg.Watermark {
		c.send(now, p, o, o.scanned, c.watermark(now, o.log), nil)
	}
}
