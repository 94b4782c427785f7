package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"meridian/sim"
)

// print shows the report to people.
func (r simReport) print(w io.Writer, took time.Duration) {
	if r.Claims == nil || r.TraceHash != "" { // not with --claims
		fmt.Fprintf(w, "%d worlds from seed %d in %s (%.0f/s): %d violations, %d ops, trace hash %s\n", r.Seeds, r.FirstSeed,
			took.Round(100*time.Millisecond), float64(r.Seeds)/max(took.Seconds(), 0.001), len(r.Details), r.Ops, r.TraceHash)
		counted(w, "faults", r.Faults)
		counted(w, "ops acknowledged", r.OpsByKind)
		counted(w, "promises checked", r.Checks)
	}
	for _, v := range r.Details {
		fmt.Fprintf(w, "\n%s\n  run it again: meridian sim --seed %d --trace%s\n", v, v.Seed, maskFlag(v.Plan))
	}
	if r.Claims != nil {
		r.printClaims(w)
	}
}

func (r simReport) printClaims(w io.Writer) {
	fmt.Fprintf(w, "\n%d worlds of sign-ups: %d violations, %d look-ups, trace hash %s\n", r.Claims.Seeds, len(r.Claims.Violations), r.Claims.Lookups, r.Claims.TraceHash)
	counted(w, "sign-ups answered", r.Claims.SignUps)
	counted(w, "faults", r.Claims.Faults)
	for _, v := range r.Claims.Violations {
		fmt.Fprintf(w, "\n%s\n  run it again: meridian sim --claims --seed %d\n", v, v.Seed)
	}
}

// maskFlag gives the flag that runs a smaller world.
func maskFlag(p *sim.Plan) string {
	if p == nil {
		return ""
	}
	return " --mask '" + strings.ReplaceAll(p.String(), "'", `'\''`) + "'"
}

// counted prints counts by name.
func counted(w io.Writer, title string, counts map[string]int) {
	fmt.Fprintf(w, "\n%s\n", title)
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(w, "  %-28s %12d\n", name, counts[name])
	}
}

// How often the progress is told.
const (
	progressOnTerminal = 200 * time.Millisecond
	progressOnLines    = 5 * time.Second
)

// simProgress tells on stderr how far a run has come: on one line of a terminal, or line by line where it was asked for.
type simProgress struct {
	w       io.Writer
	seeds   int // 0: not known
	every   time.Duration
	ending  string
	started time.Time
	told    time.Time
}

func newSimProgress(w io.Writer, seeds int, always bool) *simProgress {
	p := &simProgress{w: w, seeds: seeds, started: time.Now()}
	if f, ok := w.(interface{ Fd() uintptr }); ok && term.IsTerminal(int(f.Fd())) {
		p.every, p.ending = progressOnTerminal, "\r"
	} else if always {
		p.every, p.ending = progressOnLines, "\n"
	}
	return p
}

func (p *simProgress) tell(now sim.Progress) {
	if p.every == 0 || time.Since(p.told) < p.every {
		return
	}
	p.told = time.Now()
	rate := float64(now.Done) / max(time.Since(p.started).Seconds(), 0.001)
	line := fmt.Sprintf("%d worlds, %.0f/s, %d violations", now.Done, rate, now.Violations)
	if p.seeds > 0 {
		left := time.Duration(float64(p.seeds-now.Done) / rate * float64(time.Second))
		line = fmt.Sprintf("%d of %d worlds, %.0f/s, %d violations, %s left", now.Done, p.seeds, rate, now.Violations, left.Round(time.Second))
	}
	fmt.Fprintf(p.w, "%-76s%s", line, p.ending)
}

// end clears the line of a terminal.
func (p *simProgress) end() {
	if p.ending == "\r" {
		fmt.Fprintf(p.w, "%-76s\r", "")
	}
}
