package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// benchFlags are the choices of one benchmark; docs/benchmarks.md says what they mean.
type benchFlags struct {
	scenarios []string
	pairs     int
	idle      int
	rate      int
	textBytes int
	seconds   int
	rounds    int
	json      bool
	profile   string
	stores    string
}

var benchScenarios = []string{"sat", "rate", "idle", "read"}

func benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure one region, beside a bare relay",
		Long: `Measure one region: messages/s at saturation (sat), latencies at a fixed rate (rate), memory of idle connections (idle) and pages
read through the caches (read); on the embedded store, or with --stores real on a Cassandra and a Redis that are started for the run. The region is a process of its own, held to one core where taskset is there; the load comes from this
process. A bare relay that only syncs one row and passes the message on is measured in the same run: figures of two machines
do not compare, their ratios to this floor do. docs/benchmarks.md explains; nothing is written outside a temporary directory.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.stores == storesReal {
				f.ease(cmd.Flags().Changed)
			}
			return failed(runBench(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	cmd.Flags().StringSliceVar(&f.scenarios, "scenario", benchScenarios, "what to measure")
	cmd.Flags().IntVar(&f.pairs, "pairs", 500, fmt.Sprintf("pairs of connections that write to each other; on real stores %d", realPairs))
	cmd.Flags().IntVar(&f.idle, "idle", 5000, "idle connections")
	cmd.Flags().IntVar(&f.rate, "rate", 2000, fmt.Sprintf("messages per second of scenario rate, over all senders; on real stores %d", realRate))
	cmd.Flags().IntVar(&f.textBytes, "text-bytes", 200, "length of a text")
	cmd.Flags().IntVar(&f.seconds, "seconds", 5, "how long sat and rate measure, after a warm-up")
	cmd.Flags().IntVar(&f.rounds, "rounds", 1, "how often everything is measured; the ratios are of medians")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON document instead of a table")
	cmd.Flags().StringVar(&f.stores, "stores", storesEmbedded, "embedded, or real: a Cassandra of one node and a Redis")
	cmd.Flags().StringVar(&f.profile, "profile", "", "file for a CPU profile of the region at saturation")
	cmd.AddCommand(benchFloorCommand())
	return cmd
}

// What --stores real does where nothing was chosen: a Cassandra of one node on the cores of this machine writes some hundred messages a
// second. With more senders, or more a second, the queue before it would be measured.
const (
	realPairs = 20
	realRate  = 40
)

// ease chooses so, for the flags that were not given.
func (f *benchFlags) ease(given func(flag string) bool) {
	if !given("pairs") {
		f.pairs = realPairs
	}
	if !given("rate") {
		f.rate = realRate
	}
}

// check refuses choices that cannot be measured.
func (f benchFlags) check() error {
	for _, s := range f.scenarios {
		if !slices.Contains(benchScenarios, s) {
			return &exitError{code: exitUsage, what: fmt.Sprintf("%q is no scenario; known: %v", s, benchScenarios)}
		}
	}
	if f.stores != storesEmbedded && f.stores != storesReal {
		return &exitError{code: exitUsage, what: fmt.Sprintf("--stores %q is not known; allowed: %s, %s", f.stores, storesEmbedded, storesReal)}
	}
	if f.stores == storesReal && f.rounds != 1 {
		return &exitError{code: exitUsage, what: "--stores real measures one round: the accounts of the first would stand in the way of the second"}
	}
	for _, n := range []struct {
		name         string
		value, least int
		most         int
	}{
		{"pairs", f.pairs, 1, 30_000},
		{"idle", f.idle, 1, 60_000},
		{"rate", f.rate, 1, 1_000_000},
		{"text-bytes", f.textBytes, 1, 16 << 10},
		{"seconds", f.seconds, 1, 600},
		{"rounds", f.rounds, 1, 100},
	} {
		if n.value < n.least || n.value > n.most {
			return &exitError{code: exitUsage, what: fmt.Sprintf("--%s must be from %d to %d", n.name, n.least, n.most)}
		}
	}
	return nil
}

// benchRun is one measurement of one server.
type benchRun struct {
	Server    string  `json:"server"` // meridian or floor
	Scenario  string  `json:"scenario"`
	PerSecond float64 `json:"messages_per_second,omitempty"`
	// CPUPerMillion is CPU time of the server for a million messages, in seconds; Busy is its share of one core.
	CPUPerMillion float64 `json:"cpu_s_per_million,omitempty"`
	Busy          float64 `json:"server_busy,omitempty"`
	// CassandraPerMillion and RedisPerMillion are theirs, with --stores real.
	CassandraPerMillion float64 `json:"cassandra_cpu_s_per_million,omitempty"`
	RedisPerMillion     float64 `json:"redis_cpu_s_per_million,omitempty"`
	// Cache says where the reads of scenario read found what they asked for.
	Cache        []benchCache    `json:"cache,omitempty"`
	Delivered    *benchLatencies `json:"send_to_delivered_ms,omitempty"`
	Acked        *benchLatencies `json:"send_to_ack_ms,omitempty"`
	IdleConns    int             `json:"idle_connections,omitempty"`
	BytesPerConn float64         `json:"bytes_per_idle_connection,omitempty"`
	// Sent counts all of a run, Lost, Repeated and Disordered what the check of every message found, Errors the refusals.
	Sent       int64 `json:"sent,omitempty"`
	Lost       int64 `json:"lost"`
	Repeated   int64 `json:"repeated"`
	Disordered int64 `json:"disordered"`
	Errors     int64 `json:"errors"`
	// FirstError is one of the refusals, in the server's words.
	FirstError string `json:"first_error,omitempty"`
}

// valid says whether the figures count.
func (r *benchRun) valid() bool {
	return r.Lost == 0 && r.Repeated == 0 && r.Disordered == 0 && r.Errors == 0 // a repeat makes Lost negative
}

// benchReport is the whole run, as --json prints it.
type benchReport struct {
	Version    string             `json:"version"`
	When       time.Time          `json:"when"`
	Go         string             `json:"go"`
	CPUs       int                `json:"cpus"`
	Pinned     bool               `json:"pinned"`
	Pairs      int                `json:"pairs"`
	TextBytes  int                `json:"text_bytes"`
	Stores     string             `json:"stores"`
	Runs       []benchRun         `json:"runs"`
	FloorRatio map[string]float64 `json:"ratio_to_floor"`
}

func runBench(ctx context.Context, f benchFlags, stdout, stderr io.Writer) error {
	if err := f.check(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "meridian-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{flags: f, dir: dir, log: stderr, pinned: pinSelf(ctx)}
	report := benchReport{
		Version: version, When: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), CPUs: runtime.NumCPU(),
		Pinned: b.pinned, Pairs: f.pairs, TextBytes: f.textBytes, Stores: f.stores,
	}
	if f.stores == storesReal {
		if b.servers, err = b.startServers(ctx); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		defer func() { _ = b.servers.stop() }() // a process that stays is told of by its own watch
	}
	for round := range f.rounds {
		for _, server := range []benchServer{&floorServer{bench: b}, &regionServer{bench: b, round: round}} {
			if err := server.prepare(ctx); err != nil {
				return fmt.Errorf("bench: prepare %s: %w", server.name(), err)
			}
			for _, scenario := range f.scenarios {
				if _, region := server.(*regionServer); scenario == "read" && !region {
					continue // the floor keeps nothing to read
				}
				fmt.Fprintf(stderr, "bench: %s %s …\n", server.name(), scenario)
				run, err := b.measure(ctx, server, scenario)
				if err != nil {
					return fmt.Errorf("bench: %s %s: %w", server.name(), scenario, err)
				}
				report.Runs = append(report.Runs, run)
			}
		}
	}
	report.FloorRatio = floorRatios(report.Runs)
	if f.json {
		err = json.NewEncoder(stdout).Encode(report)
	} else {
		printBench(stdout, &report)
	}
	if slices.ContainsFunc(report.Runs, func(r benchRun) bool { return !r.valid() }) {
		return errors.Join(err, &exitError{code: exitFailed, what: "bench: a run lost, doubled or refused messages: its figures do not count"})
	}
	return err
}

// floorRatios divides what the region does by what the bare relay does, by the medians of all rounds.
func floorRatios(runs []benchRun) map[string]float64 {
	median := func(server, scenario string, of func(*benchRun) float64) float64 {
		var values []float64
		for i := range runs {
			if runs[i].Server == server && runs[i].Scenario == scenario {
				values = append(values, of(&runs[i]))
			}
		}
		if len(values) == 0 {
			return 0
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	ratios := map[string]float64{}
	for _, m := range []struct {
		name, scenario string
		of             func(*benchRun) float64
	}{
		{"sat messages/s", "sat", func(r *benchRun) float64 { return r.PerSecond }},
		{"sat CPU", "sat", func(r *benchRun) float64 { return r.CPUPerMillion }},
		{"rate p50", "rate", func(r *benchRun) float64 { return r.Delivered.P50 }},
		{"rate p99", "rate", func(r *benchRun) float64 { return r.Delivered.P99 }},
		{"idle bytes", "idle", func(r *benchRun) float64 { return r.BytesPerConn }},
	} {
		if floor := median("floor", m.scenario, m.of); floor > 0 {
			ratios[m.name] = median("meridian", m.scenario, m.of) / floor
		}
	}
	return ratios
}
