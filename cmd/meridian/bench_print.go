package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// benchLatencies are milliseconds.
type benchLatencies struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

// latenciesOf sorts the samples; nil when there are none.
func latenciesOf(samples []time.Duration) *benchLatencies {
	if len(samples) == 0 {
		return nil
	}
	slices.Sort(samples)
	at := func(share float64) float64 {
		i := int(math.Ceil(share*float64(len(samples)))) - 1
		return float64(samples[max(i, 0)].Microseconds()) / 1000
	}
	return &benchLatencies{P50: at(0.5), P99: at(0.99), P999: at(0.999), Max: at(1)}
}

func printBench(w io.Writer, r *benchReport) {
	pinned := "server on one core, load on the others"
	if !r.Pinned {
		pinned = "not pinned (taskset or a second core is missing): the load takes from the server"
	}
	fmt.Fprintf(w, "%s, %s, %d CPUs, %s; %d pairs, texts of %d bytes, stores: %s\n\n", r.Version, r.Go, r.CPUs, pinned, r.Pairs, r.TextBytes, r.Stores)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "server\tscenario\tmessages/s\tCPU-s/1M\tCassandra\tRedis\tbusy\tdelivered p50\tp99\tp99.9 ms\tack p50\tp99\tp99.9 ms\tbytes/idle conn\tcheck\t")
	for i := range r.Runs {
		run := &r.Runs[i]
		check := "ok"
		if !run.valid() {
			check = fmt.Sprintf("lost=%d repeated=%d disordered=%d errors=%d %s", run.Lost, run.Repeated, run.Disordered, run.Errors, run.FirstError)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", run.Server, run.Scenario, number(run.PerSecond, "%.0f"), number(run.CPUPerMillion, "%.1f"),
			number(run.CassandraPerMillion, "%.1f"), number(run.RedisPerMillion, "%.1f"), number(100*run.Busy, "%.0f%%"), cells(run.Delivered), cells(run.Acked), number(run.BytesPerConn, "%.0f"), check)
	}
	_ = table.Flush() // whoever reads it has gone
	for i := range r.Runs {
		for _, c := range r.Runs[i].Cache {
			fmt.Fprintf(w, "cache: %s from %s: %d reads, %.1f %%, %.3f ms each\n", c.Class, c.Level, c.Reads, 100*c.Share, c.MeanMs)
		}
	}
	fmt.Fprintln(w, "\nmeridian ÷ floor:")
	for _, name := range slices.Sorted(maps.Keys(r.FloorRatio)) {
		fmt.Fprintf(w, "  %-16s %.2f\n", name, r.FloorRatio[name])
	}
}

func number(v float64, format string) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf(format, v)
}

func cells(l *benchLatencies) string {
	if l == nil {
		return "–\t–\t–"
	}
	return fmt.Sprintf("%.2f\t%.2f\t%.2f", l.P50, l.P99, l.P999)
}
