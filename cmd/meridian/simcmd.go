package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"meridian/sim"
)

// simReport is the line of `sim --json`.
type simReport struct {
	Violations int             `json:"violations"`
	Seeds      int             `json:"seeds"`
	FirstSeed  uint64          `json:"first_seed"`
	TraceHash  string          `json:"trace_hash"`
	Faults     map[string]int  `json:"faults"`
	Ops        int             `json:"ops"`
	OpsByKind  map[string]int  `json:"ops_by_kind"`
	Checks     map[string]int  `json:"checks"`
	Details    []sim.Violation `json:"details,omitempty"`
	// Claims is what as many worlds of sign-ups showed; its violations count above too.
	Claims *sim.ClaimsResult `json:"claims,omitempty"`
}

// simFlags are what the verb is told.
type simFlags struct {
	seeds            int
	firstSeed, seed  uint64
	minutes          float64
	busy             time.Duration
	mask             string
	shrinkRuns       int
	trace, json      bool
	claims           bool
	progress, single bool
	bounded          bool // by --seeds
}

func simCommand() *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use: "sim", Short: "Run the protocol between regions through simulated worlds full of faults",
		Long: `Run the protocol between regions through simulated worlds: delay, loss of connection, cuts, crashes that lose what was not
synced, restarts, clock skew. A seed is a world; the same seed is the same run, on any number of cores. Exit code 1 when a
promise was broken: the first failing world is then made as small as can be, and printed as the flags that run it again.`,
		Example: `  meridian sim --seeds 1000
  meridian sim --minutes 10 --first-seed 5000
  meridian sim --seed 148 --trace
  meridian sim --claims --seed 606`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.single = cmd.Flags().Changed("seed")
			f.bounded = cmd.Flags().Changed("seeds") || f.minutes == 0
			opt, err := f.options(cmd.OutOrStdout())
			if err != nil {
				return err
			}
			return f.run(cmd, opt)
		},
	}
	cmd.Flags().IntVar(&f.seeds, "seeds", 100, "worlds to run; with --minutes and without --seeds: as many as there is time for")
	cmd.Flags().Uint64Var(&f.firstSeed, "first-seed", 1, "the first world's seed")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "run this one world")
	cmd.Flags().Float64Var(&f.minutes, "minutes", 0, "begin no world after so many minutes; 0: no bound")
	cmd.Flags().DurationVar(&f.busy, "busy", 0, "simulated time of traffic and faults of a world (default 30s)")
	cmd.Flags().StringVar(&f.mask, "mask", "", "the part of the world that happens, as printed for a failing world")
	cmd.Flags().IntVar(&f.shrinkRuns, "shrink-runs", 2000, "runs to spend on making the first failing world smaller; 0: none")
	cmd.Flags().BoolVar(&f.trace, "trace", false, "print all that happens; best with --seed")
	cmd.Flags().BoolVar(&f.claims, "claims", false, "run only worlds of sign-ups for the same names; else as many of them follow the others")
	cmd.Flags().BoolVar(&f.json, "json", false, "end with one JSON line")
	cmd.Flags().BoolVar(&f.progress, "progress", false, "tell the progress also where there is no terminal")
	return cmd
}

// options checks the flags.
func (f *simFlags) options(out io.Writer) (sim.Options, error) {
	if f.seeds < 1 || f.minutes < 0 || f.busy < 0 || f.shrinkRuns < 0 {
		return sim.Options{}, &exitError{code: exitUsage, what: "--seeds must be at least 1, --minutes, --busy and --shrink-runs at least 0"}
	}
	if f.claims && (f.minutes > 0 || f.busy > 0 || f.mask != "" || f.trace) {
		return sim.Options{}, &exitError{code: exitUsage, what: "--claims takes --seeds, --first-seed, --seed and --json only"}
	}
	if f.busy > 0 && f.busy < time.Millisecond || f.busy > sim.BusyMax {
		return sim.Options{}, &exitError{code: exitUsage, what: "--busy must be from 1ms to 24h"}
	}
	opt := sim.Options{Seeds: f.seeds, FirstSeed: f.firstSeed, ShrinkRuns: f.shrinkRuns}
	if f.mask != "" {
		plan, err := sim.ParsePlan(f.mask)
		if err != nil {
			return sim.Options{}, &exitError{code: exitUsage, what: "--mask: " + err.Error()}
		}
		opt.Plan = plan
	}
	if f.busy > 0 {
		opt.Plan.BusyMS = int(f.busy.Milliseconds())
	}
	switch {
	case f.single:
		opt.Seeds, opt.FirstSeed = 1, f.seed
	case !f.bounded:
		opt.Seeds = 0
	}
	if f.trace {
		opt.ShrinkRuns = 0
		opt.Trace = func(line string) { fmt.Fprintln(out, line) }
	}
	return opt, nil
}

// simGCPercent lets the heap grow before it is collected: worlds are small and soon gone, and collecting them less often saves
// a fifth of the time.
const simGCPercent = 400

// run runs the worlds and prints what they showed.
func (f *simFlags) run(cmd *cobra.Command, opt sim.Options) error {
	ctx := cmd.Context()
	if f.minutes > 0 {
		timed, cancel := context.WithTimeout(ctx, time.Duration(f.minutes*float64(time.Minute)))
		defer cancel()
		ctx = timed
	}
	opt.Stop = ctx.Done()
	progress := newSimProgress(cmd.ErrOrStderr(), opt.Seeds, f.progress)
	opt.Progress = progress.tell
	defer debug.SetGCPercent(debug.SetGCPercent(simGCPercent))
	started := time.Now()
	res := sim.Result{Seeds: opt.Seeds}
	if !f.claims {
		res = sim.Run(opt)
	}
	progress.end()
	report := newSimReport(res, opt)
	if f.claims || f.mask == "" && !f.trace {
		report.addClaims(sim.RunClaims(res.Seeds, opt.FirstSeed))
	}
	if f.json {
		line, err := json.Marshal(report)
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), string(line))
	} else {
		report.print(cmd.OutOrStdout(), time.Since(started))
	}
	switch {
	case report.Violations > 0:
		return &exitError{code: exitFailed}
	case cmd.Context().Err() != nil:
		return &exitError{code: exitFailed, what: fmt.Sprintf("interrupted after %d seeds", report.Seeds)}
	}
	return nil
}

func newSimReport(res sim.Result, opt sim.Options) simReport {
	r := simReport{
		Violations: len(res.Violations), Seeds: res.Seeds, FirstSeed: opt.FirstSeed, TraceHash: res.TraceHash, Faults: res.Faults,
		OpsByKind: res.Ops, Checks: res.Checks, Details: res.Violations,
	}
	for _, n := range res.Ops {
		r.Ops += n
	}
	return r
}

func (r *simReport) addClaims(res sim.ClaimsResult) {
	r.Claims = &res
	r.Violations += len(res.Violations)
}
