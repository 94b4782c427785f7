package sim

import (
	"context"
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication/claim"
)

// signUp is one attempt to get a name.
type signUp struct {
	name     int
	claim    chat.Claim
	at       *claimsNode
	life     int // of the node
	invoked  time.Duration
	returned time.Duration
	over     bool // answered, or the person has given up
	code     chat.Code
	silent   bool // given up without an answer
}

// outcome names how it was answered.
func (s *signUp) outcome() string {
	switch {
	case s.silent || !s.over:
		return "silence"
	case s.code == "":
		return "success"
	}
	return string(s.code)
}

// unknown says that the name may be the person's, though nobody said so.
func (s *signUp) unknown() bool { return s.silent || !s.over || s.code == chat.CodeUnknownOutcome }

// lookUp is one question for a name.
type lookUp struct {
	name              int
	invoked, returned time.Duration
	attempt           chat.UUID // zero: nobody's
	code              chat.Code
	over              bool
}

// confirmation is the op that confirms a claim, on its way to every region.
type confirmation struct {
	claim chat.Claim
	at    []*claimsRegion // where it is durable
}

// busy lets people sign up and look for names, and things go wrong, for a spell that begins at from.
func (w *claimsWorld) busy(from time.Duration) {
	until := from + claimsBusy
	var crowd, curious, trouble func()
	crowd = func() {
		if w.now < until+claimsEvening {
			w.burst()
			w.after(w.between(100*time.Millisecond, 2*time.Second), crowd)
		}
	}
	curious = func() {
		if w.now < until {
			w.ask(w.nodes[w.rng.IntN(len(w.nodes))], w.rng.IntN(len(w.names)))
			if w.chance(0.2) {
				w.mendName(w.nodes[w.rng.IntN(len(w.nodes))], w.rng.IntN(len(w.names)))
			}
			w.after(w.between(50*time.Millisecond, 600*time.Millisecond), curious)
		}
	}
	trouble = func() {
		if w.now < until {
			w.trouble()
			w.after(w.between(w.mood.faultEvery/2, w.mood.faultEvery*3/2), trouble)
		}
	}
	crowd()
	curious()
	w.after(w.mood.faultEvery, trouble)
}

// burst has a few people want one name at nearly the same time, or while others are still at it.
func (w *claimsWorld) burst() {
	if w.chance(0.6) {
		w.hot = w.rng.IntN(len(w.names))
	}
	name := w.hot
	spread := pick(w.rng, 1, 150*time.Millisecond, 400*time.Millisecond, 3*time.Second)
	for range 1 + w.rng.IntN(4) {
		w.after(w.between(0, spread), func() { w.want(name, 2) })
	}
}

// want signs somebody up in some region, and again where that may help.
func (w *claimsWorld) want(name, again int) {
	living := w.living()
	n := living[w.rng.IntN(len(living))]
	var zones []chat.Zone
	for _, z := range []chat.Zone{"pair", "solo", "world"} {
		if w.topology.InZone(n.region.name, z) {
			zones = append(zones, z)
		}
	}
	s := &signUp{name: name, at: n, life: n.life, invoked: w.now, claim: chat.Claim{
		Key: w.names[name], Blinded: [16]byte(w.bytes()), Zone: pick(w.rng, zones...), Bucket: uint16(name), Attempt: chat.UUID(w.bytes()), Pending: true,
	}}
	w.signUps = append(w.signUps, s)
	w.note(name, n.name, "%s signs up, zone %s", s.claim.Attempt, s.claim.Zone)
	retry := func() {
		if again > 0 && (s.silent || chat.Codes[s.code].Retryable) {
			w.after(w.between(200*time.Millisecond, 3*time.Second), func() { w.want(name, again-1) })
		}
	}
	var token uint64
	answer := func(err error) {
		w.after(w.between(5*time.Millisecond, 60*time.Millisecond), func() {
			if s.over {
				return
			}
			s.over, s.returned, s.code = true, w.now, chat.CodeOf(err)
			w.note(name, n.name, "%s is answered %q", s.claim.Attempt, s.code)
			w.won(s)
			retry()
		})
	}
	n.later(w.between(5*time.Millisecond, 60*time.Millisecond), func() { token = n.signUp(s, answer) })
	life := n.life
	w.after(w.between(4*time.Second, 14*time.Second), func() {
		if s.over {
			return
		}
		s.over, s.silent = true, true
		w.note(name, n.name, "%s waits no more", s.claim.Attempt)
		if token != 0 && n.life == life {
			n.later(0, func() { n.step(claim.Cancel{Token: token}) })
		}
		retry()
	})
}

// won checks at once that nobody else has the name.
func (w *claimsWorld) won(s *signUp) {
	for _, other := range w.signUps {
		if other != s && s.code == "" && other.name == s.name && other.over && !other.silent && other.code == "" {
			w.violate(s.name, PromiseUnique, "given to %s and to %s", other.claim.Attempt, s.claim.Attempt)
		}
	}
}

// signUp is what auth.Service.SignUp does around the core.
func (n *claimsNode) signUp(s *signUp, answer func(error)) (token uint64) {
	have, found, err := n.region.store.Claim(context.Background(), s.claim.Key)
	if err != nil || found && !have.Pending {
		answer(&chat.Error{Code: chat.CodeUsernameTaken, Op: "sim.signUp"})
		return 0
	}
	w := n.w
	token = n.expect(func(r claim.Result) {
		if r.Err != nil {
			answer(r.Err)
			return
		}
		w.note(s.name, n.name, "%s is held", s.claim.Attempt)
		if w.badTurn {
			w.strike(claim.SlotOwner(w.topology, s.claim.Key))
		}
		settle := func(in claim.Settle) {
			in.Token = token
			n.tokens[token] = func(r claim.Result) { answer(r.Err) }
			n.step(in)
		}
		took := w.between(time.Millisecond, 8*time.Millisecond)
		if !w.calm && w.chance(w.mood.slowPeople) {
			took = w.between(0, 3*time.Second)
		}
		n.later(took, func() {
			if w.fault(w.mood.badWrites, "account refused") {
				settle(claim.Settle{Err: &chat.Error{Code: chat.CodeBusy, Op: "sim.signUp"}})
				return
			}
			n.confirm(s, settle)
		})
	})
	n.step(claim.Claim{Token: token, Claim: s.claim})
	return token
}

// confirm makes the confirming op durable, whatever time it takes: a write of unknown outcome is repeated until it is known.
func (n *claimsNode) confirm(s *signUp, settle func(claim.Settle)) {
	w := n.w
	n.region.clock = max(n.region.clock+1, chat.HLCFromTime(n.clock()))
	c := s.claim
	c.Pending, c.Version = false, n.region.clock
	durable := func() claim.Result { //nolint:unparam // as disk wants it
		w.note(s.name, n.name, "%s is confirmed", c.Attempt)
		op := &confirmation{claim: c, at: []*claimsRegion{n.region}}
		w.ops = append(w.ops, op)
		n.region.tables.Apply(&chat.Batch{Claims: []chat.Claim{c}})
		if !w.badTurn {
			w.strike(n.region.name)
		}
		w.relay(op, 500*time.Millisecond)
		return claim.Result{}
	}
	delay := time.Duration(0)
	if w.fault(w.mood.slowOps, "slow op") {
		delay = w.between(0, 6*time.Second)
	}
	n.later(delay, func() {
		n.disk(true, durable, func(r claim.Result) {
			if chat.CodeOf(r.Err) == chat.CodeUnknownOutcome {
				n.later(w.between(10*time.Millisecond, 800*time.Millisecond), func() { settle(claim.Settle{Claim: c}) })
				return
			}
			settle(claim.Settle{Claim: c, Err: r.Err})
		})
	})
}

// relay brings an op from wherever it is durable to where it is not, until it is everywhere.
func (w *claimsWorld) relay(op *confirmation, pause time.Duration) {
	missing := false
	for _, to := range w.regions {
		if to.lost || slices.Contains(op.at, to) {
			continue
		}
		missing = true
		for _, from := range op.at {
			if from.lost || w.anyNode(from) == nil {
				continue
			}
			w.carry(from, to, func() {
				target := w.anyNode(to)
				if target == nil || slices.Contains(op.at, to) {
					return
				}
				target.disk(true, func() claim.Result {
					if !slices.Contains(op.at, to) {
						op.at = append(op.at, to)
						to.tables.Apply(&chat.Batch{Claims: []chat.Claim{op.claim}})
						w.note(int(op.claim.Bucket), target.name, "%s arrives", op.claim.Attempt)
					}
					return claim.Result{}
				}, func(claim.Result) {})
			})
		}
	}
	if missing {
		w.after(pause, func() { w.relay(op, min(2*pause, 20*time.Minute)) })
	}
}

// ask looks a name up.
func (w *claimsWorld) ask(n *claimsNode, name int) {
	l := &lookUp{name: name, invoked: w.now}
	if !n.up {
		return
	}
	w.lookUps = append(w.lookUps, l)
	n.later(0, func() {
		have, found, _ := n.region.store.Claim(context.Background(), w.names[name])
		token := n.expect(func(r claim.Result) {
			l.over, l.returned, l.code = true, w.now, chat.CodeOf(r.Err)
			if r.Found {
				l.attempt = r.Claim.Attempt
			}
			w.note(name, n.name, "looked up: %s's, %q", l.attempt, l.code)
			if found && !have.Pending && (r.Err != nil || r.Claim.Attempt != have.Attempt) {
				w.violate(name, PromiseKnown, "%s has it as %s's and answers %s, %v", n.name, have.Attempt, l.attempt, r.Err)
			}
		})
		n.step(claim.Lookup{Token: token, Key: w.names[name]})
	})
}

// mendName has a region bring what it has of a name to those that lack it, as an operator's comparison of directories does.
func (w *claimsWorld) mendName(n *claimsNode, name int) {
	if !n.up {
		return
	}
	n.later(0, func() {
		token := n.expect(func(r claim.Result) {
			w.note(name, n.name, "mended %s: %d, %q", r.Claim.Attempt, r.Brought, chat.CodeOf(r.Err))
			w.mended += r.Brought
			if chat.CodeOf(r.Err) == chat.CodeVersionConflict {
				w.violate(name, PromiseUnique, "%s finds it confirmed for two: %v", n.name, r.Err)
			}
		})
		n.step(claim.Mend{Token: token, Key: w.names[name]})
	})
}

// mendAll has every region bring what it has of all names: from then on all regions hold them alike.
func (w *claimsWorld) mendAll() {
	for name := range w.names {
		for _, n := range w.living() {
			w.mendName(n, name)
		}
	}
}
