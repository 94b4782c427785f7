package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/region-node/messages"
)

// problem is something an operator should look at, with the runbook that helps. Worse ones have a higher rank.
type problem struct {
	Rank    int    `json:"rank"`
	Text    string `json:"text"`
	Runbook string `json:"runbook"`
}

// statusReport is what `status --json` prints.
type statusReport struct {
	Problems []problem     `json:"problems"`
	Regions  []regionState `json:"regions"`
}

// watchEvery is how often status -w looks again.
const watchEvery = time.Second

func statusCommand() *cobra.Command {
	var data, file string
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use: "status", Short: "One screen: problems first, then every region", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for {
				report, err := readStatus(cmd, data, file)
				if err != nil {
					return err
				}
				switch {
				case asJSON:
					if err := printJSON(cmd.OutOrStdout(), report); err != nil {
						return err
					}
				case watch:
					fmt.Fprint(cmd.OutOrStdout(), "\x1b[H\x1b[2J")
					report.print(cmd.OutOrStdout())
				default:
					report.print(cmd.OutOrStdout())
				}
				if !watch {
					return report.exit()
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(watchEvery):
				}
			}
		},
	}
	cmd.Flags().StringVar(&data, "data", "data", "directory of the local deployment")
	cmd.Flags().StringVar(&file, "config", "", "configuration file of a deployment whose nodes are processes of their own, instead of --data")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "look again every second")
	return cmd
}

func readStatus(cmd *cobra.Command, data, file string) (report statusReport, err error) {
	if file != "" {
		report.Regions, err = statusOf(cmd.Context(), file)
	} else {
		var r ready
		if r, err = findUp(data); err == nil {
			err = failed(r.call(cmd.Context(), "GET", "/v1/control/status", &report.Regions))
		}
	}
	if err != nil {
		return report, err
	}
	report.Problems = findProblems(report.Regions)
	return report, nil
}

// lagProblem is the relay lag from which an operator should look.
const lagProblem = 5 * time.Second

// clockProblemMs is how far off a clock may be before an operator should look; at timing.max_drift its node stops by itself.
const clockProblemMs = 250

func findProblems(regions []regionState) []problem {
	problems := []problem{}
	dead := make(map[string]bool)
	for _, r := range regions {
		if !r.Running {
			dead[string(r.Region)] = true
			problems = append(problems, problem{100, fmt.Sprintf("region %s is down", r.Region), "runbooks/region-failover.md"})
		}
	}
	for _, r := range regions {
		if r.Status == nil {
			continue
		}
		if !r.Status.Ready {
			problems = append(problems, problem{90, fmt.Sprintf("region %s is not ready: %s", r.Region, r.Status.NotReady), "runbooks/region-failover.md"})
		}
		if c := r.Status.Clock; r.Status.Ready && c.AheadMs != nil && math.Abs(*c.AheadMs) > clockProblemMs {
			problems = append(problems, problem{65, fmt.Sprintf("the clock of %s is %+.0f ms off the others'", r.Region, *c.AheadMs), "runbooks/region-failover.md"})
		}
		problems = append(problems, serviceProblems(r)...)
		problems = append(problems, certificateProblems(r, time.Now())...)
		if redis := r.Status.Redis; redis != nil && !redis.Up {
			problems = append(problems, problem{55, fmt.Sprintf("the Redis of %s is lost, and the region goes on without it: %s", r.Region, redis.Error), "runbooks/redis-lost.md"})
		}
		if r.Status.DeadLetters > 0 {
			problems = append(problems, problem{70, fmt.Sprintf("region %s holds %d dead letters", r.Region, r.Status.DeadLetters), "runbooks/region-return.md"})
		}
		for peer, p := range r.Status.Peers {
			if !p.Up && !dead[string(peer)] {
				problems = append(problems, problem{60, fmt.Sprintf("%s cannot reach %s: %s", r.Region, peer, p.LastError), "runbooks/region-return.md"})
			}
		}
		for peer, s := range r.Status.Streams.To {
			problems = append(problems, outboxProblems(r.Region, peer, s)...)
			if lag := time.Duration(s.LagSeconds * float64(time.Second)); lag > lagProblem && !dead[string(peer)] {
				problems = append(problems, problem{50, fmt.Sprintf("%s has %d ops for %s, the oldest %s old", r.Region, s.Depth, peer, lag.Round(time.Second)), "runbooks/region-return.md"})
			}
		}
	}
	slices.SortStableFunc(problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(b.Rank, a.Rank), strings.Compare(a.Text, b.Text))
	})
	return problems
}

// The shares of its budget from which who writes to a region is slowed, and refused.
const (
	outboxSlow   = 0.70
	outboxRefuse = 0.95
)

// outboxProblems are of what waits for one region for long, or is much.
func outboxProblems(region, peer chat.Region, s messages.RelayStatus) []problem {
	var found []problem
	if s.OutboxRatio >= outboxSlow {
		rank, what := 65, "who writes to its people is slowed"
		if s.OutboxRatio >= outboxRefuse {
			rank, what = 85, "who writes to its people is refused"
		}
		found = append(found, problem{rank, fmt.Sprintf("%s owes %s %d bytes, %.0f %% of limits.outbox_bytes: %s", region, peer, s.OutboxBytes, 100*s.OutboxRatio, what), "runbooks/outbox-full.md"})
	}
	if s.Expiring {
		age := time.Duration(s.OldestSeconds * float64(time.Second)).Round(time.Minute)
		found = append(found, problem{80, fmt.Sprintf("%s owes %s ops that are %s old; retention.op_log is nearly over", region, peer, age), "runbooks/outbox-full.md"})
	}
	return found
}

// exit tells scripts: 3 when anything is wrong.
func (r statusReport) exit() error {
	if len(r.Problems) > 0 {
		return &exitError{code: exitDegraded}
	}
	return nil
}

func (r statusReport) print(w io.Writer) {
	if len(r.Problems) == 0 {
		fmt.Fprintln(w, "All regions serve; nothing waits.")
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "! %s\n    -> %s\n", p.Text, p.Runbook)
	}
	fmt.Fprintf(w, "\n%-10s %-8s %8s %7s %9s  %-42s %s\n", "REGION", "STATE", "UP", "SOCKETS", "CLOCK", "LINKS (rtt ms, ops waiting, lag, of budget)", "ZONES (max level)")
	for _, s := range r.Regions {
		if s.Status == nil {
			fmt.Fprintf(w, "%-10s %-8s\n", s.Region, "DEAD")
			continue
		}
		fmt.Fprintf(w, "%-10s %-8s %8s %7d %9s  %-42s %s\n", s.Region, s.state(), s.Status.UpFor, s.Status.Sockets, s.clock(), s.links(), s.zones())
	}
	r.printNodes(w)
	for _, s := range r.Regions {
		if s.Status != nil && s.Status.Drain != nil {
			fmt.Fprintf(w, "\n%s\n", drainLine(s.Region, *s.Status.Drain, time.Now()))
		}
	}
	forced := make(map[chat.Region]chat.Force)
	for _, s := range r.Regions {
		if s.Status != nil {
			maps.Copy(forced, s.Status.Forced)
		}
	}
	for _, region := range slices.Sorted(maps.Keys(forced)) {
		fmt.Fprintf(w, "\n%s\n", forceLine(region, forced[region]))
	}
}

// state says in a word how the region is.
func (s regionState) state() string {
	switch {
	case !s.Status.Ready:
		return "SICK"
	case s.Status.Drain != nil:
		return "draining"
	}
	return "serving"
}

// clock tells how far the region's clock is ahead of the others'.
func (s regionState) clock() string {
	if ahead := s.Status.Clock.AheadMs; ahead != nil {
		return fmt.Sprintf("%+.0f ms", *ahead)
	}
	return s.Status.Clock.Standing
}

func (s regionState) links() string {
	var out []string
	for peer, p := range s.Status.Peers {
		if !p.Up {
			out = append(out, string(peer)+" DOWN")
			continue
		}
		to := s.Status.Streams.To[peer]
		out = append(out, fmt.Sprintf("%s %.0f/%d/%.1fs/%.0f%%", peer, p.RTTms, to.Depth, to.LagSeconds, 100*to.OutboxRatio))
	}
	slices.Sort(out)
	return strings.Join(out, "  ")
}

func (s regionState) zones() string {
	var out []string
	for zone, rpo := range s.Status.Zones {
		out = append(out, fmt.Sprintf("%s(%s)", zone, rpo.MaxLevel))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
