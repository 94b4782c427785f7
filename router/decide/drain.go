package decide

import (
	"fmt"
	"time"

	"meridian/chat"
)

// drainSteps is in how many steps names leave a draining region. The last is done when a quarter of the time is left, in which
// resolvers forget what they were told.
const drainSteps = 4

// DrainWeight is the share of client prefixes that names still lead to a region which drains from from until until: 75 % from the
// first moment on, then 50 %, 25 % and nothing, each for a quarter of the time.
func DrainWeight(from, until, now time.Time) float64 {
	window := until.Sub(from)
	if window <= 0 || !now.Before(until) {
		return 0
	}
	step := int(drainSteps * max(0, now.Sub(from)) / window)
	return float64(drainSteps-1-step) / drainSteps
}

// names gives what a look-up of the name that in asked for is answered now: who asks a name has no zone but the host's.
func (m *Model) lookup(in Input, ranking Ranking) []chat.Region {
	allowed, board := All, m.NamesBoard(in.States)
	if in.Host != nil {
		allowed = m.Set(in.Host.Regions)
	}
	var names []chat.Region
	for _, i := range board.Pick(nil, ranking.Indexes(), allowed, in.ShedHash) {
		names = append(names, m.Regions()[i])
	}
	return names
}

// nameReasons tells why names still lead to a region that takes nobody new.
func (d *Decision) nameReasons() []string {
	if len(d.Names) == 0 {
		return nil
	}
	s := d.states[d.Names[0]]
	if d.Names[0] == d.Region || s.DrainWeight == 0 {
		return nil
	}
	return []string{fmt.Sprintf("drain: names still lead this network to %s, and %.0f %% of all that are nearest to it; it sends whoever comes on", d.Names[0], s.DrainWeight*100)}
}
