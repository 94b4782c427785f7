package messages

import (
	"context"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// loop takes what waits, steps the core for each, and publishes the marks before anybody is woken.
func (s *Service) loop(ctx context.Context) {
	ticker := time.NewTicker(s.tickEvery())
	defer ticker.Stop()
	defer s.answerRest()
	var batch []item
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.step(ctx, replication.Tick{})
			s.publishStatus()
		case <-s.inputs.wake:
			batch = s.inputs.take(batch)
			for _, it := range batch {
				s.take(ctx, it)
			}
			clear(batch)
		case <-s.lookups.ready:
			s.stepLookedUp(ctx)
		}
	}
}

// take gives one item to the core: at once, or when what the store holds of its sends is known.
func (s *Service) take(ctx context.Context, it item) {
	switch {
	case it.wake != nil:
		s.wakeAt(it.wake.at, it.wake.owners)
	case it.fromOutside():
		s.lookUp(ctx, it)
	default:
		s.step(ctx, it.input)
	}
}

// carryAll carries out what the core asks for.
func (s *Service) carryAll(ctx context.Context, outputs []replication.Output) {
	// Sockets are told of entries before the marks that cover them: who takes the marks first and then looks at what it was
	// told knows everything up to them.
	for _, out := range outputs {
		if v, ok := out.(replication.Visible); ok {
			s.tell(v)
		}
	}
	s.publish()
	s.wakeDue()
	for _, out := range outputs {
		s.carryOut(ctx, out)
	}
}

func (s *Service) carryOut(ctx context.Context, out replication.Output) {
	switch out := out.(type) {
	case replication.Write:
		s.write(out)
	case replication.Send:
		s.opt.Link.SendRelay(out.Peer, out.Frame)
	case replication.ReadLog:
		s.readLog(ctx, out)
	case replication.Look:
		s.done.Go(func() { s.inputs.put(item{input: Look(ctx, s.opt.Store, out)}) })
	case replication.Prove:
		s.done.Go(func() { s.inputs.put(item{input: Prove(ctx, s.opt.Store, out)}) })
	case replication.Submitted:
		s.submitted(out)
	case replication.Probed:
		s.walked(out)
	case replication.ZoneAcked:
		for _, token := range out.Tokens {
			if sub := s.zone[token]; sub != nil {
				delete(s.zone, token)
				s.opt.Metrics.Count("acks_total", string(chat.AckZone))
				sub.zoned(sub.stands)
			}
		}
	case replication.Visible:
		s.wake(out)
		s.observeArrivals(out.Ops)
	case replication.ReadParked:
		s.readParked(ctx, out)
	case replication.Renew:
		s.renew(ctx, out)
	case replication.Adopt:
		s.adopt(ctx, out)
	case replication.Review:
		s.review(ctx, out)
	case replication.Left:
		close(s.left)
	case replication.LifeOver:
		s.lifeOver(out.Reason)
	case replication.Alarm:
		s.alarm(out)
	}
}

// tell passes new entries to the hub, each with its op.
func (s *Service) tell(v replication.Visible) {
	next := 0 // rows come in the order of their ops
	for _, row := range v.Rows {
		for next < len(v.Ops)-1 && v.Ops[next].ID != row.Op && v.Ops[next+1].ID == row.Op {
			next++
		}
		var op *chat.Op
		if next < len(v.Ops) && v.Ops[next].ID == row.Op {
			op = &v.Ops[next]
		}
		s.hub.Tell(Entry{Row: row, Op: op})
	}
}

func (s *Service) write(out replication.Write) {
	started := s.opt.Now()
	s.opt.Store.Commit(out.Batch, func(err error) {
		s.opt.Metrics.Observe("store_commit_seconds", s.opt.Now().Sub(started).Seconds())
		s.wrote(err)
		if err != nil {
			s.opt.Metrics.Count("store_errors_total", string(chat.CodeOf(err)))
			s.opt.Log.Error("write failed", "err", err)
		}
		s.inputs.put(item{input: replication.Written{Write: out.ID, Err: err}})
	})
}

// readLog reads beside the loop: it may touch the disk.
func (s *Service) readLog(ctx context.Context, out replication.ReadLog) {
	s.done.Go(func() {
		ops, err := s.opt.Store.ReadLog(ctx, out.Stream, out.After, out.UpTo, out.To, out.Limit)
		upTo := out.UpTo
		if err == nil && len(ops) == out.Limit {
			upTo = ops[len(ops)-1].Seq
		}
		s.inputs.put(item{input: replication.LogRead{Stream: out.Stream, To: out.To, After: out.After, UpTo: upTo, Count: out.Count, Ops: ops, Err: err}})
	})
}

func (s *Service) submitted(out replication.Submitted) {
	sub := s.pending[out.Token]
	if sub == nil {
		return
	}
	delete(s.pending, out.Token)
	if out.Err == nil && (sub.op.Kind == chat.OpMessage || sub.op.Kind == chat.OpChange) {
		s.opt.Metrics.Count("acks_total", string(chat.AckRegion))
		s.opt.Metrics.Observe("send_to_ack_seconds", s.opt.Now().Sub(sub.started).Seconds())
		if sub.zoned != nil && !out.ZoneDurable {
			sub.stands = chat.Op{ID: out.Op.ID, Client: sub.op.Client, Conversation: sub.op.Conversation}
			s.zone[out.Token] = sub
		}
	}
	sub.answer(out)
	if out.Err == nil && out.ZoneDurable && sub.zoned != nil {
		s.opt.Metrics.Count("acks_total", string(chat.AckZone))
		sub.zoned(out.Op)
	}
}

func (s *Service) alarm(a replication.Alarm) {
	if a.Buried {
		s.opt.Metrics.Count("dead_letters_total", string(a.Code))
	}
	switch a.Code {
	case chat.CodeDenied:
		s.opt.Metrics.Count("residency_violations_total", "receive")
	case chat.CodeBusy: // a budget: no frame was refused
	default:
		s.opt.Metrics.Count("link_refused_total", string(a.Code))
	}
	s.opt.Log.Error("alarm", "code", a.Code, "peer", a.Peer, "stream", a.Stream, "op", a.Op, "detail", a.Detail)
}

// observeArrivals measures send to visible, by origin, and closes the trace of a message where it arrived.
func (s *Service) observeArrivals(ops []chat.Op) {
	now := s.opt.Now()
	for i := range ops {
		op := &ops[i]
		if op.Kind == chat.OpRefused {
			s.opt.Metrics.Count("refusals_told_total", string(op.Refused.Code))
		}
		if op.Kind != chat.OpMessage {
			continue
		}
		s.opt.Metrics.Observe("send_to_visible_seconds", now.Sub(op.Time.Time()).Seconds(), string(op.Stream.Region), string(s.opt.Core.Self))
		if op.TraceParent != "" {
			_, end := s.opt.Tracer.Start(op.TraceParent, "process conversation", "messaging.operation.type", "process")
			end(nil)
		}
	}
}

func (s *Service) publish() {
	m := s.core.Marks(s.opt.Now())
	s.marks.Store(&m)
}

// answerRest tells everybody who still waits that the outcome is not known.
func (s *Service) answerRest() {
	lost := replication.Submitted{Err: &chat.Error{Code: chat.CodeUnknownOutcome, Op: "messages.loop", Message: "the node stopped"}}
	for _, sub := range s.pending {
		sub.answer(lost)
	}
	for _, w := range s.walks {
		w.answer <- replication.Probed{Err: lost.Err}
	}
	left := s.inputs.close()
	for _, a := range s.lookups.queue {
		left = append(left, a.item)
	}
	for _, it := range left {
		if it.submit != nil {
			it.submit.answer(lost)
		}
		if it.walk != nil {
			it.walk.answer <- replication.Probed{Err: lost.Err}
		}
	}
}
