package replication

import (
	"fmt"
	"slices"
	"time"

	"meridian/chat"
	"meridian/residency"
)

// received takes a frame from the region that the link proved.
func (c *Core) received(now time.Time, in Received) {
	if in.Peer.Region == c.cfg.Self {
		c.marksTold(now, in)
		return
	}
	p, ok := c.peers[in.Peer.Region]
	if !ok {
		c.alarm(Alarm{Code: chat.CodeDenied, Peer: in.Peer.Region, Detail: "a frame from a region that the topology does not know"})
		return
	}
	p.hears(now)
	switch f := &in.Frame; f.Kind {
	case FrameHave:
		c.haveTold(p, f)
	case FrameBatch:
		c.batch(now, p, in)
	case FramePosition:
		c.position(now, p, in.Peer, f)
	case FrameAck:
		c.acked(now, p, f)
	case FrameOpen:
		c.opened(now, p, &in)
	case FrameLives:
		c.livesTold(p, f)
	default:
		c.alarm(Alarm{Code: chat.CodeUnknownFrame, Peer: p.region, Stream: f.Stream, Detail: fmt.Sprintf("frame of kind %d", f.Kind)})
	}
}

// ask tells who brings the stream where we are, so that it goes on from there.
func (c *Core) ask(now time.Time, s *inStream, why chat.Code) {
	s.askedAt, s.askDue = now, false
	c.emit(Send{Peer: s.link, Frame: Frame{Kind: FramePosition, Stream: s.id, UpTo: s.durable, Reason: why}})
}

// livesTold notes which of the peer's streams count. The store will know with the next batch that comes from the region: none
// of its watermarks is stored before.
func (c *Core) livesTold(p *peer, f *Frame) {
	if len(f.Lives) > maxLives || len(f.Applied) > maxTold {
		c.alarm(Alarm{Code: chat.CodeBadFrame, Peer: p.region, Stream: f.Stream, Detail: fmt.Sprintf("%d lives and %d ends; at most %d and %d", len(f.Lives), len(f.Applied), maxLives, maxTold)})
		return
	}
	ends := map[chat.StreamID]uint64{}
	for _, end := range f.Applied {
		if ends[end.Stream] = end.Seq; end.Stream.Region == p.region && !longOver(end.Stream, p.streams) {
			p.inbound(end.Stream)
		}
	}
	for _, id := range f.Lives {
		if id.Region != p.region {
			continue
		}
		p.inbound(id)
		for _, s := range p.known() {
			if s.id.Node != id.Node || s.id.Incarnation >= id.Incarnation || slices.Contains(f.Lives, s.id) {
				continue
			}
			s.over, s.ends = true, ends[s.id] // who knows the later life would name the earlier one if it went on
			c.endReached(s)
		}
	}
}

// maxLives bounds the lives that one FrameLives names: of the nodes of a region, and earlier ones.
const maxLives = 128

// endReached ends a stream that is over once all of it is here.
func (c *Core) endReached(s *inStream) {
	if s.over && s.reached() >= s.ends {
		s.over = false
		c.endStream(s)
	}
}

// askBack asks every node of the region for what is missing here of a life that has ended, until one brings it.
func (c *Core) askBack(now time.Time, p *peer, s *inStream) {
	c.endReached(s)
	if !s.over || s.heard == endOfStream || !c.knowsStreams || now.Sub(s.heardAt) < c.cfg.Resend || now.Sub(s.askedAt) < c.cfg.Resend {
		return
	}
	s.askedAt = now
	for _, node := range sortedKeys(p.links) {
		c.emit(Send{Peer: chat.NodeRef{Region: p.region, Node: node}, Frame: Frame{Kind: FramePosition, Stream: s.id, UpTo: s.durable}})
	}
}

// tickReceiver asks when it is due, or when nothing was heard for so long that the last question may be lost.
func (c *Core) tickReceiver(now time.Time, p *peer) {
	for _, s := range p.known() {
		if !c.certain(now) {
			continue
		}
		c.askBack(now, p, s)
		if !p.linked(s.link.Node) {
			continue
		}
		if s.ackDue {
			c.ack(now, s)
		}
		if s.opening {
			c.takeOver(now, s)
			continue
		}
		quiet := now.Sub(s.heardAt) >= c.cfg.Resend && now.Sub(s.askedAt) >= c.cfg.Resend
		if s.askDue && now.Sub(s.askedAt) >= 2*pause || quiet {
			c.ask(now, s, s.askWhy)
		}
	}
}

// batch accepts a frame into its stream's queue, without what is known already.
func (c *Core) batch(now time.Time, p *peer, in Received) {
	f := &in.Frame
	if f.Stream.Region != p.region || f.UpTo < f.After {
		c.alarm(Alarm{Code: chat.CodeBadFrame, Peer: p.region, Stream: f.Stream, Detail: "a batch of a stream that is not the peer's, or with a range upside down"})
		return
	}
	s := p.inbound(f.Stream)
	s.link, s.heardAt = in.Peer, now
	switch {
	case f.After > s.accepted:
		s.askSoon(chat.CodeNotFound)
		return
	case s.queued > 0 && s.queued+len(f.Ops) > 2*c.cfg.WindowOps:
		s.askSoon(chat.CodeBusy)
		return
	}
	fr := inFrame{upTo: max(f.UpTo, s.accepted), watermark: f.Watermark, since: now}
	last := f.After
	for i := range f.Ops {
		op := &f.Ops[i]
		item := inOp{op: *op, known: in.Known[i], refused: c.inspect(now, p, f, op, last)}
		if item.refused == nil {
			last = op.Seq
		}
		outside := item.refused != nil && item.refused.Code == chat.CodeBadFrame
		if outside || op.Seq > s.accepted {
			fr.items = append(fr.items, item)
		}
	}
	if fr.upTo > s.accepted {
		s.askDue = false // what was missing came
	}
	s.accepted = fr.upTo
	s.enqueue(fr)
	if f.UpTo > f.After && f.UpTo <= s.durable {
		c.ack(now, s) // its ack may be lost
	}
	c.drain(now, p, s)
}

// inspect says why op must never be applied here. It is asked of every op, whatever the sender asked: a region that lies can
// neither plant what it may not speak for, nor store here what may not be here.
func (c *Core) inspect(now time.Time, p *peer, f *Frame, op *chat.Op, last uint64) *chat.Error {
	bad := func(code chat.Code, detail string) *chat.Error {
		return &chat.Error{Code: code, Op: "replication.Apply", Message: detail}
	}
	switch {
	case op.Stream != f.Stream || op.Seq <= last || op.Seq > f.UpTo:
		return bad(chat.CodeBadFrame, fmt.Sprintf("op %d does not stand in order in (%d, %d] of its stream", op.Seq, f.After, f.UpTo))
	case op.Time == 0 || op.ID.Time() != op.Time || op.Logged < op.Time:
		return bad(chat.CodeInvalid, "the op's time is not its id's, or later than its entry into the stream")
	case op.Kind != chat.OpRows && op.ID != chat.NewMessageID(op.Time, op.Author.ID, op.Client):
		return bad(chat.CodeInvalid, "the op's id is not that of its author and client")
	case !hashed(op):
		return bad(chat.CodeInvalid, "the body is not the one that was hashed")
	}
	if op.Kind != 0 && !knownKind(op.Kind) {
		return c.inspectUnknown(p, op)
	}
	if detail := malformed(op); detail != "" {
		return bad(chat.CodeInvalid, detail)
	}
	if c.outlived(now, op) {
		return bad(chat.CodeTooOld, "the op is older than what stores remember of sends and deletions")
	}
	if isWord(op) {
		if d := residency.Refusal(op.Refused, p.region, c.cfg.Self); !d.Allowed() {
			return bad(d.Code, d.Reason)
		}
		return nil
	}
	if op.Kind == chat.OpRows {
		if d := residency.Rows(c.cfg.Topology, op, p.region, c.cfg.Self); !d.Allowed() {
			return bad(d.Code, d.Reason)
		}
		return nil
	}
	if op.Kind != chat.OpClaim || op.Author.Zone != "" {
		if d := residency.Bring(c.cfg.Topology, op, p.region); !d.Allowed() {
			return bad(d.Code, d.Reason)
		}
	}
	if d := residency.Op(c.cfg.Topology, op, c.cfg.Self); !d.Allowed() {
		return bad(d.Code, d.Reason)
	}
	if d := c.shares(op); !d.Allowed() {
		return bad(d.Code, d.Reason)
	}
	return nil
}

// ack tells the sender what is durable, once it is certain that it will be shown here: after the end of its lease a node may have
// written what comes too late for the cursors that others have given out since, and it must be brought once more.
func (c *Core) ack(now time.Time, s *inStream) {
	if s.ackDue = !c.certain(now); s.ackDue {
		return
	}
	c.emit(Send{Peer: s.link, Frame: Frame{Kind: FrameAck, Stream: s.id, UpTo: s.durable}})
}

// drainPeer goes on with each of the peer's streams.
func (c *Core) drainPeer(now time.Time, p *peer) {
	for _, s := range p.known() {
		c.drain(now, p, s)
	}
}

// draft is an apply batch in the making.
type draft struct {
	batch     *chat.Batch
	upTo      uint64
	watermark chat.HLC
	keys      []SendKey
	rows      [][]chat.RetryRow // of each of keys
	ops       []chat.Op
	messages  []reviewItem
	words     []chat.Op // of the region, about what it refused
	own       []*ownOp  // words to the region, about what is refused here
	parked    []chat.ParkedRow
	unparked  []chat.ParkedRow
	unparks   map[place]bool // of unparked
	low       chat.HLC
	taken     int
	last      uint64 // the sequence of the last one taken
}

// drain applies what is queued, one write of a stream at a time: the row that says how far the stream is applied stands in
// the same batch as the ops, and must not become durable before an earlier batch. What piles up meanwhile makes the next
// batch bigger.
func (c *Core) drain(now time.Time, p *peer, s *inStream) {
	if s.applying || s.idle() || !c.mayStamp(now) {
		return
	}
	d := &draft{batch: &chat.Batch{}, upTo: s.durable}
	for c.takeDue(now, p, s, d) && len(s.queue) > 0 && c.take(now, p, s, d) {
	}
	if d.taken == 0 {
		c.settleEmpty(now, s, d)
		return
	}
	mark := s.capped(max(s.heard, d.watermark), c.takesOut(d))
	applied := append(p.unstored(s), chat.AppliedRow{Stream: s.id, Seq: d.upTo, Watermark: max(s.watermark, s.next, mark)})
	if d.low == 0 {
		d.low = c.clock.Next(now) // only dead letters, or what is parked
	}
	s.applying, s.parking.applied = true, s.parking.applied || len(d.unparked) > 0
	s.unpassed++
	w := &write{batch: d.batch, low: d.low}
	w.settle = func(now time.Time, err error) {
		c.stored(now, s, d, err)
		c.applied(now, p, s, applied, d, err)
	}
	w.passed = func(time.Time) {
		c.visible(d.batch.Inbox, d.ops)
		s.pass()
	}
	if len(ofGroups(d.ops)) > 0 || len(d.words) > 0 {
		c.thenLook(w, p, s, applied, d)
	} else {
		d.batch.Applied, d.batch.Parked, d.batch.Unparked = applied, d.parked, c.takesOut(d).unparked
		w.passed = func(now time.Time) {
			c.visible(d.batch.Inbox, d.ops)
			s.pass()
			c.parkedShown(now, s, d)
		}
	}
	c.issue(now, w)
}

// thenLook has the write w of s followed by a look at the groups in it, and by the telling of whom words of refusals concern;
// the position becomes durable with what is logged anew for the groups. That the stream counts becomes durable at once: what is
// kept of it must be handed on also by a node that starts after a crash in between, when the origin is lost.
func (c *Core) thenLook(w *write, p *peer, s *inStream, applied []chat.AppliedRow, d *draft) {
	d.batch.Applied = p.unstored(nil)
	w.settle = func(now time.Time, err error) {
		c.stored(now, s, d, err)
		if err != nil {
			c.applied(now, p, s, applied, d, err)
			return
		}
		s.unpassed++
		c.hear(now, p, d.words, func(now time.Time, letters []chat.DeadLetterRow) {
			c.lookIfAny(now, ofGroups(d.ops), func(now time.Time, out []chat.Op) {
				settle := func(now time.Time, err error) { c.applied(now, p, s, applied, d, err) }
				end := &chat.Batch{Applied: applied, DeadLetters: letters, Parked: d.parked, Unparked: c.takesOut(d).unparked}
				c.logAnew(now, end, out, settle, func(now time.Time) {
					s.pass()
					c.parkedShown(now, s, d)
				})
			})
		})
	}
}

// take moves ops of the first queued frame into d. It returns false when it had to stop: d is full, or the next op waits
// for another write of the same send, or for what is parked before it.
func (c *Core) take(now time.Time, p *peer, s *inStream, d *draft) bool {
	fr := &s.queue[0]
	for len(fr.items) > 0 {
		it := &fr.items[0]
		if it.refused == nil {
			it.refused = s.suspect.condemns(&it.op)
		}
		if d.taken >= s.suspect.bound() || it.refused == nil && !c.takeOne(now, p, s, it, d) {
			return false
		}
		if it.refused != nil {
			c.bury(now, p, s, it, d)
		}
		d.last = it.op.Seq
		d.taken++
		s.queued--
		fr.items = fr.items[1:]
	}
	d.upTo = max(d.upTo, fr.upTo)
	d.watermark = max(d.watermark, fr.watermark)
	s.queue = s.queue[1:]
	return true
}

// takeOne applies the op, or parks it; false when it has to wait.
func (c *Core) takeOne(now time.Time, p *peer, s *inStream, it *inOp, d *draft) bool {
	if why := c.unripe(now, s, &it.op, d); why != "" {
		if !c.park(now, p, s, it, why, d) {
			return false
		}
		d.upTo = max(d.upTo, it.op.Seq)
		return true
	}
	if _, waits := s.parking.first(d); waits || c.busy(&it.op) {
		return false
	}
	c.applyOrHear(now, p, it, d)
	d.upTo = max(d.upTo, it.op.Seq)
	return true
}

// applyOrHear adds to the draft an op, or a word about one.
func (c *Core) applyOrHear(now time.Time, p *peer, it *inOp, d *draft) {
	if isWord(&it.op) {
		d.words = append(d.words, it.op)
		return
	}
	c.applyOne(now, p, it, d)
}

// busy says whether another write of a send that op is, or brings, is under way.
func (c *Core) busy(op *chat.Op) bool { return slices.ContainsFunc(sendKeys(op), c.sends.busy) }

// applyOne adds an op to the draft. The clock is pushed past the op's time before the arrival is stamped: so everything
// that a client has not seen lies after its cursor's global time, in every region's inbox log.
func (c *Core) applyOne(now time.Time, p *peer, it *inOp, d *draft) {
	// It cannot be refused: what is early is parked.
	_ = c.clock.Observe(now, it.op.Logged)
	arrival := c.clock.Next(now)
	if d.low == 0 {
		d.low = arrival
	}
	var known []chat.RetryRow
	for _, key := range sendKeys(&it.op) {
		known = append(known, c.sends.known(key, ofKey(it.known, key))...)
		c.sends.claim(key)
		d.keys = append(d.keys, key)
		d.rows = append(d.rows, ofKey(retryRows(&it.op), key))
	}
	a := c.applier(now, d.batch)
	if it.op.Kind != chat.OpRows && !residency.Speak(c.cfg.Topology, it.op.Author.Zone, p.region).Allowed() && !vouched(c.cfg.Topology, &it.op, known) {
		a.by = p.region
	}
	for _, op := range sendsOf(&it.op) {
		d.messages = append(d.messages, reviewItem{op: op, by: a.by, known: known})
	}
	a.apply(&it.op, arrival, known)
	c.keep(&it.op, d)
	d.ops = append(d.ops, it.op)
}

// settleEmpty deals with frames that brought no op: nothing has to be written for them. Losing such a position costs the
// sender nothing but saying so again.
func (c *Core) settleEmpty(now time.Time, s *inStream, d *draft) {
	moved := d.upTo > s.durable
	s.durable = max(s.durable, d.upTo)
	s.hear(d.watermark)
	s.settleMark()
	if moved {
		c.ack(now, s)
	}
}

// unstored gives rows for the streams of the region, besides s (nil: all), that the store does not know.
func (p *peer) unstored(s *inStream) []chat.AppliedRow {
	var rows []chat.AppliedRow
	for _, other := range p.known() {
		if other != s && !other.stored {
			rows = append(rows, chat.AppliedRow{Stream: other.id, Seq: other.durable, Watermark: other.watermark})
		}
	}
	return rows
}

// stored ends the work on the sends of an apply write; where other nodes write too, they are looked at again.
func (c *Core) stored(now time.Time, s *inStream, d *draft, err error) {
	for i, key := range d.keys {
		var rows []chat.RetryRow
		if err == nil {
			rows = d.rows[i]
		}
		c.sends.release(now, key, rows)
	}
	for _, o := range d.own {
		o.settled, o.failed = true, err != nil
	}
	c.own.advance(c.cfg.TailOps)
	if err != nil {
		s.suspect.refused(d, err)
		return
	}
	s.suspect.taken(d)
	step := &reviewStep{upTo: d.upTo}
	s.underReview = append(s.underReview, step)
	c.review(now, d.messages, func(time.Time, []chat.MessageID) {
		step.done = true
		s.passReviews()
	})
}

// reviewStep is the review of what an apply write brought.
type reviewStep struct {
	upTo uint64
	done bool
}

// passReviews moves what is reviewed.
func (s *inStream) passReviews() {
	for len(s.underReview) > 0 && s.underReview[0].done {
		s.reviewed = max(s.reviewed, s.underReview[0].upTo)
		s.underReview = s.underReview[1:]
	}
}

// applied settles the write that moves the position of a stream.
func (c *Core) applied(now time.Time, p *peer, s *inStream, rows []chat.AppliedRow, d *draft, err error) {
	s.applying = false
	c.parkedWritten(now, s, d, err)
	if err != nil {
		s.pass()
		s.forgetQueue()
		s.askedAt = now
		s.askSoon(chat.CodeOf(err))
		c.alarm(Alarm{Code: chat.CodeOf(err), Peer: p.region, Stream: s.id, Detail: "cannot apply: " + err.Error()})
		return
	}
	moved := d.upTo > s.durable
	s.durable = max(s.durable, d.upTo)
	s.hear(d.watermark)
	for _, row := range rows {
		p.inbound(row.Stream).stored = true
	}
	if moved {
		c.ack(now, s)
	}
}
