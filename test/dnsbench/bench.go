//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"meridian/chat"
)

// bench is one run.
type bench struct {
	choices
	dir     string
	file    string // the address file
	world   *world
	asked   []kindOfQueries
	servers []*server
	figures map[string][]figure // by server and kind of queries
}

type kindOfQueries struct {
	name    string
	ecs     bool // each for a client's subnet
	missing bool // for names that do not exist
	signed  bool // with DO, asked of servers whose zone is signed
	packets [][]byte
}

// wanted is what a right answer has.
func (k *kindOfQueries) wanted() wanted {
	switch {
	case k.missing && k.signed:
		return wanted{rcode: dns.RcodeNameError, authority: 4} // SOA and NSEC with their signatures, at least
	case k.missing:
		return wanted{rcode: dns.RcodeNameError, authority: 1}
	case k.signed:
		return wanted{answer: 2} // and its signature
	}
	return wanted{answer: 1}
}

// figure is one measurement.
type figure struct {
	load
	seconds float64
	cpu     float64 // seconds of the server
	allocs  float64 // of the server; -1 for unknown
}

func (f figure) perSecond() float64     { return float64(f.answered) / f.seconds }
func (f figure) cpuMicros() float64     { return f.cpu * 1e6 / float64(f.answered) }
func (f figure) busy() float64          { return f.cpu / f.seconds }
func (f figure) allocsEach() float64    { return f.allocs / float64(f.answered) }
func key(server, kind string) string    { return server + " " + kind }
func (b *bench) say(f string, a ...any) { fmt.Printf(f, a...) }

// saturated is how busy a server must be for its queries/s to be its own, not the load's.
const saturated = 0.80

// samples is how many of each server's answers are compared with the decision.
const samples = 1000

func (b *bench) run(ctx context.Context) error {
	b.figures = map[string][]figure{}
	for round := range b.rounds {
		for _, s := range b.servers {
			p, err := b.start(ctx, s)
			if err != nil {
				return err
			}
			err = b.measureAll(ctx, s, p, round == 0)
			p.stop()
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

func (b *bench) measureAll(ctx context.Context, s *server, p *process, first bool) error {
	for _, kind := range b.asked {
		if kind.signed != s.signed {
			continue
		}
		if first && kind.ecs {
			if err := b.compare(p.at, &kind); err != nil {
				return err
			}
		}
		f, err := b.measureOne(ctx, s, p, &kind)
		if err != nil {
			return err
		}
		b.figures[key(s.name, kind.name)] = append(b.figures[key(s.name, kind.name)], f)
		b.say("%-9s %-15s %7.0f queries/s, %5.2f µs of CPU each, server %3.0f %% busy, %d lost, %d wrong\n",
			s.name, kind.name, f.perSecond(), f.cpuMicros(), f.busy()*100, f.lost, f.wrong)
	}
	return ctx.Err()
}

// measureOne loads a server, first to warm it up and then to measure it.
func (b *bench) measureOne(ctx context.Context, s *server, p *process, kind *kindOfQueries) (figure, error) {
	if err := b.load(ctx, p.at, kind.packets, b.warmUp, &load{want: kind.wanted()}); err != nil {
		return figure{}, err
	}
	f := figure{allocs: -1, load: load{want: kind.wanted()}}
	allocsBefore, err := s.allocs()
	if err != nil {
		return f, err
	}
	cpuBefore, err := cpuOf(p.cmd.Process.Pid)
	if err != nil {
		return f, err
	}
	began := time.Now()
	if err := b.load(ctx, p.at, kind.packets, b.measure, &f.load); err != nil {
		return f, err
	}
	f.seconds = time.Since(began).Seconds()
	cpuAfter, err := cpuOf(p.cmd.Process.Pid)
	if err != nil {
		return f, err
	}
	f.cpu = cpuAfter - cpuBefore
	allocsAfter, err := s.allocs()
	if s.metrics != "" {
		f.allocs = allocsAfter - allocsBefore
	}
	return f, err
}

// load runs the generator on its core for some time.
func (b *bench) load(ctx context.Context, at netip.AddrPort, queries [][]byte, d time.Duration, l *load) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and let it end with this goroutine, pinned as it is
		var cores unix.CPUSet
		cores.Set(b.loadCore)
		if err := unix.SchedSetaffinity(0, &cores); err != nil {
			failed <- err
			return
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), b.nice); err != nil {
			failed <- err
			return
		}
		failed <- runLoad(ctx, at, queries, l)
	}()
	return <-failed
}

// cpuOf gives the processor time that a process has used, in seconds.
func cpuOf(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:]) // from field 3 on
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has another form", pid)
	}
	ticks := 0
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(string(f))
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	const perSecond = 100 // USER_HZ, on every Linux there is
	return float64(ticks) / perSecond, nil
}

// allocs asks a server how often it has allocated memory.
func (s *server) allocs() (float64, error) {
	if s.metrics == "" {
		return 0, nil
	}
	resp, err := http.Get(s.metrics)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, "go_memstats_mallocs_total "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("%s does not tell the number of allocations", s.metrics)
}

// compare asks some of the queries, and fails where an answer does not name the region which the decision gives to the subnet's
// country, or its signature is not good: servers that answer something else are not compared.
func (b *bench) compare(at netip.AddrPort, kind *kindOfQueries) error {
	var zoneKeys []*dns.DNSKEY
	if kind.signed {
		var err error
		if zoneKeys, err = askKeys(at); err != nil {
			return err
		}
	}
	for _, raw := range kind.packets[:min(samples, len(kind.packets))] {
		out, err := askOnce(at, raw)
		if err != nil {
			return err
		}
		q, m := new(dns.Msg), new(dns.Msg)
		if err := q.Unpack(raw); err != nil {
			return err
		}
		if err := m.Unpack(out); err != nil {
			return fmt.Errorf("the answer to %v cannot be read: %w", q, err)
		}
		if len(m.Answer) != int(kind.wanted().answer) {
			return fmt.Errorf("a strange answer to %v: %v", q, m)
		}
		subnet, _ := netip.AddrFromSlice(q.IsEdns0().Option[0].(*dns.EDNS0_SUBNET).Address)
		place, _ := b.world.data.Lookup(subnet.Unmap())
		var got string
		switch rr := m.Answer[0].(type) {
		case *dns.A:
			got = rr.A.String()
		case *dns.AAAA:
			got = rr.AAAA.String()
		}
		if want := b.world.countries[place.Country][0]; !slices.Contains(b.world.addresses(want), got) {
			return fmt.Errorf("%s of %s is answered %s, which is not in %s", subnet, place.Country, got, want)
		}
		if kind.signed && !verified(m.Answer, zoneKeys) {
			return fmt.Errorf("the signature of %v is not good", m)
		}
	}
	return nil
}

// askKeys gives the keys of a server's zone.
func askKeys(at netip.AddrPort) (out []*dns.DNSKEY, err error) {
	query, err := new(dns.Msg).SetQuestion(domain+".", dns.TypeDNSKEY).SetEdns0(udpBytes, true).Pack()
	if err != nil {
		return nil, err
	}
	raw, err := askOnce(at, query)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil {
		return nil, err
	}
	for _, rr := range m.Answer {
		if k, ok := rr.(*dns.DNSKEY); ok {
			out = append(out, k)
		}
	}
	return out, nil
}

// verified says whether the second record is a good signature of the first.
func verified(answer []dns.RR, by []*dns.DNSKEY) bool {
	sig, ok := answer[1].(*dns.RRSIG)
	return ok && sig.ValidityPeriod(time.Now()) && slices.ContainsFunc(by, func(k *dns.DNSKEY) bool { return sig.Verify(k, answer[:1]) == nil })
}

func (w *world) addresses(name chat.Region) []string {
	for _, r := range w.regions {
		if r.Name == name {
			return r.Addresses
		}
	}
	return nil
}

// best lists regions as gdnsd wants them.
func best(regions []chat.Region) string {
	out := make([]string, len(regions))
	for i, r := range regions {
		out[i] = string(r)
	}
	return strings.Join(out, ", ")
}

// print shows medians and their ratios to Meridian's.
func (b *bench) print(w io.Writer) {
	for _, s := range b.servers {
		if s.signed { // the same program as without
			continue
		}
		said, _ := exec.Command(s.version[0], s.version[1:]...).CombinedOutput() // a server without a version is measured all the same
		line, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
		fmt.Fprintf(w, "\n%s: %s; %d sampled answers are the decision's", s.name, line, samples)
	}
	fmt.Fprintf(w, "\n\nmedians of %d rounds of %v, each server alone on core %d, the load on core %d\n", b.rounds, b.measure, b.serverCore, b.loadCore)
	fmt.Fprintf(w, "\n| server | queries | queries/s | CPU µs per query | busy | allocations per query | Meridian ÷ it |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	idle := false
	for _, kind := range b.asked {
		own := median(b.figures[key("meridian", kind.name)], figure.perSecond)
		for _, s := range b.servers {
			all := b.figures[key(s.name, kind.name)]
			if s.signed != kind.signed {
				continue
			}
			allocs := "–"
			if s.metrics != "" {
				allocs = fmt.Sprintf("%.4f", median(all, figure.allocsEach))
			}
			qps := median(all, figure.perSecond)
			idle = idle || median(all, figure.busy) < saturated
			fmt.Fprintf(w, "| %s | %s | %.0f | %.2f | %.0f %% | %s | %.2f |\n",
				s.name, kind.name, qps, median(all, figure.cpuMicros), 100*median(all, figure.busy), allocs, own/qps)
		}
	}
	if idle {
		fmt.Fprintf(w, "\nA server was less than %.0f %% busy: its queries/s are those of the load, which other work held up. Only CPU per query counts.\n", 100*saturated)
	}
}

func median(all []figure, of func(figure) float64) float64 {
	values := make([]float64, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	slices.Sort(values)
	if len(values) == 0 {
		return 0
	}
	return values[len(values)/2]
}
