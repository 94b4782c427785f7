// Package report says what a nemesis run found: as a table for the terminal, as JSON for programs, and as one HTML page with a
// time line for people.
package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Report is a whole run.
type Report struct {
	Began     time.Time  `json:"began"`
	Commit    string     `json:"commit"`
	Machine   string     `json:"machine"`
	Scenarios []Scenario `json:"scenarios"`
}

// Scenario is one deployment with its people and what happened to it.
type Scenario struct {
	Name string `json:"name"`
	What string `json:"what"`
	// Limits says what this machine did not allow.
	Limits string  `json:"limits,omitempty"`
	Faults []Fault `json:"faults"`
	Counts Counts  `json:"counts"`
	Checks []Check `json:"checks"`
	// PerSecond are the first acknowledgements in each second.
	PerSecond []int `json:"acks_per_second"`
	// AckP50 and AckP99 are from the send to the first ack, the faults included.
	AckP50 Seconds `json:"ack_p50_s"`
	AckP99 Seconds `json:"ack_p99_s"`
	// PeakMiB is the largest memory of any process.
	PeakMiB  int64    `json:"peak_mib"`
	Figures  []string `json:"figures,omitempty"`
	Problems []string `json:"problems,omitempty"`
}

// Seconds is a time span in JSON as seconds.
type Seconds time.Duration

// MarshalJSON writes seconds with milliseconds.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.3f", time.Duration(s).Seconds()), nil
}

// String prints with two digits behind the point.
func (s Seconds) String() string { return fmt.Sprintf("%.2fs", time.Duration(s).Seconds()) }

// Counts are the sends and what the checker found. All but the first three must be 0.
type Counts struct {
	Acked      int `json:"acked"`
	Unknown    int `json:"unknown"`
	Failed     int `json:"failed"`
	Lost       int `json:"lost"`
	Doubled    int `json:"doubled"`
	Invented   int `json:"invented"`
	Altered    int `json:"altered"`
	OutOfOrder int `json:"out_of_order"`
	WrongID    int `json:"wrong_id"`
	Gaps       int `json:"gaps"`
	Repeats    int `json:"repeats"`
	Undead     int `json:"undead"`
	Reactions  int `json:"reactions"`
	Intruded   int `json:"intruded"`
}

// Fault is one thing that was done.
type Fault struct {
	Name    string  `json:"name"`
	What    string  `json:"what"`
	Skipped string  `json:"skipped,omitempty"` // why it was not done
	Began   Seconds `json:"began_s"`
	Mended  Seconds `json:"mended_s"`
	// Hit is how many people lost their server; P50, P99 and Max are the times until another one served them. Bound is what
	// P99 may be; 0: nothing is promised.
	Hit   int     `json:"hit"`
	P50   Seconds `json:"elsewhere_p50_s"`
	P99   Seconds `json:"elsewhere_p99_s"`
	Max   Seconds `json:"elsewhere_max_s"`
	Bound Seconds `json:"bound_s,omitempty"`
	// Recovered is from the mending until something written after it had been shown between every pair of regions.
	Recovered Seconds `json:"recovered_s"`
	Problem   string  `json:"problem,omitempty"`
}

// Check is one promise, and how often it was broken.
type Check struct {
	ID     string `json:"id"`
	What   string `json:"what"`
	Broken int    `json:"broken"`
	// Elsewhere says where it is checked when not here.
	Elsewhere string `json:"elsewhere,omitempty"`
}

// OK says whether everything held.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(r.Scenarios, func(s Scenario) bool { return !s.OK() })
}

// OK says whether everything held in the scenario.
func (s *Scenario) OK() bool {
	return len(s.Problems) == 0 && !slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Problem != "" }) &&
		!slices.ContainsFunc(s.Checks, func(c Check) bool { return c.Broken > 0 })
}

// Table writes the terminal's form.
func (r *Report) Table(w io.Writer) {
	for i := range r.Scenarios {
		r.Scenarios[i].table(w)
	}
	r.coverage(w)
	verdict := "every promise held"
	if !r.OK() {
		verdict = "PROMISES WERE BROKEN"
	}
	fmt.Fprintf(w, "\nnemesis: %s\n", verdict)
}

func (s *Scenario) table(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s\n", s.Name, s.What)
	if s.Limits != "" {
		fmt.Fprintf(w, "  on this machine: %s\n", s.Limits)
	}
	c := s.Counts
	fmt.Fprintf(w, "  sends: %d acknowledged, %d unknown, %d refused; lost %d, doubled %d, invented %d, altered %d, out of order %d, wrong id %d, gaps %d, repeats %d, deleted but there %d, wrong reactions %d, shown to the removed %d\n",
		c.Acked, c.Unknown, c.Failed, c.Lost, c.Doubled, c.Invented, c.Altered, c.OutOfOrder, c.WrongID, c.Gaps, c.Repeats, c.Undead, c.Reactions, c.Intruded)
	fmt.Fprintf(w, "  send to ack, faults included: p50 %s, p99 %s; largest process %d MiB\n", s.AckP50, s.AckP99, s.PeakMiB)
	for _, f := range s.Figures {
		fmt.Fprintf(w, "  %s\n", f)
	}
	if len(s.Faults) > 0 {
		fmt.Fprintf(w, "\n  %-22s %7s %7s %5s %9s %9s %9s %7s %10s\n", "FAULT", "BEGAN", "LASTED", "HIT", "P50", "P99", "MAX", "BOUND", "RECOVERED")
	}
	for _, f := range s.Faults {
		f.line(w)
	}
	fmt.Fprintln(w)
	for _, check := range s.Checks {
		verdict := "held"
		switch {
		case check.Broken > 0:
			verdict = fmt.Sprintf("BROKEN %d times", check.Broken)
		case check.Elsewhere != "":
			verdict = "not checked here: " + check.Elsewhere
		}
		fmt.Fprintf(w, "  %-4s %-102s %s\n", check.ID, check.What, verdict)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "  ! %s\n", p)
	}
}

func (f *Fault) line(w io.Writer) {
	if f.Skipped != "" {
		fmt.Fprintf(w, "  %-22s not done: %s\n", f.Name, f.Skipped)
		return
	}
	served, bound := []string{"-", "-", "-"}, "-"
	if f.Hit > 0 {
		served = []string{f.P50.String(), f.P99.String(), f.Max.String()}
	}
	if f.Bound > 0 {
		bound = time.Duration(f.Bound).String()
	}
	fmt.Fprintf(w, "  %-22s %7.1f %7.1f %5d %9s %9s %9s %7s %10s\n", f.Name, time.Duration(f.Began).Seconds(),
		time.Duration(f.Mended-f.Began).Seconds(), f.Hit, served[0], served[1], served[2], bound, f.Recovered)
	if f.Problem != "" {
		fmt.Fprintf(w, "    ! %s\n", strings.ReplaceAll(f.Problem, "\n", "\n      "))
	}
}

// Percentile gives the value below which a share of the sorted values lies; 0 of none.
func Percentile(sorted []time.Duration, share float64) Seconds {
	if len(sorted) == 0 {
		return 0
	}
	return Seconds(sorted[min(int(float64(len(sorted))*share), len(sorted)-1)])
}
