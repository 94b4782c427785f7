package sim

import (
	"context"
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication/claim"
)

// claimsNode is one process of a region: the real claim core, and the shell around it.
type claimsNode struct {
	w      *claimsWorld
	region *claimsRegion
	name   string
	core   *claim.Core

	up     bool
	life   int
	skew   time.Duration
	paused time.Duration // until then nothing of the process runs
	alarm  int           // counts the times the alarm was set
	token  uint64
	tokens map[uint64]func(claim.Result) // by token, or id of a request
	writes []*diskWrite
}

func (n *claimsNode) clock() time.Time { return start.Add(n.w.now + n.skew) }

func (n *claimsNode) boot() {
	n.life++
	n.up = true
	n.tokens = map[uint64]func(claim.Result){}
	n.core = claim.New(claim.Config{Self: n.region.name, Topology: n.w.topology, Timeout: 5 * time.Second})
	n.w.note(everybody, n.name, "boot, %d regions", len(n.w.topology.Regions))
}

// crash ends the process: writes under way are lost, or reach the disk without anybody hearing of it.
func (n *claimsNode) crash() {
	n.up = false
	n.w.note(everybody, n.name, "crash")
	for _, d := range n.writes {
		if n.w.chance(n.w.mood.partial) {
			d.effect()
		}
	}
	n.writes = nil
}

// later has do happen in this life of the process, after a pause if there is one.
func (n *claimsNode) later(d time.Duration, do func()) {
	life := n.life
	var run func()
	run = func() {
		switch {
		case n.life != life || !n.up:
		case n.w.now < n.paused:
			n.w.after(n.paused-n.w.now, run)
		default:
			do()
		}
	}
	n.w.after(d, run)
}

// expect gives a token whose next answer goes to then.
func (n *claimsNode) expect(then func(claim.Result)) uint64 {
	n.token++
	n.tokens[n.token] = then
	return n.token
}

// step gives the core an input and does what it asks for.
func (n *claimsNode) step(in claim.Input) {
	for _, out := range n.core.Step(n.clock(), in) {
		n.w.trace.add(uint64(n.w.now))
		switch out := out.(type) {
		case claim.Answer:
			n.deliver(out.Token, out.Result)
		case claim.Reply:
			n.deliver(out.ID, out.Result)
		case claim.Call:
			n.call(out)
		default:
			n.work(out)
		}
	}
	n.setAlarm()
}

func (n *claimsNode) deliver(token uint64, r claim.Result) {
	then, ok := n.tokens[token]
	if !ok {
		n.w.violate(everybody, PromiseProtocol, "%s answers %d twice", n.name, token)
		return
	}
	delete(n.tokens, token)
	then(r)
}

// setAlarm wakes the core when it wants; a clock that jumps in between is noticed late.
func (n *claimsNode) setAlarm() {
	n.alarm++
	alarm := n.alarm
	if at, ok := n.core.Wake(); ok {
		n.later(at.Sub(n.clock()), func() {
			if n.alarm == alarm {
				n.step(claim.Tick{})
			}
		})
	}
}

// call asks another region, some node of it.
func (n *claimsNode) call(out claim.Call) {
	w, to, ended := n.w, n.w.region(out.Region), false
	life := n.life
	done := func(r claim.Result) {
		if n.life != life || ended {
			return
		}
		ended = true
		n.later(0, func() { n.step(claim.Done{ID: out.ID, Result: r}) })
	}
	n.later(out.Timeout, func() { done(claim.Result{Err: &chat.Error{Code: chat.CodeUnknownOutcome, Op: "sim.Call"}}) })
	if w.anyNode(to) == nil && w.chance(0.5) { // its end of the connection is known to be gone
		n.later(w.between(0, 50*time.Millisecond), func() { done(claim.Result{Err: &chat.Error{Code: chat.CodeZoneUnreachable, Op: "sim.Call"}}) })
		return
	}
	w.carry(n.region, to, func() {
		target := w.anyNode(to)
		if target == nil {
			return
		}
		target.later(0, func() {
			id := target.expect(func(r claim.Result) { w.carry(to, n.region, func() { done(r) }) })
			target.step(claim.Request{ID: id, From: n.region.name, Ask: out.Ask})
		})
	})
}

// work reads or writes the store.
func (n *claimsNode) work(out claim.Output) {
	s, ctx := n.region.store, context.Background()
	switch out := out.(type) {
	case claim.StoreClaim:
		n.access(out.ID, false, func() (r claim.Result) {
			r.Claim, r.Found, r.Err = s.Claim(ctx, out.Key)
			return r
		})
	case claim.StoreReserve:
		n.access(out.ID, true, func() (r claim.Result) {
			r.Claim, r.Err = s.Reserve(ctx, out.Claim)
			r.Found = true
			return r
		})
	case claim.StoreRelease:
		n.access(out.ID, true, func() claim.Result { return claim.Result{Err: s.Release(ctx, out.Key, out.Attempt)} })
	case claim.StoreConfirm:
		n.access(out.ID, true, func() claim.Result {
			n.region.tables.Apply(&chat.Batch{Claims: []chat.Claim{out.Claim}})
			return claim.Result{}
		})
	}
}

// access does something with the region's store, in the time and with the luck of this world, and tells the core.
func (n *claimsNode) access(id uint64, write bool, effect func() claim.Result) {
	n.disk(write, effect, func(r claim.Result) { n.step(claim.Done{ID: id, Result: r}) })
}

// diskWrite is a write on its way to the disk.
type diskWrite struct {
	effect func() claim.Result
	ended  bool
}

// disk has effect happen to the region's store after a while, and then hears of it, if the process lives.
func (n *claimsNode) disk(write bool, effect func() claim.Result, then func(claim.Result)) {
	w, life := n.w, n.life
	took := w.between(200*time.Microsecond, 4*time.Millisecond)
	if write && !w.calm && w.chance(w.mood.slowWrites) {
		took = w.between(20*time.Millisecond, 1500*time.Millisecond)
	}
	d := &diskWrite{effect: effect}
	if write {
		n.writes = append(n.writes, d)
	}
	w.after(took, func() {
		if n.life != life || !n.up {
			return
		}
		d.ended = true
		n.writes = slices.DeleteFunc(n.writes, func(d *diskWrite) bool { return d.ended })
		if write && w.fault(w.mood.badWrites, "write fails") {
			n.later(0, func() { then(claim.Result{Err: &chat.Error{Code: chat.CodeRegionDegraded, Op: "sim.disk"}}) })
			return
		}
		r := effect()
		if write && w.fault(w.mood.badWrites, "write of unknown outcome") {
			r = claim.Result{Err: &chat.Error{Code: chat.CodeUnknownOutcome, Op: "sim.disk"}}
		}
		told := w.between(0, time.Millisecond)
		if !w.calm && w.chance(w.mood.slowWord) {
			told = w.between(0, 800*time.Millisecond)
		}
		n.later(told, func() { then(r) })
	})
}
