//go:build linux

// Command edgebench measures what it costs that a socket ends in a region where its person is not at home: memory and file
// descriptors of the edge's node per idle socket, and the time that the way over the backbone adds to a round trip, beside HAProxy
// before the home region. scripts/bench-edge.sh runs it; docs/benchmarks.md says what it measures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// choices are the flags.
type choices struct {
	meridian string
	haproxy  string
	idle     int
	clients  int
	rounds   int
	measure  time.Duration
	settle   time.Duration
}

func main() {
	var c choices
	flag.StringVar(&c.meridian, "meridian", "bin/meridian", "the program to measure")
	flag.StringVar(&c.haproxy, "haproxy", "haproxy", "HAProxy; empty: without it")
	flag.IntVar(&c.idle, "idle", 2000, "idle sockets")
	flag.IntVar(&c.clients, "clients", 64, "clients at once, beside the measurement with one")
	flag.IntVar(&c.rounds, "rounds", 3, "how often each way is measured, in turn; the table is over all of them")
	flag.DurationVar(&c.measure, "measure", 3*time.Second, "how long one measurement takes")
	flag.DurationVar(&c.settle, "settle", 8*time.Second, "pause before memory is read")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "edgebench:", err)
		os.Exit(1)
	}
}

// way is one way to the home region.
type way struct {
	name string
	at   string // host:port
	pid  int    // of the process in between; 0 for none
}

func run(ctx context.Context, c choices) (err error) {
	dir, err := os.MkdirTemp("", "edgebench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f, err := startFleet(ctx, dir, c)
	if err != nil {
		return err
	}
	defer f.stop()
	ways := []way{{name: "direct", at: f.home.at}, {name: "through another region", at: f.edge.at, pid: f.edge.pid()}}
	if f.haproxy != nil {
		ways = append(ways, way{name: "through HAProxy (tcp)", at: f.haproxy.at, pid: f.haproxy.pid()})
	}
	if err := printIdle(ctx, c, f, ways); err != nil {
		return err
	}
	return printTrips(ctx, c, f, ways)
}

func printIdle(ctx context.Context, c choices, f *fleet, ways []way) error {
	fmt.Printf("%d idle sockets:\n\n| way | user memory of the process in between, per socket | its file descriptors, per socket |\n| --- | --- | --- |\n", c.idle)
	for _, w := range ways {
		if w.pid == 0 {
			continue
		}
		cost, err := measureIdle(ctx, c, f, w)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.1f kB | %.2f |\n", w.name, cost.bytes/1000, cost.files)
	}
	return nil
}

// perSocket is what an idle socket costs the process in between.
type perSocket struct{ bytes, files float64 }

func measureIdle(ctx context.Context, c choices, f *fleet, w way) (cost perSocket, err error) {
	// A first socket brings up what all of them share.
	first, err := f.open(w.at, 0)
	if err != nil {
		return cost, err
	}
	defer first.close()
	if err := pause(ctx, c.settle); err != nil {
		return cost, err
	}
	before, err := usageOf(w.pid)
	if err != nil {
		return cost, err
	}
	var open []*socket
	defer func() {
		for _, s := range open {
			s.close()
		}
	}()
	for i := range c.idle {
		s, err := f.open(w.at, i)
		if err != nil {
			return cost, fmt.Errorf("socket %d %s: %w", i, w.name, err)
		}
		open = append(open, s)
	}
	if err := pause(ctx, c.settle); err != nil {
		return cost, err
	}
	after, err := usageOf(w.pid)
	n := float64(c.idle)
	return perSocket{bytes: float64(after.bytes-before.bytes) / n, files: float64(after.files-before.files) / n}, err
}

// trips are round trips of one way: of one client alone, and of many.
type trips struct {
	alone, many []time.Duration
	took        time.Duration // of many
}

func printTrips(ctx context.Context, c choices, f *fleet, ways []way) error {
	all := make([]trips, len(ways))
	for range c.rounds {
		for i, w := range ways {
			alone, _, err := roundTrips(ctx, f, w, 1, c.measure)
			if err != nil {
				return err
			}
			many, took, err := roundTrips(ctx, f, w, c.clients, c.measure)
			if err != nil {
				return err
			}
			t := &all[i]
			t.alone, t.many, t.took = append(t.alone, alone...), append(t.many, many...), t.took+took
		}
	}
	fmt.Printf("\nround trips (ping, pong from the home region):\n\n| way | 1 client: p50 | added | p99 | %d clients: round trips/s | p50 | p99 |\n| --- | --- | --- | --- | --- | --- | --- |\n", c.clients)
	direct := time.Duration(0)
	for i, w := range ways {
		t := all[i]
		if len(t.alone) == 0 || len(t.many) == 0 {
			return errors.New("nothing was measured " + w.name)
		}
		slices.Sort(t.alone)
		slices.Sort(t.many)
		p50 := quantile(t.alone, 0.5)
		if i == 0 {
			direct = p50
		}
		fmt.Printf("| %s | %d µs | %d µs | %d µs | %.0f | %.2f ms | %.2f ms |\n", w.name, p50.Microseconds(), (p50 - direct).Microseconds(),
			quantile(t.alone, 0.99).Microseconds(), float64(len(t.many))/t.took.Seconds(), ms(quantile(t.many, 0.5)), ms(quantile(t.many, 0.99)))
	}
	return nil
}

// quantile is of sorted values.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
