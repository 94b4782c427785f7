package replication

import (
	"crypto/sha256"
	"slices"
	"time"

	"meridian/chat"
	"meridian/residency"
)

// submit takes an op in, or answers why not.
func (c *Core) submit(now time.Time, in Submit) {
	h := &held{in: in, key: SendKey{in.Op.Author.ID, in.Op.Client}, since: now}
	h.in.Op = prepare(in.Op)
	c.sends.active++
	if err := c.refuse(&h.in); err != nil {
		c.answer(now, h, Submitted{Err: err})
		return
	}
	c.admit(now, h)
}

// prepare copies what the core will fill in.
func prepare(op chat.Op) chat.Op {
	if hasText(&op) {
		op.BodyHash = sha256.Sum256(op.Body)
	}
	if op.Account != nil {
		a := *op.Account
		op.Account = &a
	}
	if op.Session != nil {
		s := *op.Session
		op.Session = &s
	}
	if op.Claim != nil {
		cl := *op.Claim
		op.Claim = &cl
	}
	return op
}

func tooBusy() *chat.Error {
	return &chat.Error{Code: chat.CodeBusy, Op: "replication.Submit", Message: "too many writes under way", RetryAfter: pause}
}

// refuse checks what does not depend on other sends.
func (c *Core) refuse(in *Submit) error {
	const where = "replication.Submit"
	switch {
	case c.clocked.refusal != nil:
		return c.clocked.refusal
	case c.sends.active-len(c.slowed) > c.cfg.InFlight:
		return tooBusy()
	}
	op := &in.Op
	if detail := malformed(op); detail != "" {
		return &chat.Error{Code: chat.CodeInvalid, Op: where, Message: detail}
	}
	if in.Previous != chat.NoClient && in.Previous == op.Client {
		return &chat.Error{Code: chat.CodeInvalid, Op: where, Message: "a send cannot follow itself"}
	}
	if op.Kind == chat.OpClaim {
		return nil
	}
	if op.Kind == chat.OpRows { // a repair: of whom this region serves
		for _, owner := range op.Owners {
			if d := residency.Speak(c.cfg.Topology, owner.Zone, c.cfg.Self); !d.Allowed() {
				return d.Err(where)
			}
		}
		return nil
	}
	if d := residency.Speak(c.cfg.Topology, op.Author.Zone, c.cfg.Self); !d.Allowed() {
		return d.Err(where)
	}
	for _, owner := range op.Owners {
		if d := residency.Write(c.cfg.Topology, op.Author.Zone, owner.Zone); !d.Allowed() {
			return d.Err(where)
		}
	}
	return c.shares(op).Err(where)
}

// shares decides whether the zones of a group that op makes or changes may share it.
func (c *Core) shares(op *chat.Op) residency.Decision {
	var zones []chat.Zone
	if isStep(op) {
		for _, o := range op.Owners {
			if !slices.Contains(zones, o.Zone) {
				zones = append(zones, o.Zone)
			}
		}
	}
	return residency.Share(c.cfg.Topology, zones)
}

// admit stamps and writes the op, answers it as a retry, refuses it, or leaves it waiting for something. It is called again
// when that has happened.
func (c *Core) admit(now time.Time, h *held) {
	if isSend(&h.in.Op) && !h.claim {
		if c.sends.busy(h.key) {
			c.sends.wait(h.key, h)
			return
		}
		if rows := c.sends.known(h.key, h.in.Known); len(rows) > 0 {
			c.repeat(now, h, rows)
			return
		}
		c.sends.claim(h.key)
		h.claim = true
	}
	if !c.follows(now, h) {
		return
	}
	for _, id := range h.in.After {
		if err := c.clock.Observe(now, id.Time()); err != nil {
			c.answer(now, h, Submitted{Err: err})
			return
		}
	}
	if c.holds(now, h) {
		return
	}
	c.originate(now, h)
}

// follows says whether the send before h is durable here, as its author's side brought it; where it is not, h waits or is answered.
// What the recipient's side alone has told of proves nothing of the sends before it.
func (c *Core) follows(now time.Time, h *held) bool {
	if h.in.Previous == chat.NoClient {
		return true
	}
	previous := SendKey{h.key.Author, h.in.Previous}
	if c.sends.busy(previous) {
		c.sends.wait(previous, h)
		return false
	}
	rows := slices.DeleteFunc(c.sends.known(previous, h.in.PreviousKnown), func(r chat.RetryRow) bool {
		return !c.cfg.Topology.InZone(r.Stream.Region, h.in.Op.Author.Zone)
	})
	if len(rows) == 0 {
		c.answer(now, h, Submitted{Err: &chat.Error{Code: chat.CodeAfterUnknown, Op: "replication.Submit", Message: "the send before this one is not durable here"}})
		return false
	}
	// Another node of this region may have stamped it, by another clock.
	if err := c.clock.Observe(now, rows[0].ID.Time()); err != nil {
		c.answer(now, h, Submitted{Err: err})
		return false
	}
	return true
}

// repeat answers a send that is known: the smallest id of this content stands, in every region.
func (c *Core) repeat(now time.Time, h *held, rows []chat.RetryRow) {
	op := h.in.Op
	i := slices.IndexFunc(rows, func(r chat.RetryRow) bool { return sameContent(&r, &op) })
	if i < 0 {
		c.answer(now, h, Submitted{Err: &chat.Error{Code: chat.CodeClientIDReused, Op: "replication.Submit", Message: "this client id was used for another message"}})
		return
	}
	op.ID, op.Time = rows[i].ID, rows[i].ID.Time()
	own := slices.IndexFunc(rows, func(r chat.RetryRow) bool {
		return sameContent(&r, &op) && c.cfg.Topology.InZone(r.Stream.Region, op.Author.Zone)
	})
	if own < 0 || c.ended(rows[own].Stream) || c.besides(now, &op, &rows[own]) {
		if own < 0 && !c.follows(now, h) {
			return
		}
		c.finish(now, h, op) // what a life that ended had relayed of it is not certain
		return
	}
	row := rows[own]
	op.Logged, op.Stream, op.Seq = op.Time, row.Stream, row.Seq
	// An op of another region of the author's zone was durable there before it came here.
	zoned := row.Stream.Region != c.cfg.Self || c.zoneHas(now, row.Stream, op.Author.Zone, row.Seq)
	c.answer(now, h, Submitted{Op: op, Known: true, ZoneDurable: zoned})
}

// besides says that the send stands in the op log of another node alone: it is brought in the own one too, before what its author
// sends here next. The two logs have no order between them: if the region were lost, the later send might have left it without
// the earlier, which would then get a later place.
func (c *Core) besides(now time.Time, op *chat.Op, row *chat.RetryRow) bool {
	if row.Stream.Region != c.cfg.Self || row.Stream == c.stream {
		return false
	}
	spec, ok := c.cfg.Topology.Zone(op.Author.Zone)
	return ok && spec.MaxLevel() == chat.AckZone && !c.zoneHas(now, row.Stream, op.Author.Zone, row.Seq)
}

// finish takes a send of which only the recipient's side has told: the region that took it first is lost, or not heard. It
// keeps its id, and is brought to everybody who must have it.
func (c *Core) finish(now time.Time, h *held, op chat.Op) {
	if err := c.clock.Observe(now, op.Time); err != nil {
		c.answer(now, h, Submitted{Err: err})
		return
	}
	if c.holds(now, h) {
		return
	}
	c.sends.claim(h.key)
	h.claim = true
	op.To = residency.Destinations(c.cfg.Topology, &op, c.cfg.Self)
	op.Logged = c.clock.Next(now)
	c.enterHeld(now, h, op)
}

// originate gives the op its identity and writes it with everything that it changes here.
func (c *Core) originate(now time.Time, h *held) {
	op := h.in.Op
	op.To = residency.Destinations(c.cfg.Topology, &op, c.cfg.Self)
	if !c.afford(now, h, op.To) {
		return
	}
	op.Time = c.clock.Next(now)
	op.ID = chat.NewMessageID(op.Time, op.Author.ID, op.Client)
	date(&op)
	op.Logged = op.Time
	c.enterHeld(now, h, op)
}

// enterHeld writes the op of a submit, which is stamped, and answers when that is durable.
func (c *Core) enterHeld(now time.Time, h *held, op chat.Op) {
	c.enter(now, op, nil, func(now time.Time, entered chat.Op, err error) {
		if err != nil {
			c.answer(now, h, Submitted{Err: err})
			return
		}
		c.entered(now, h, entered)
	})
}

// entered answers a submit that is durable here; a message once it is known under which id it stands.
func (c *Core) entered(now time.Time, h *held, op chat.Op) {
	if op.Kind != chat.OpMessage {
		c.answer(now, h, Submitted{Op: op})
		return
	}
	c.review(now, []reviewItem{{op: op}}, func(now time.Time, winners []chat.MessageID) {
		op.ID = winners[0]
		c.answer(now, h, Submitted{Op: op})
	})
}

// enter gives op, which is stamped, the next place in the own stream, and writes it with everything that it changes here.
func (c *Core) enter(now time.Time, op chat.Op, known []chat.RetryRow, done func(now time.Time, entered chat.Op, err error)) {
	c.own.last++
	op.Stream, op.Seq = c.stream, c.own.last
	batch := &chat.Batch{Log: []chat.LogRow{{Op: op}}}
	a := c.applier(now, batch)
	a.apply(&op, op.Logged, known)
	own := c.own.start(op)
	c.issue(now, &write{
		batch: batch,
		low:   op.Logged,
		settle: func(now time.Time, err error) {
			own.settled, own.failed = true, err != nil
			c.own.advance(c.cfg.TailOps)
			done(now, op, err)
			if err == nil {
				c.lookOwn(ofGroups([]chat.Op{op}))
			}
		},
		passed: func(time.Time) { c.visible(batch.Inbox, []chat.Op{op}) },
	})
}

// answer ends a submit: it frees its key, remembers who waits for the zone, and tells the caller.
func (c *Core) answer(now time.Time, h *held, s Submitted) {
	s.Token = h.in.Token
	c.sends.active--
	if h.claim {
		var rows []chat.RetryRow
		if s.Err == nil {
			rows = []chat.RetryRow{retryRow(&s.Op)}
		}
		c.sends.release(now, h.key, rows)
	}
	if s.Err == nil && !s.ZoneDurable && isAcked(&s.Op) && s.Op.Stream.Region == c.cfg.Self {
		// Another region may have acknowledged it while this one looked again.
		s.ZoneDurable = c.zoneHas(now, s.Op.Stream, s.Op.Author.Zone, s.Op.Seq)
	}
	if s.Err == nil && !s.ZoneDurable && isAcked(&s.Op) && s.Op.Stream.Region == c.cfg.Self {
		c.awaitZone(waitKey{s.Op.Stream, s.Op.Author.Zone}, s.Op.Seq, s.Token)
	}
	c.emit(s)
}

// visible tells whose inbox logs have new entries.
func (c *Core) visible(rows []chat.InboxRow, ops []chat.Op) {
	var owners []chat.UserID
	for i := range rows {
		if !slices.Contains(owners, rows[i].Owner) {
			owners = append(owners, rows[i].Owner)
		}
	}
	if len(owners) > 0 {
		c.emit(Visible{Owners: owners, Rows: rows, Ops: ops})
	}
}
