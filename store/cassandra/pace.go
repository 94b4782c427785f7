package cassandra

import "time"

const (
	// maxGroupBatches bounds what one logged batch of the server gathers; firstGroupBatches is where a node begins.
	maxGroupBatches   = 64
	firstGroupBatches = 8
	// quick and slow are how long a group may take to be made larger, and smaller. The server gives a write up after 2 s, by default.
	quick = 150 * time.Millisecond
	slow  = 500 * time.Millisecond
)

// pace says how many batches a group may gather: more while the server is quick, half as many each time that it is slow (additive
// increase, multiplicative decrease: Chiu and Jain 1989). A server that is given more than it writes in its time gives all of it up and is
// sent it again: it would never recover.
type pace struct{ batches int }

func newPace() pace { return pace{firstGroupBatches} }

// after gives the pace after a group of n batches took so long; late: the server gave it up.
func (p pace) after(n int, took time.Duration, late bool) pace {
	switch {
	case late || took > slow:
		return pace{max(1, min(p.batches, n)/2)}
	case took < quick && n >= p.batches:
		return pace{min(maxGroupBatches, p.batches+1)}
	}
	return p
}
