package sim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication/drift"
)

// What a node may stamp. Its clock is right to stampMax, but for one case that the rules of decision 0012 leave open: it believed a
// clock that was wrong while nobody was there who could deny it. The world knows what each clock is really off, and goes through
// the same rules with that.

const (
	// stampMax is how far from the real time a stamp may lie: what a clock may be off unnoticed, its peers' own error, and what an
	// op of a node that is as far ahead may push it.
	stampMax = 2 * time.Second
	// plainWord is the longest round trip of a word that must tell a clock which is off by stampMax from one that is right.
	plainWord = time.Second
	// A clock goes on from the durable mark if it shows at most goesOn more than that, or at most lagsMax less.
	goesOn  = time.Minute
	lagsMax = 6 * time.Second
	// ticksMax is how far a clock may run ahead by stamping alone, a microsecond each.
	ticksMax = time.Millisecond
)

// belief is what a life of a node had to judge its clock by.
type belief struct {
	began time.Duration
	mark  time.Time // durable when it began; the zero time: none
	words map[chat.NodeRef]told
	open  bool          // the clock was believed while nobody was there who could deny it
	off   time.Duration // and it was off by that
}

// told is what another node told last: how far its clock really was off, and what it thinks of it.
type told struct {
	off      time.Duration
	standing drift.Standing
}

// off is how far the node's clock is off the real time.
func (n *node) off() time.Duration { return n.clock().Sub(start.Add(n.w.now)) }

// believes notes that the node trusts its clock from now on, and whether the rules let it do that if the clock is wrong.
func (n *node) believes(was drift.Standing) {
	b, off := &n.belief, n.off()
	if off.Abs() <= maxDrift {
		b.open = false
		return
	}
	if b.open && was == drift.Held && (off-b.off).Abs() <= maxDrift {
		return // the jump was taken back
	}
	m, heard := n.votes(false)
	switch {
	case heard:
		b.open = (m - off).Abs() <= stampMax
	case was == drift.Starting && n.waited():
		b.open = true
	default:
		b.open = n.mostAgree(off)
	}
	if b.off = off; b.open {
		n.w.faults["wrong clock believed"]++
	}
}

// waited says that the life has waited as long as one must that nobody confirms.
func (n *node) waited() bool {
	b, wait := &n.belief, drift.StartWait
	if gap := n.clock().Sub(b.mark); !b.mark.IsZero() && (gap > goesOn || gap < -lagsMax) {
		wait = drift.LongWait
	}
	return n.w.now-b.began >= wait
}

// mostAgree says that most nodes' clocks showed the same, and that none of these was said to be wrong.
func (n *node) mostAgree(off time.Duration) bool {
	agree := 1
	for _, t := range n.belief.words {
		if t.standing != drift.Contradicted && (t.off-off).Abs() <= stampMax {
			agree++
		}
	}
	return agree > len(n.w.nodes)/2
}

// votes gives what the clocks are off that are trusted, as the rules count them: one vote for each region, the earlier of two in
// the middle; with the own clock among them or not. False: none was heard.
func (n *node) votes(own bool) (time.Duration, bool) {
	regions := map[chat.Region][]time.Duration{}
	for ref, t := range n.belief.words {
		if t.standing == drift.Trusted {
			regions[ref.Region] = append(regions[ref.Region], t.off)
		}
	}
	if len(regions) == 0 {
		return 0, false
	}
	if own {
		regions[n.region] = append(regions[n.region], n.off())
	}
	var each []time.Duration
	for _, offs := range regions {
		each = append(each, earlyMiddle(offs))
	}
	return earlyMiddle(each), true
}

func earlyMiddle(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[(len(list)-1)/2]
}

// mayErr gives how far off the time may be that the node goes by: it believed its clock while nobody could deny it, and still
// nobody does.
func (n *node) mayErr() time.Duration {
	b := &n.belief
	if !b.open {
		return 0
	}
	if m, heard := n.votes(n.judged.Standing == drift.Trusted); heard && (m-b.off).Abs() > stampMax {
		b.open = false
		return 0
	}
	return b.off
}

// proveTime checks that nothing is stamped far from the real time.
func (n *node) proveTime(b *chat.Batch) {
	if n.w.mood.unjudged {
		return
	}
	n.w.checked(PromiseTime)
	right, off := start.Add(n.w.now), n.mayErr()
	earliest := right.Add(min(off, 0) - stampMax)
	latest := max(chat.HLCFromTime(right.Add(max(off, 0)+stampMax)), n.site.ahead)
	if off > 0 { // what it reserves holds for the next life
		n.site.ahead = max(n.site.ahead, min(b.HighWater, latest)+chat.HLC(ticksMax.Microseconds()))
	}
	for i := range b.Inbox {
		if at := b.Inbox[i].Arrival; at > latest {
			n.w.violate(PromiseTime, "%s stamps an arrival %s ahead of the real time", n.name(), at.Time().Sub(right))
		}
	}
	for i := range b.Log {
		op := &b.Log[i].Op
		own := op.Stream.Region == n.region
		if op.Logged > latest || own && op.Logged.Time().Before(earliest) {
			n.w.violate(PromiseTime, "%s stamps an op %s off the real time", n.name(), op.Logged.Time().Sub(right))
		}
	}
}
