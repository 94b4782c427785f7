package sim

import (
	"fmt"
	"time"
)

// ClaimsResult is what the worlds of sign-ups showed.
type ClaimsResult struct {
	Violations []Violation    `json:"violations"`
	Seeds      int            `json:"seeds"`
	TraceHash  string         `json:"trace_hash"`
	Faults     map[string]int `json:"faults"`
	// SignUps counts the attempts by how they were answered: "success", an error code, or "silence".
	SignUps map[string]int `json:"sign_ups"`
	Lookups int            `json:"lookups"`
	// Mended counts the entries that were brought to regions that lacked them.
	Mended int `json:"mended"`
}

// The promises about usernames.
const (
	PromiseUnique = "a name is one person's"
	PromiseKnown  = "a name confirmed here is found here"
)

// RunClaims runs worlds in which people sign up for the same names in several regions, from seed first on: the node's own
// claim core on every node, on stores that forget nothing but what was not synced, with regions that die, are cut off, come
// back after a day or never, and clocks that jump by more than a day.
func RunClaims(seeds int, first uint64) ClaimsResult { return runClaims(seeds, first, false) }

// runClaims ends at the first violation if told so.
func runClaims(seeds int, first uint64, stop bool) ClaimsResult {
	res := ClaimsResult{Violations: []Violation{}, Faults: map[string]int{}, SignUps: map[string]int{}}
	var hash traceHash
	for i := range seeds {
		seed := first + uint64(i)
		res.Seeds++
		w, ended := within(worldMax, func() *claimsWorld { return liveClaims(seed, false) })
		if !ended {
			res.Violations = append(res.Violations, endless(seed))
			if stop {
				break
			}
			continue
		}
		for kind, n := range w.faults {
			res.Faults[kind] += n
		}
		for _, s := range w.signUps {
			res.SignUps[s.outcome()]++
		}
		res.Lookups += len(w.lookUps)
		res.Mended += w.mended
		hash.add(uint64(w.trace))
		if len(w.violations) > 0 {
			w.violations[0].Trace = liveClaims(seed, true).story()
			res.Violations = append(res.Violations, w.violations...)
			if stop {
				break
			}
		}
	}
	res.TraceHash = fmt.Sprintf("%016x", uint64(hash))
	return res
}

// liveClaims runs one world to its end.
func liveClaims(seed uint64, keepTrace bool) *claimsWorld {
	w := newClaimsWorld(seed, keepTrace)
	w.run()
	return w
}

// The times of a world of sign-ups: two busy spells with a day between them, and a quiet end when also what was stamped by a
// clock that was a day ahead has been pending for a day.
const (
	claimsBusy    = 25 * time.Second
	claimsEvening = 4 * time.Second // people go on for so long after the spell's faults have ended, and the night's begin
	claimsNight   = 25 * time.Hour
	claimsRest    = 100 * time.Hour
	claimsEnd     = 90 * time.Second
	// claimsEventsMax bounds the events of a world; the liveliest have a tenth of it.
	claimsEventsMax = 3_000_000
)
