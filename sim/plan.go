package sim

import (
	"slices"
	"time"
)

// Plan says how much of a seed's world happens. The zero plan is the whole world; a smaller one is what is left of it when a
// failing world has been made small.
type Plan struct {
	// Busy is how long (simulated) people write and faults happen, before everything heals.
	Busy time.Duration `json:"busy,omitempty"`
	// Turns and Faults list the turns of people, and the faults, that happen; nil: all.
	Turns  []int `json:"turns,omitempty"`
	Faults []int `json:"faults,omitempty"`
}

func kept(list []int, n int) bool { return list == nil || slices.Contains(list, n) }
