package decide

import (
	"fmt"
	"slices"
	"time"

	"meridian/chat"
)

// Measured is what a region's own sockets have measured of the way to a group of clients.
type Measured struct {
	Region chat.Region `json:"region"`
	// Of is the group: a network, or a country and an autonomous system.
	Of      string  `json:"of"`
	P50Ms   float64 `json:"p50_ms"`
	Samples int     `json:"samples"`
	// Last is when the samples were taken, at the latest.
	Last time.Time `json:"last"`
}

// learn lets what was measured take the place of what the model estimates; of several that are said of a region the first counts.
func (m *Model) learn(order []Candidate, learned []Measured) {
	for _, one := range learned {
		i, ok := m.index[one.Region]
		if !ok || order[i].Learned != nil {
			continue
		}
		c := &order[i]
		c.Learned, c.RTTms, c.NetworkPoint, c.near = &one, one.P50Ms, "", false
		c.ScoreMs = one.P50Ms + c.BiasMs
	}
}

// text says on what the measurement stands; its age where now is known.
func (m *Measured) text(now time.Time) string {
	const day = 24 * time.Hour
	age := "the last of " + m.Last.Format(time.DateOnly)
	if !now.IsZero() {
		age = fmt.Sprintf("%d days old", int(max(0, now.Sub(m.Last))/day))
	}
	return fmt.Sprintf("measured by its own sockets (%d samples of %s, %s)", m.Samples, m.Of, age)
}

// Moved says whether next, learned in the place of old, gives a place another first region; round trips are those by next, and 0
// where nothing is.
func (m *Model) Moved(p Place, old, next []Measured) (from, to Candidate, moved bool) {
	before, after := m.Rank(p, old...), m.Rank(p, next...)
	to = after.Order[0]
	at := slices.IndexFunc(after.Order, func(c Candidate) bool { return c.Region == before.Order[0].Region })
	return after.Order[at], to, to.Region != before.Order[0].Region
}
