package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"meridian/sim"
)

// simReport is the line of `sim --json`.
type simReport struct {
	Violations int             `json:"violations"`
	Seeds      int             `json:"seeds"`
	TraceHash  string          `json:"trace_hash"`
	Faults     map[string]int  `json:"faults"`
	Ops        int             `json:"ops"`
	Details    []sim.Violation `json:"details,omitempty"`
}

func simCommand() *cobra.Command {
	var opt sim.Options
	var minutes float64
	var asJSON bool
	cmd := &cobra.Command{
		Use: "sim", Short: "Run the protocol between regions through simulated worlds full of faults",
		Long: `Run the protocol between regions through simulated worlds: delay, loss of connection, cuts, crashes that lose what was not
synced, restarts, clock skew. A seed is a world; the same seed is the same run. Exit code 1 when a promise was broken.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opt.Seeds < 1 || minutes < 0 {
				return &exitError{code: exitUsage, what: "--seeds must be at least 1, --minutes at least 0"}
			}
			opt.Busy = time.Duration(minutes * float64(time.Minute))
			if f, ok := cmd.ErrOrStderr().(interface{ Fd() uintptr }); ok && term.IsTerminal(int(f.Fd())) {
				opt.Progress = func(done int, seed uint64, violations int) {
					fmt.Fprintf(cmd.ErrOrStderr(), "\r%d of %d worlds, %d violations", done, opt.Seeds, violations)
				}
				defer fmt.Fprintln(cmd.ErrOrStderr())
			}
			r := sim.Run(opt)
			report := simReport{len(r.Violations), r.Seeds, r.TraceHash, r.Faults, r.Ops, r.Violations}
			if err := report.print(cmd, opt, asJSON); err != nil {
				return err
			}
			if report.Violations > 0 {
				return &exitError{code: exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&opt.Seeds, "seeds", 100, "worlds to run")
	cmd.Flags().Uint64Var(&opt.FirstSeed, "first-seed", 1, "the first world's seed")
	cmd.Flags().Float64Var(&minutes, "minutes", 0, "simulated minutes of traffic and faults per world (default half a minute)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "end with one JSON line")
	return cmd
}

func (r simReport) print(cmd *cobra.Command, opt sim.Options, asJSON bool) error {
	w := cmd.OutOrStdout()
	if asJSON {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, string(line))
		return err
	}
	var faults []string
	for kind, n := range r.Faults {
		faults = append(faults, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(faults)
	fmt.Fprintf(w, "%d worlds from seed %d: %d violations, %d ops\nfaults: %s\ntrace hash %s\n",
		r.Seeds, opt.FirstSeed, r.Violations, r.Ops, strings.Join(faults, ", "), r.TraceHash)
	for _, v := range r.Details {
		fmt.Fprintf(w, "\nseed %d: %s: %s\n  replay: meridian sim --first-seed %d --seeds 1\n", v.Seed, v.Promise, v.Detail, v.Seed)
	}
	return nil
}
