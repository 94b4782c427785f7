// Package redis keeps in a region's Redis what its nodes share beside the store: cache, bus, limits, jobs, presence. Nothing in it
// is the only copy of anything that matters. A Redis that is away, slow, flushed or come back old costs speed and hints: no call
// waits longer than its time-out, after a few that failed none is tried but a probe (the circuit is open), and what was meant
// to be deleted meanwhile is deleted before anything is read again.
package redis
