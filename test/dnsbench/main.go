//go:build linux

// Command dnsbench measures GeoDNS servers beside each other: Meridian, Knot with its geoip module, and gdnsd. They serve the
// same zone from the same address file, each alone on one core, and this program asks all of them the same queries from
// another. scripts/bench-dns.sh runs it; docs/benchmarks.md says what it measures.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// choices are the flags.
type choices struct {
	meridian   string
	servers    string
	serverCore int
	loadCore   int
	rounds     int
	measure    time.Duration
	warmUp     time.Duration
	queries    int
	nice       int
}

func main() {
	var c choices
	flag.StringVar(&c.meridian, "meridian", "bin/meridian", "the program to measure")
	flag.StringVar(&c.servers, "servers", "meridian,knot,gdnsd", "what to measure")
	flag.IntVar(&c.serverCore, "server-core", 0, "core of the server")
	flag.IntVar(&c.loadCore, "load-core", 1, "core of the load")
	flag.IntVar(&c.rounds, "rounds", 3, "how often each server is measured, in turn; the table shows medians")
	flag.DurationVar(&c.measure, "measure", 5*time.Second, "how long one measurement takes")
	flag.DurationVar(&c.warmUp, "warm-up", time.Second, "load before it")
	flag.IntVar(&c.queries, "queries", 20_000, "different queries")
	flag.IntVar(&c.nice, "nice", 0, "priority of load and server, as for nice: on a machine with other work, -19 keeps it away (root only)")
	flag.Parse()
	runtime.LockOSThread() // servers end with the thread that started them
	if err := prefer(c.nice); err != nil {
		fmt.Fprintln(os.Stderr, "dnsbench: -nice:", err)
		os.Exit(1)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "dnsbench:", err)
		os.Exit(1)
	}
}

// prefer gives this process, all that it starts, and the session that the kernel weighs them by, a priority.
func prefer(nice int) error {
	if nice == 0 {
		return nil
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, nice); err != nil { // of the main thread; others are started by it
		return err
	}
	err := os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(nice)), 0)
	if os.IsNotExist(err) { // a kernel that does not group by session
		return nil
	}
	return err
}

func run(ctx context.Context, c choices) error {
	dir, err := os.MkdirTemp("", "dnsbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // servers that give up their rights read in it
		return err
	}
	w, err := newWorld()
	if err != nil {
		return err
	}
	began := time.Now()
	file := filepath.Join(dir, "country.mmdb")
	networks, err := w.writeMMDB(file)
	if err != nil {
		return err
	}
	fmt.Printf("%d networks of %d countries in one MMDB file, written in %.1f s; %d regions\n",
		networks, len(w.countries), time.Since(began).Seconds(), len(w.regions))
	b := &bench{choices: c, dir: dir, file: file, world: w}
	b.asked = []kindOfQueries{
		{name: "ECS", ecs: true},
		{name: "plain"},
		{name: "missing", missing: true},
		{name: "ECS, signed", ecs: true, signed: true},
		{name: "plain, signed", signed: true},
		{name: "missing, signed", missing: true, signed: true},
	}
	for i := range b.asked {
		b.asked[i].packets = makeQueries(w, c.queries, &b.asked[i])
	}
	for _, name := range strings.Split(c.servers, ",") {
		s, ok := knownServers[name]
		if !ok {
			return fmt.Errorf("%q is no server that can be measured", name)
		}
		b.servers = append(b.servers, s(b, false))
		if name != "gdnsd" { // which has no DNSSEC
			b.servers = append(b.servers, s(b, true))
		}
	}
	if err := b.run(ctx); err != nil {
		return err
	}
	b.print(os.Stdout)
	return nil
}
