// Package drain moves people out of a region that its operator is about to stop or to mend. An Order is the operator's word; Service
// carries it out: it says who must go elsewhere, asks open sockets to move, one after another over the time given, and ends those
// that stay. Plan says beforehand where everybody would go, and what speaks against it.
package drain

import "time"

// Order is the operator's word about one region. All nodes of all regions hear of it, and the one that was given last counts.
type Order struct {
	On bool `json:"on"`
	// Given is when the operator spoke. From and Until are the time over which people move: an order that only changes the end
	// keeps the beginning.
	Given time.Time `json:"given"`
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// askShare is the share of the time in which sockets are asked to move; the rest is for those that are slow to do it.
const askShare = 0.8

// After says that o was given later than old.
func (o Order) After(old Order) bool { return o.Given.After(old.Given) }

// Asked gives the share of sockets, 0 to 1, that must have been asked to move by now.
func (o Order) Asked(now time.Time) float64 {
	window := askShare * float64(o.Until.Sub(o.From))
	switch elapsed := float64(now.Sub(o.From)); {
	case !o.On:
		return 0
	case window <= 0 || elapsed >= window:
		return 1
	default:
		return max(0, elapsed/window)
	}
}

// Over says that nobody who has another region should be left.
func (o Order) Over(now time.Time) bool { return o.On && !now.Before(o.Until) }
