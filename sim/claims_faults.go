package sim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication/claim"
	"meridian/sim/memstore"
)

// trouble lets one thing go wrong.
func (w *claimsWorld) trouble() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	a, b := w.regions[w.rng.IntN(len(w.regions))], w.regions[w.rng.IntN(len(w.regions))]
	switch w.rng.IntN(6) {
	case 0:
		w.crashFor(n, w.between(100*time.Millisecond, 8*time.Second))
	case 1:
		w.cutFor("cut both ways", w.between(500*time.Millisecond, 10*time.Second), [2]chat.Region{a.name, b.name}, [2]chat.Region{b.name, a.name})
	case 2:
		w.cutFor("cut one way", w.between(500*time.Millisecond, 10*time.Second), [2]chat.Region{a.name, b.name})
	case 3:
		w.faults["pause"]++
		w.note(everybody, n.name, "pause")
		n.paused = max(n.paused, w.now+w.between(100*time.Millisecond, 4*time.Second))
	case 4:
		w.faults["clock jump"]++
		n.skew = w.newSkew()
	case 5:
		w.jump()
	}
}

// jump sets the clocks of some regions off by hours or a day, for a while.
func (w *claimsWorld) jump() {
	if !w.mood.jumps {
		return
	}
	w.faults["clock jump by a day"]++
	off := pick(w.rng, 25*time.Hour, 25*time.Hour, 25*time.Hour, time.Hour, -time.Hour, -25*time.Hour)
	share := pick(w.rng, 0.4, 0.7, 1)
	for _, n := range w.nodes {
		if w.chance(share) {
			w.note(everybody, n.name, "clock off by %s", off)
			n.skew = off
			w.after(w.between(200*time.Millisecond, 5*time.Second), func() { n.skew = w.newSkew() })
		}
	}
}

func (w *claimsWorld) crashFor(n *claimsNode, d time.Duration) {
	if !n.up || n.region.lost {
		return
	}
	w.faults["crash"]++
	n.crash()
	w.after(d, func() { w.start(n) })
}

// start boots a node, unless it runs or its region is gone.
func (w *claimsWorld) start(n *claimsNode) {
	if !n.up && !n.region.lost {
		n.boot()
	}
}

// cutFor stops all words on some ways.
func (w *claimsWorld) cutFor(kind string, d time.Duration, ways ...[2]chat.Region) {
	w.faults[kind]++
	for _, way := range ways {
		if way[0] == way[1] {
			continue
		}
		w.note(everybody, "world", "%s>%s cut for %s", way[0], way[1], d)
		w.cut[way] = true
		w.after(d, func() { delete(w.cut, way) })
	}
}

// dusk ends the first busy spell's faults. Sometimes a region then goes down, or is cut off, over the night and into the
// morning.
func (w *claimsWorld) dusk() {
	w.mend()
	w.after(w.between(0, claimsEvening), w.night)
}

func (w *claimsWorld) night() {
	r := w.regions[w.rng.IntN(len(w.regions))]
	night := claimsNight - w.now + w.between(0, claimsBusy)
	switch w.rng.IntN(4) {
	case 3:
		w.after(2*claim.ReleaseFor, w.checkGivenBack)
	case 0:
		w.faults["down for a day"]++
		for _, n := range w.nodes {
			if n.region == r {
				w.crashFor(n, night)
			}
		}
	case 1, 2:
		for _, other := range w.regions {
			w.cutFor("cut off for a day", night, [2]chat.Region{r.name, other.name}, [2]chat.Region{other.name, r.name})
		}
	}
}

// mend ends the faults under way.
func (w *claimsWorld) mend() {
	clear(w.cut)
	for _, n := range w.nodes {
		w.start(n)
		n.paused = 0
		n.skew = w.newSkew()
	}
}

// heal ends all faults for good.
func (w *claimsWorld) heal() {
	w.calm, w.doomed = true, nil
	w.note(everybody, "world", "healed")
	w.mend()
}

// doom chooses a region to be lost: now, or at a bad moment.
func (w *claimsWorld) doom() {
	r := w.regions[w.rng.IntN(len(w.regions))]
	if w.chance(0.2) {
		w.loseRegion(r)
		return
	}
	w.doomed, w.badTurn = r, w.chance(0.5)
}

// strike loses the doomed region, if it is this one.
func (w *claimsWorld) strike(r chat.Region) {
	if w.doomed != nil && w.doomed.name == r {
		lost := w.doomed
		w.doomed = nil
		w.loseRegion(lost)
	}
}

// loseRegion destroys a region, first its ways to the others, then all of it; later the operator forgets it, and every node
// learns of that in its own time.
func (w *claimsWorld) loseRegion(r *claimsRegion) {
	w.faults["region lost"]++
	for _, other := range w.regions {
		w.cutFor("cut one way", claimsNight, [2]chat.Region{r.name, other.name})
	}
	w.after(w.between(0, 100*time.Millisecond), func() {
		w.note(everybody, "world", "%s is lost", r.name)
		for _, n := range w.nodes {
			if n.region == r && n.up {
				n.crash()
			}
		}
		r.lost = true
		w.after(w.between(300*time.Millisecond, pick(w.rng, 2*time.Second, 15*time.Second)), func() { w.forget(r) })
	})
}

// forget takes a lost region out of the configuration.
func (w *claimsWorld) forget(r *claimsRegion) {
	w.note(everybody, "world", "%s is forgotten", r.name)
	without := func(list []chat.Region) []chat.Region {
		return slices.DeleteFunc(slices.Clone(list), func(x chat.Region) bool { return x == r.name })
	}
	next := chat.Topology{Regions: without(w.topology.Regions), Zones: map[chat.Zone]chat.ZoneSpec{}}
	for name, spec := range w.topology.Zones {
		spec.Regions = without(spec.Regions)
		next.Zones[name] = spec
	}
	w.topology = next
	for _, n := range w.nodes {
		if n.region == r {
			continue
		}
		w.after(w.between(0, 5*time.Second), func() {
			if n.up {
				n.crash()
			}
			w.start(n)
		})
	}
}

// lastWishes: in a world that is well again everybody who wants a name that nobody has can get it. Then the names are asked
// for everywhere.
func (w *claimsWorld) lastWishes() {
	for name := range w.names {
		for i := range 3 {
			w.after(time.Duration(i)*20*time.Second+w.between(0, time.Second), func() { w.want(name, 0) })
		}
		for _, n := range w.living() {
			w.after(claimsEnd-10*time.Second, func() { w.ask(n, name) })
		}
	}
}

// restoreLater has a region come back, in a world at rest, with the copy of its store that is made now: it has forgotten the names
// that were confirmed since, which no op brings again.
func (w *claimsWorld) restoreLater() {
	r := w.regions[w.rng.IntN(len(w.regions))]
	old := r.tables.Clone()
	w.after(claimsRest-2*claimsEnd-w.now, func() {
		w.faults["restored from a copy"]++
		w.note(everybody, "world", "%s is restored from a copy", r.name)
		r.tables, r.store = old, memstore.Open(old, memstore.Retention{})
		for _, n := range w.nodes {
			if n.region == r {
				n.crash()
				n.boot()
			}
		}
	})
}
