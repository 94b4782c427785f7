package messages

import (
	"cmp"
	"context"

	"meridian/chat"
	"meridian/replication"
	"meridian/replication/drift"
)

// Clock is the node's clock with its guard.
type Clock interface {
	// Judge tells which time to go by, and whether people may be served. It is safe for concurrent use.
	Judge() drift.Judgement
}

// step gives one input to the core, with the time to go by, and carries out the outputs.
func (s *Service) step(ctx context.Context, in replication.Input) {
	if j, ok := s.judge(ctx); ok {
		s.carryAll(ctx, s.core.Step(j.Now, in))
	}
}

// judge reads the clock, and tells the core when what the node thinks of it has changed; false when this life is over.
func (s *Service) judge(ctx context.Context) (drift.Judgement, bool) {
	was, j := s.clock.Load(), s.opt.Clock.Judge()
	if j.Restart {
		if !was.Restart {
			s.clock.Store(&j)
			s.lifeOver("the time that this life went by was wrong: the other nodes' clocks, or the machine's, say so")
		}
		return j, false
	}
	known, knew := j.Standing != drift.Starting, was.Standing > drift.Starting
	if known == knew && (j.Refuse == nil) == (was.Refuse == nil) {
		return j, true
	}
	s.clock.Store(&j)
	s.tellClock(was, j)
	s.carryAll(ctx, s.core.Step(j.Now, replication.ClockState{Known: known, Refuse: j.Refuse}))
	return j, true
}

// tellClock tells operators and the gateway of a change.
func (s *Service) tellClock(was *drift.Judgement, j drift.Judgement) {
	served := 0.0
	switch {
	case j.Refuse != nil:
		s.opt.Log.Error("alarm", "code", chat.CodeClockSkew, "detail", j.Refuse.Message, "clock", j.Standing.String())
		if s.opt.Refusing != nil {
			s.opt.Refusing(j.Refuse)
		}
	case j.Standing != drift.Starting:
		served = 1
		if was.Refuse != nil {
			s.opt.Log.Warn("people are served again", "clock", j.Standing.String(), "clock_is_ahead_by", j.Off)
		}
	}
	s.opt.Metrics.Set("clock_serves", served)
}

// Serving says why this node answers nothing that is asked of it, nil: it does. It has started, and its clock is not confirmed yet, so
// that it cannot tell which tokens are still good, or it has not caught up. Errors: CodeRegionDegraded.
func (s *Service) Serving() *chat.Error { return cmp.Or(s.clock.Load().Unconfirmed(), s.CatchingUp()) }

// Refusal says why nobody is served by this node now, whoever they are; nil: they are. Errors: CodeClockSkew, and those of CatchingUp.
func (s *Service) Refusal() *chat.Error { return cmp.Or(s.clockRefusal(), s.Serving()) }

func (s *Service) clockRefusal() *chat.Error {
	if e := s.clock.Load().Refuse; e != nil {
		return cmp.Or(s.opt.Clock.Judge().Refuse, e) // the newest reason
	}
	return s.ahead.Load()
}

// clockReady is Ready's part about the clock.
func (s *Service) clockReady() error {
	if e := s.clockRefusal(); e != nil {
		return e
	}
	if e := s.clock.Load().Unconfirmed(); e != nil {
		return e
	}
	return nil
}
