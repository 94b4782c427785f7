package sim

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"meridian/chat"
)

// check asks for every promise about names, in a world at rest.
func (w *claimsWorld) check() {
	w.checkEnds()
	for name := range w.names {
		holder := w.checkEntries(name)
		w.checkAnswers(name, holder)
		w.checkLinear(name, holder)
	}
}

// checkEnds: once the world was well again, every sign-up and look-up was answered, for sure.
func (w *claimsWorld) checkEnds() {
	for _, s := range w.signUps {
		if s.invoked >= claimsRest && (!s.over || s.silent || s.code != "" && s.code != chat.CodeUsernameTaken) {
			w.violate(s.name, PromiseLiveness, "in a world that is well a sign-up in %s ends with %q", s.at.name, s.outcome())
		}
	}
	for _, l := range w.lookUps {
		if l.invoked >= claimsRest && (!l.over || l.code != "") {
			w.violate(l.name, PromiseLiveness, "in a world that is well a look-up ends with %q", l.code)
		}
	}
	for _, n := range w.living() {
		if busy := n.core.Busy(); busy > 0 {
			w.violate(everybody, PromiseLiveness, "%s has %d things under way", n.name, busy)
		}
	}
}

// checkGivenBack: a while into a quiet night, what failed sign-ups held is free again. It is not where a message may have come
// after the release, or where clocks went back.
func (w *claimsWorld) checkGivenBack() {
	if w.mood.slow > 0 || w.mood.dup > 0 || w.mood.jumps {
		return
	}
	for _, s := range w.signUps {
		if !s.over || s.unknown() || s.code == "" || s.at.life != s.life || !s.at.up {
			continue
		}
		for _, r := range w.regions {
			have, found, _ := r.store.Claim(context.Background(), s.claim.Key)
			if !r.lost && found && have.Pending && have.Attempt == s.claim.Attempt {
				w.violate(s.name, PromiseLiveness, "%s still holds it for %s, which was answered %q", r.name, have.Attempt, s.code)
			}
		}
	}
}

// checkEntries: all regions end with the same confirmed entry, which one sign-up confirmed; it gives the entry. One whose op went
// down with its region is brought by whoever has it and may speak for its zone.
func (w *claimsWorld) checkEntries(name int) (holder chat.Claim) {
	for _, op := range w.ops {
		if op.claim.Key != w.names[name] || !w.known(op) {
			continue
		}
		if holder.Attempt != (chat.UUID{}) && holder.Attempt != op.claim.Attempt {
			w.violate(name, PromiseUnique, "confirmed for %s and for %s", holder.Attempt, op.claim.Attempt)
		}
		holder = op.claim
	}
	alike := holder.Attempt != (chat.UUID{})
	for _, r := range w.regions {
		if have, found, _ := r.store.Claim(context.Background(), w.names[name]); !r.lost && found && !have.Pending && !alike {
			holder, alike = have, w.served(have.Zone)
			break
		}
	}
	for _, r := range w.regions {
		have, found, _ := r.store.Claim(context.Background(), w.names[name])
		if !r.lost && have != holder && (alike || found && !have.Pending) {
			w.violate(name, PromiseConverge, "%s has %+v, others %+v", r.name, have, holder)
		}
	}
	return holder
}

// served says whether any region of the zone is left.
func (w *claimsWorld) served(zone chat.Zone) bool {
	return slices.ContainsFunc(w.regions, func(r *claimsRegion) bool { return !r.lost && w.topology.InZone(r.name, zone) })
}

// known says whether an op is durable in a region that is not lost.
func (w *claimsWorld) known(op *confirmation) bool {
	for _, r := range op.at {
		if !r.lost {
			return true
		}
	}
	return false
}

// checkAnswers: a success is never lost, nobody has a name without a sign-up that may have succeeded, and nobody was told that
// a name is taken that only they ever asked for.
func (w *claimsWorld) checkAnswers(name int, holder chat.Claim) {
	theirs := holder.Attempt == chat.UUID{}
	var first *signUp
	for _, s := range w.signUps {
		if s.name != name {
			continue
		}
		if first == nil {
			first = s
		}
		if s.claim.Attempt == holder.Attempt {
			theirs = s.code == "" || s.unknown()
		}
		if s.over && !s.silent && s.code == "" && s.claim.Attempt != holder.Attempt {
			w.violate(name, PromiseDurable, "given to %s, and ends as %s's", s.claim.Attempt, holder.Attempt)
		}
		if s == first && s.code == chat.CodeUsernameTaken && !w.wanted(s) {
			w.violate(name, PromiseProtocol, "the first sign-up was told that it is taken")
		}
	}
	if !theirs {
		w.violate(name, PromiseInvented, "it is %s's, whose sign-up failed or never was", holder.Attempt)
	}
	if first != nil && holder.Attempt == (chat.UUID{}) {
		w.violate(name, PromiseLiveness, "in a world that is well nobody gets it")
	}
	for _, l := range w.lookUps {
		if l.name == name && l.invoked >= claimsRest && l.over && l.attempt != holder.Attempt {
			w.violate(name, PromiseKnown, "looked up as %s's, and is %s's", l.attempt, holder.Attempt)
		}
	}
}

// wanted says whether anybody else signed up for the name before s was answered.
func (w *claimsWorld) wanted(s *signUp) bool {
	for _, other := range w.signUps {
		if other != s && other.name == s.name && other.invoked < s.returned {
			return true
		}
	}
	return false
}

// nameInput is one operation on a name as a register: a sign-up writes it if nobody has, a look-up reads it.
type nameInput struct {
	signUp  bool
	unknown bool // it may have failed
	attempt chat.UUID
}

var nameModel = porcupine.Model{
	Init: func() any { return chat.UUID{} },
	Step: func(state, input, _ any) (bool, any) {
		has, in := state.(chat.UUID), input.(nameInput)
		nobody := has == chat.UUID{}
		switch {
		case in.signUp && nobody:
			return true, in.attempt
		case in.signUp:
			return in.unknown, has
		}
		return has == in.attempt, has
	},
}

// checkLinear: what sign-ups and look-ups were told could have happened one after the other. A sign-up of unknown outcome that
// no look-up saw may as well have come last, without effect: it is left out, for each doubles the work. So is what was seen
// only in a region that is gone for ever, and was never answered with success.
func (w *claimsWorld) checkLinear(name int, holder chat.Claim) {
	var history []porcupine.Operation
	add := func(in nameInput, invoked, returned time.Duration) {
		history = append(history, porcupine.Operation{ClientId: len(history), Input: in, Call: int64(invoked), Return: int64(returned)})
	}
	seen, gone := map[chat.UUID]bool{}, map[chat.UUID]bool{}
	for _, l := range w.lookUps {
		seen[l.attempt] = true
	}
	for _, op := range w.ops { // never answered with success, seen, and lost with its region for ever
		gone[op.claim.Attempt] = !w.known(op) && op.claim.Attempt != holder.Attempt
	}
	for _, s := range w.signUps {
		switch {
		case s.name != name, s.unknown() && (!seen[s.claim.Attempt] || gone[s.claim.Attempt]):
		case s.unknown():
			add(nameInput{signUp: true, unknown: true, attempt: s.claim.Attempt}, s.invoked, math.MaxInt64)
		case s.code == "":
			add(nameInput{signUp: true, attempt: s.claim.Attempt}, s.invoked, s.returned)
		}
	}
	for _, l := range w.lookUps {
		if l.name == name && l.over && l.code == "" && !gone[l.attempt] {
			add(nameInput{attempt: l.attempt}, l.invoked, l.returned)
		}
	}
	if !porcupine.CheckOperations(nameModel, history) {
		w.violate(name, PromiseUnique, "what was told is not linearizable: %+v", history)
	}
}
