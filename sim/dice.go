package sim

import (
	"math/rand/v2"
	"time"
)

// dice is the chance of a world. Each event has its own, told by the event that caused it; what happens again and again
// (a person's turn, a fault, a tick) takes new ones by its name and number. So one fault or turn less changes what came of
// it, and leaves the rest of the world as it was.
type dice struct {
	source rand.PCG
	rng    *rand.Rand
	key    uint64 // of the present event, or of what it does now
	forks  uint64 // events that came of key
}

// diceStream is the second half of every source's seed.
const diceStream = 0x6d657269

// take makes key's chance the present one.
func (d *dice) take(key uint64) {
	if d.rng == nil {
		d.rng = rand.New(&d.source)
	}
	d.key, d.forks = key, 0
	d.source.Seed(key, diceStream)
}

// fork gives the key of the next event that comes of the present one.
func (d *dice) fork() uint64 {
	d.forks++
	return scramble(d.key + d.forks*0x9e3779b97f4a7c15)
}

// scramble is the last step of splitmix64: near keys give far ones.
func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// roll takes the chance of the n-th time that who does what.
func (w *world) roll(what, who string, n int) {
	var h traceHash
	h.add(w.seed)
	h.text(what)
	h.text(who)
	h.add(uint64(n))
	w.dice.take(scramble(uint64(h)))
}

func pick[V any](rng *rand.Rand, choices ...V) V { return choices[rng.IntN(len(choices))] }

// between gives a duration in [lo, hi).
func (w *world) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// turnsOfDevice is how many turns a device may have before their numbers run into those of the next.
const turnsOfDevice = 100_000

// turn takes the chance of the next thing that the device's person does, and says whether the plan has it.
func (c *client) turn() bool {
	n := c.number*turnsOfDevice + c.had
	c.had++
	c.w.roll("turn", "", n)
	if !kept(c.w.plan.Turns, n) {
		return false
	}
	c.w.turns = append(c.w.turns, n)
	return true
}

// trouble takes the chance of the next fault, and says whether the plan has it.
func (w *world) trouble() bool {
	n := w.troubled
	w.troubled++
	w.roll("fault", "", n)
	w.after(w.between(w.mood.faultEvery/2, w.mood.faultEvery*3/2), w.fault)
	if !kept(w.plan.Faults, n) {
		return false
	}
	w.troubles = append(w.troubles, n)
	return true
}
