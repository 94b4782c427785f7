package replication

import (
	"fmt"
	"time"

	"meridian/chat"
)

// position is the receiver's word on where to go on, on a new link or after it lost something. It counts as an ack too.
func (c *Core) position(now time.Time, p *peer, f *Frame) {
	upTo := f.UpTo
	switch {
	case f.Stream == c.stream:
		if !c.plausible(p, f) {
			return
		}
	case f.Stream.Region != c.cfg.Self:
		c.alarm(Alarm{Code: chat.CodeBadFrame, Peer: p.region, Stream: f.Stream, Detail: "a position in a stream that is not ours"})
		return
	case f.Stream.Node == c.cfg.Node && f.Stream.Incarnation > c.stream.Incarnation:
		c.needLife(p, f)
		return
	case p.ready:
		return // of an earlier life, beside the one that counts
	default:
		upTo = 0 // it does not know this life
	}
	p.ready = true
	p.rewind(now, upTo)
	p.sentAt = time.Time{}
	c.advanceAck(p, upTo)
	c.pump(now, p)
}

// acked is the receiver's word that it is durable up to f.UpTo.
func (c *Core) acked(now time.Time, p *peer, f *Frame) {
	if f.Stream != c.stream || !c.plausible(p, f) || f.UpTo <= p.acked {
		return
	}
	p.progress = now
	n := 0
	for n < len(p.window) && p.window[n].upTo <= f.UpTo {
		p.ops -= p.window[n].ops
		p.bytes -= p.window[n].bytes
		n++
	}
	p.window = p.window[n:]
	p.sent = max(p.sent, f.UpTo)
	p.scanned = max(p.scanned, p.sent)
	c.advanceAck(p, f.UpTo)
	c.pump(now, p)
}

func (c *Core) advanceAck(p *peer, upTo uint64) {
	p.acked = max(p.acked, upTo)
	c.zoneAcked(p.region, p.acked)
}

// plausible says whether the peer can know what it claims. It cannot know what this node never had durable, unless this
// node's store is an old copy of itself.
func (c *Core) plausible(p *peer, f *Frame) bool {
	if f.UpTo <= c.own.settled {
		return true
	}
	c.needLife(p, f)
	return false
}

func (c *Core) needLife(p *peer, f *Frame) {
	if c.needsLife {
		return
	}
	c.needsLife = true
	c.alarm(Alarm{
		Code: chat.CodeVersionConflict, Peer: p.region, Stream: f.Stream,
		Detail: fmt.Sprintf("the peer knows the stream up to %d, this store up to %d: the store is an old copy and needs a new incarnation", f.UpTo, c.own.settled),
	})
}

// pump sends what waits, as far as the window allows: from the tail, or from the log where the tail does not reach back.
func (c *Core) pump(now time.Time, p *peer) {
	for p.up && p.ready && !p.reading && p.scanned < c.own.settled && c.room(p) {
		if p.scanned < c.own.tailFrom {
			c.readBack(now, p)
			return
		}
		ops, upTo := c.collect(p)
		p.scanned = upTo
		if len(ops) == 0 {
			return // a watermark will tell, when it is due
		}
		mark := ops[len(ops)-1].Logged
		if upTo == c.own.settled {
			mark = max(mark, c.watermark(now))
		}
		c.send(now, p, upTo, mark, ops)
	}
}

func (c *Core) room(p *peer) bool { return p.ops < c.cfg.WindowOps && p.bytes < c.cfg.WindowBytes }

// collect takes the next frame's ops from the tail; upTo is where it ends.
func (c *Core) collect(p *peer) (ops []chat.Op, upTo uint64) {
	bytes := 0
	tail := c.own.after(p.scanned)
	for i := range tail {
		op := &tail[i]
		if !concerns(op, p.region) {
			continue
		}
		full := len(ops) >= c.cfg.BatchOps || p.ops+len(ops) >= c.cfg.WindowOps || bytes+size(op) > c.cfg.BatchBytes
		if full && len(ops) > 0 {
			return ops, ops[len(ops)-1].Seq
		}
		ops = append(ops, *op)
		bytes += size(op)
	}
	return ops, c.own.settled
}

func (c *Core) send(now time.Time, p *peer, upTo uint64, mark chat.HLC, ops []chat.Op) {
	after := p.sent
	p.sent, p.sentAt = upTo, now
	p.scanned = max(p.scanned, upTo)
	if upTo > after {
		if len(p.window) == 0 {
			p.progress = now
		}
		fr := sentFrame{upTo: upTo, ops: len(ops)}
		for i := range ops {
			fr.bytes += size(&ops[i])
		}
		p.window = append(p.window, fr)
		p.ops += fr.ops
		p.bytes += fr.bytes
	}
	c.emit(Send{Peer: p.region, Frame: Frame{Kind: FrameBatch, Stream: c.stream, After: after, UpTo: upTo, Watermark: mark, Ops: ops}})
}

// readBack asks for ops that are no longer in memory.
func (c *Core) readBack(now time.Time, p *peer) {
	if now.Before(p.readAfter) {
		return
	}
	p.reading, p.readFrom = true, p.scanned
	c.emit(ReadLog{Peer: p.region, After: p.scanned, UpTo: min(c.own.settled, c.own.tailFrom), Limit: max(1, c.cfg.BatchOps)})
}

// logRead sends what was read, unless the peer went back meanwhile.
func (c *Core) logRead(now time.Time, in LogRead) {
	p, ok := c.peers[in.Peer]
	if !ok || !p.reading || in.After != p.readFrom {
		return
	}
	p.reading = false
	if in.Err != nil {
		p.readAfter = now.Add(pause)
		c.alarm(Alarm{Code: chat.CodeOf(in.Err), Peer: p.region, Stream: c.stream, Detail: "cannot read the op log: " + in.Err.Error()})
		return
	}
	ops := in.Ops
	for len(ops) > 0 && ops[0].Seq <= p.sent {
		ops = ops[1:] // acknowledged meanwhile
	}
	for len(ops) > 0 {
		n, bytes := 1, size(&ops[0])
		for n < len(ops) && bytes+size(&ops[n]) <= c.cfg.BatchBytes {
			bytes += size(&ops[n])
			n++
		}
		c.send(now, p, ops[n-1].Seq, ops[n-1].Logged, ops[:n:n])
		ops = ops[n:]
	}
	p.scanned = max(p.scanned, in.UpTo)
	c.pump(now, p)
}

// tickSender sends again what got no ack, and tells the watermark of a stream that has nothing else to say.
func (c *Core) tickSender(now time.Time, p *peer) {
	if !p.up || !p.ready {
		return
	}
	if len(p.window) > 0 && now.Sub(p.progress) >= c.cfg.Resend {
		p.rewind(now, p.acked)
	}
	c.pump(now, p)
	if !p.reading && p.scanned == c.own.settled && now.Sub(p.sentAt) >= c.cfg.Watermark {
		c.send(now, p, p.scanned, c.watermark(now), nil)
	}
}
