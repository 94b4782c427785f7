package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	regionnode "meridian/region-node"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/learned"
	"meridian/router/simulate"
)

// Words for --at and --population.
const (
	atPeak          = "peak"
	atNow           = "now"
	populationTable = "table"
	populationLive  = "live"
	// peakShare is the peak that is assumed where no node is asked: the share of the capacity under which no region sheds load.
	peakShare = 0.70
)

type simulateFlags struct {
	data, file, population, at string
	down                       []string
	asJSON                     bool
	rows                       int
}

func simulateCommand() *cobra.Command {
	var f simulateFlags
	cmd := &cobra.Command{
		Use: "simulate --down REGION[,REGION]", Short: "Say what the loss of regions would do: who moves where, added round trips, load, room",
		Long: `Say what the loss of regions would do, by the decision that DNS, discovery and the edge ask, with what was learned (router.learned.file): who would move where, by country, how
much longer their round trips would be, what load each region would have against its capacity_sockets, and whom nobody could serve.

--population says who the people are:
  table   ` + simulate.TableRule + ` (the default: it knows networks, not people)
  live    the sockets that the nodes have now, by country and home zone
  FILE    rows where,share or where,share,zone; where is a country's two letters, an address or a network
--at says how many sockets they have:
  peak    with live the most that the nodes have had since they started, else 70 % of the capacity of all regions; where one has
          no capacity, figures are percent
  now     with live: those that there are
  N       so many

Exit code 3 means that a region would get too much, or that a zone could not be reached.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := f.run(cmd.Context())
			if err != nil {
				return failed(err)
			}
			if f.asJSON {
				err = printJSON(cmd.OutOrStdout(), report)
			} else {
				printSimulation(cmd.OutOrStdout(), report, f.rows)
			}
			if err == nil && len(report.Problems) > 0 {
				return &exitError{code: exitDegraded}
			}
			return err
		},
	}
	cmd.Flags().StringSliceVar(&f.down, "down", nil, "the regions that would be lost")
	cmd.Flags().StringVar(&f.at, "at", atPeak, "how many sockets: peak, now or a number")
	cmd.Flags().StringVar(&f.population, "population", populationTable, "who the people are: table, live or a CSV file")
	cmd.Flags().StringVar(&f.data, "data", "data", "directory of the local deployment, for --population live")
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file; default: the built-in one")
	cmd.Flags().IntVar(&f.rows, "rows", 20, "how many of the moves to print; 0: all")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	_ = cmd.MarkFlagRequired("down") // the flag exists
	return cmd
}

func (f *simulateFlags) run(ctx context.Context) (*simulate.Report, error) {
	cfg := config.Default()
	if f.file != "" {
		var err error
		if cfg, err = config.Load(f.file); err != nil {
			return nil, err
		}
	}
	world, err := geo.World()
	if err != nil {
		return nil, err
	}
	model, err := decide.NewModel(cfg, world)
	if err != nil {
		return nil, err
	}
	data, err := geo.Open(cfg.Router, time.Now())
	if err != nil {
		return nil, err
	}
	set, err := learned.Open(cfg.Router.Learned, model, time.Now())
	if err != nil {
		return nil, err
	}
	q := simulate.Question{Model: model, Topology: cfg.Topology(), Regions: cfg.Regions, People: simulate.FromTable(data, set, cfg.HomeZones)}
	for _, r := range f.down {
		q.Down = append(q.Down, chat.Region(r))
	}
	if err := f.people(ctx, cfg, &q); err != nil {
		return nil, err
	}
	return simulate.Run(q)
}

// people fills in who the people are, and how many.
func (f *simulateFlags) people(ctx context.Context, cfg *config.Config, q *simulate.Question) error {
	now, peak := 0, 0
	switch f.population {
	case populationTable:
	case populationLive:
		all, err := findAdmins(f.data, f.file)
		if err != nil {
			return err
		}
		if now, peak, err = live(ctx, all, q); err != nil {
			return err
		}
	default:
		file, err := os.Open(f.population)
		if err != nil {
			return &exitError{code: exitUsage, what: "--population: " + err.Error(), next: "meridian simulate --help"}
		}
		defer file.Close()
		q.People = q.People.With("the file " + f.population)
		if err := q.People.ReadCSV(file, q.Topology); err != nil {
			return err
		}
	}
	var err error
	q.Sockets, err = f.sockets(cfg, now, peak)
	return err
}

// sockets reads --at.
func (f *simulateFlags) sockets(cfg *config.Config, now, peak int) (float64, error) {
	switch {
	case f.at == atNow && f.population != populationLive:
		return 0, &exitError{code: exitUsage, what: "--at now needs --population live", next: "meridian simulate --help"}
	case f.at == atNow:
		return float64(now), nil
	case f.at == atPeak && f.population == populationLive:
		return float64(peak), nil
	case f.at == atPeak:
		all := 0
		for _, r := range cfg.Regions {
			if r.CapacitySockets == 0 {
				return 0, nil
			}
			all += r.CapacitySockets
		}
		return peakShare * float64(all), nil
	}
	n, err := strconv.ParseUint(f.at, 10, 40)
	if err != nil || n == 0 {
		return 0, &exitError{code: exitUsage, what: fmt.Sprintf("--at %q is not peak, now or a number of sockets", f.at), next: "meridian simulate --help"}
	}
	return float64(n), nil
}

// live makes the population that of the nodes' sockets.
func live(ctx context.Context, all []regionAdmins, q *simulate.Question) (now, peak int, err error) {
	people := q.People.With("the sockets that the nodes have now, by country and home zone")
	for _, a := range all {
		for _, base := range a.bases {
			var p regionnode.Population
			if err := callAdmin(ctx, base+"/v1/admin/population", a.token, http.MethodGet, &p); err != nil {
				return 0, 0, fmt.Errorf("%s: %w", a.region, err)
			}
			now, peak = now+p.Now, peak+p.Peak
			for _, g := range p.People {
				people.Add(g.Country, g.Zone, float64(g.Sockets))
			}
		}
	}
	if now == 0 {
		return 0, 0, &exitError{code: exitFailed, what: "no node has a socket now: there is no population", next: "meridian simulate --population table"}
	}
	q.People = people
	return now, peak, nil
}

// printSimulation prints a report as tables, the largest moves first.
func printSimulation(w io.Writer, r *simulate.Report, rows int) {
	unit := "sockets"
	if r.Percent {
		unit = "% of all people"
	}
	fmt.Fprintf(w, "%v down, %s %s\n%s\n", r.Down, amount(r, r.Sockets), unit, r.Source)
	fmt.Fprintf(w, "\n%-14s %10s %10s %10s %7s %10s\n", "REGION", "BEFORE", "AFTER", "CAPACITY", "LOAD", "ROOM LEFT")
	for _, l := range r.Regions {
		capacity, load, room := "-", "-", "-"
		if l.Capacity > 0 && !r.Percent && !l.Down {
			capacity, load, room = strconv.Itoa(l.Capacity), fmt.Sprintf("%.0f %%", 100*l.After/float64(l.Capacity)), fmt.Sprintf("%.0f", l.Headroom)
		}
		name := string(l.Region)
		if l.Down {
			name += " DOWN"
		}
		fmt.Fprintf(w, "%-14s %10s %10s %10s %7s %10s\n", name, amount(r, l.Before), amount(r, l.After), capacity, load, room)
	}
	fmt.Fprintf(w, "\n%s %s move; their round trips get longer by %.0f ms (half of them at most), %.0f ms (95 %%), %.0f ms (all)\n", amount(r, r.Moved), unit, r.AddedMs.P50, r.AddedMs.P95, r.AddedMs.Max)
	if len(r.Moves) > 0 {
		fmt.Fprintf(w, "\n%-8s %-10s %-14s %-14s %10s %9s\n", "COUNTRY", "ZONE", "FROM", "TO", "HOW MANY", "ADDED MS")
	}
	for i, m := range r.Moves {
		if i == rows && rows > 0 {
			fmt.Fprintf(w, "… and %d more (--rows 0 prints all)\n", len(r.Moves)-rows)
			break
		}
		to, added := string(m.To), fmt.Sprintf("%+.0f", m.AddedMs)
		if m.To == "" {
			to, added = "NOBODY", "-"
		}
		fmt.Fprintf(w, "%-8s %-10s %-14s %-14s %10s %9s\n", orDash(m.Country), m.Zone, m.From, to, amount(r, m.Sockets), added)
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(w, "! %s\n", problem)
	}
	fmt.Fprintf(w, "%s (%s)\n", decide.Attribution, decide.AttributionURL)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// amount prints sockets, or percent with two digits.
func amount(r *simulate.Report, v float64) string {
	if r.Percent {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
