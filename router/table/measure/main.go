// Command measure compiles address files into the router's tables and says what that costs, and what a decision costs then:
//
//	make bench-geo
//
// It exits with 1 where memory is over its limit or a decision allocates: those do not depend on the machine. Times do, and are
// printed beside their aims: the processor's time, since others may be at work on the machine.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/table"
)

// The limits of a full city database with twelve regions.
const (
	peakAimMB  = 400
	heldMaxMB  = 90
	buildAim   = 10 * time.Second
	ipv4AimNs  = 30
	ipv6AimNs  = 300
	askedAddrs = 1 << 16
)

func main() {
	peakMaxMB := flag.Int("peak", peakAimMB, "memory in MB that the process may need at most")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: measure [-peak MB] MMDB...")
		os.Exit(2)
	}
	over, err := run(flag.Args(), *peakMaxMB)
	if err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
	for _, what := range over {
		fmt.Println("OVER:", what)
	}
	if len(over) > 0 {
		os.Exit(1)
	}
}

func run(files []string, peakMaxMB int) (over []string, err error) {
	cfg, model, err := twelve()
	if err != nil {
		return nil, err
	}
	cfg.Router.GeoFiles = files
	before := heap()
	done := geo.Frugal(cfg.Router)
	began, cpu := time.Now(), cpuTime()
	data, err := geo.Open(cfg.Router, began)
	if err != nil {
		return nil, err
	}
	placed := cpuTime() - cpu
	live, err := table.New(model, data, nil)
	if err != nil {
		return nil, err
	}
	compiled, wall := cpuTime()-cpu, time.Since(began)
	done()
	peak, err := peakMB()
	if err != nil {
		return nil, err
	}
	held := (heap() - before) / 1e6
	v4, v6 := data.Set().Len()
	fmt.Printf("%s\n%d places, %d ranges of IPv4, %d of IPv6, %d rankings of %d regions\n\n", data.Edition(), data.Count(), v4, v6,
		live.Rankings(), len(model.Regions()))
	row("compile the places", placed.Round(time.Millisecond), "")
	row("and the rankings", compiled.Round(time.Millisecond), fmt.Sprintf("aim %v; %v by the clock", buildAim, wall.Round(time.Millisecond)))
	row("peak memory of the process", fmt.Sprint(peak, " MB"), fmt.Sprint("at most ", peakMaxMB, " MB"))
	row("held by both tables", fmt.Sprintf("%.1f MB", held), fmt.Sprint("at most ", heldMaxMB, " MB"))
	if peak > peakMaxMB {
		over = append(over, fmt.Sprintf("peak memory %d MB", peak))
	}
	if held > heldMaxMB {
		over = append(over, fmt.Sprintf("memory held %.1f MB", held))
	}
	over = append(over, decisions(live)...)
	if peak, err = swap(live, cfg, peakMaxMB); peak > peakMaxMB {
		over = append(over, fmt.Sprintf("peak memory %d MB in a swap", peak))
	}
	return over, err
}

func row(what string, is any, aim string) { fmt.Printf("%-34s %12v   %s\n", what, is, aim) }

// twelve gives a region at every network point.
func twelve() (*config.Config, *decide.Model, error) {
	world, err := geo.World()
	if err != nil {
		return nil, nil, err
	}
	cfg := &config.Config{}
	for _, p := range world.Points {
		cfg.Regions = append(cfg.Regions, config.Region{Name: chat.Region(p.Name), Latitude: p.Latitude, Longitude: p.Longitude})
	}
	model, err := decide.NewModel(cfg, world)
	return cfg, model, err
}

// decisions measures look-ups of addresses spread over all that is allocated.
func decisions(live *table.Live) (over []string) {
	live.SetStates(decide.States{"sa-east-1": {Health: decide.HealthDown}, "eu-west-1": {Draining: true}})
	rng := rand.New(rand.NewPCG(1, 2))
	for _, family := range []struct {
		name string
		aim  int
		next func() netip.Addr
	}{{"IPv4", ipv4AimNs, func() netip.Addr { return randomIPv4(rng) }}, {"IPv6", ipv6AimNs, func() netip.Addr { return randomIPv6(rng) }}} {
		asked := make([]netip.Addr, askedAddrs)
		for i := range asked {
			asked[i] = family.next()
		}
		var room [chat.MaxRegions]uint8
		i := 0
		decideOne := func() {
			live.Answer(room[:0], table.General, asked[i&(askedAddrs-1)])
			i++
		}
		allocs := testing.AllocsPerRun(askedAddrs, decideOne)
		row("decision, "+family.name, fmt.Sprintf("%.1f ns", perCall(20_000_000, decideOne)),
			fmt.Sprintf("aim %d ns; %.0f allocations, must be 0", family.aim, allocs))
		if allocs > 0 {
			over = append(over, family.name+": a decision allocates")
		}
	}
	states := [2]decide.States{{"us-east-1": {Health: decide.HealthDown}}, {}}
	i := 0
	row("change of health", fmt.Sprintf("%.1f µs", perCall(20_000, func() { live.SetStates(states[i&1]); i++ })/1e3), "")
	return over
}

// perCall gives nanoseconds of the processor for a call of f.
func perCall(n int, f func()) float64 {
	began := cpuTime()
	for range n {
		f()
	}
	return float64(cpuTime()-began) / float64(n)
}

// cpuTime is what the process has had of the processor so far.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil { // no such system: by the clock
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func randomIPv4(rng *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(1 + rng.IntN(223)), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
}

// randomIPv6 gives addresses where most of IPv6 is allocated.
func randomIPv6(rng *rand.Rand) netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	b[0] = []byte{0x20, 0x24, 0x26, 0x28, 0x2a, 0x2c}[rng.IntN(6)]
	b[1] &= 0x0f
	return netip.AddrFrom16(b)
}

// swap measures what a router does when a file has changed while it serves, and gives the peak of memory.
func swap(live *table.Live, cfg *config.Config, peakMaxMB int) (peak int, err error) {
	defer geo.Frugal(cfg.Router)()
	cpu := cpuTime()
	data, err := geo.Open(cfg.Router, time.Now())
	if err != nil {
		return 0, err
	}
	if err := geo.CheckSwap(live.Model(), live.Data(), data, nil, 0); err != nil {
		return 0, err
	}
	if err := live.Replace(live.Model(), data, nil); err != nil {
		return 0, err
	}
	if peak, err = peakMB(); err != nil {
		return 0, err
	}
	row("swap of the files while serving", (cpuTime() - cpu).Round(time.Millisecond), fmt.Sprint("peak ", peak, " MB with both in memory, at most ", peakMaxMB, " MB"))
	return peak, nil
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// peakMB is the most memory that the process has had so far.
func peakMB() (int, error) {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(raw, []byte("VmHWM:"))
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	kB, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	return kB / 1000, err
}
