//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"gopkg.in/yaml.v3"

	"meridian/config"
)

// server is one that is measured. prepare writes its files and gives the command line that runs it in the foreground, serving
// at an address.
type server struct {
	name    string
	signed  bool     // its zone
	version []string // the command that tells its version
	prepare func(dir string, at netip.AddrPort) ([]string, error)
	// metrics is where it tells the number of its allocations; "" for none.
	metrics string
}

var knownServers = map[string]func(b *bench, signed bool) *server{"meridian": meridianServer, "knot": knotServer, "gdnsd": gdnsdServer}

func meridianServer(b *bench, signed bool) *server {
	s := &server{name: "meridian", signed: signed, version: []string{b.meridian, "--version"}}
	s.prepare = func(dir string, at netip.AddrPort) ([]string, error) {
		http, err := freePort()
		if err != nil {
			return nil, err
		}
		cfg := *b.world.config
		cfg.DataDir = dir
		cfg.Router.HTTP, cfg.Router.DNS, cfg.Router.Domain = http.String(), at.String(), domain
		cfg.Router.AnswerRegions = 1
		cfg.Router.GeoFiles = []string{b.file}
		cfg.Router.Health.Interval = time.Minute // nobody answers at the regions' addresses
		// The limit counts every answer, as in production, where the load would come from many networks.
		cfg.Router.NameServer.RateLimit = config.RateLimit{ResponsesPerSecond: 1_000_000}
		cfg.Telemetry.LogLevel = "error"
		text, err := yaml.Marshal(&cfg)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, "meridian.yaml")
		s.metrics = "http://" + cfg.Router.HTTP + "/metrics"
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return nil, err
		}
		if signed {
			if out, err := exec.Command(b.meridian, "dns", "key", "new", "--config", file).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("meridian dns key new: %w: %s", err, out)
			}
		}
		return []string{b.meridian, "router", "--config", file}, nil
	}
	return s
}

func knotServer(b *bench, signed bool) *server {
	s := &server{name: "knot", signed: signed, version: []string{"knotd", "--version"}}
	s.prepare = func(dir string, at netip.AddrPort) ([]string, error) {
		var geo strings.Builder
		fmt.Fprintf(&geo, "%s.:\n", domain)
		for _, country := range b.world.codes() {
			r := b.world.addresses(b.world.countries[country][0])
			fmt.Fprintf(&geo, "  - geo: \"%s\"\n    A: %s\n    AAAA: %s\n", country, r[0], r[1])
		}
		r := b.world.addresses(b.world.elsewhere[0])
		fmt.Fprintf(&geo, "  - geo: \"*\"\n    A: %s\n    AAAA: %s\n", r[0], r[1])
		policy, signing := "", ""
		if signed { // the module signs all its answers when the zone is loaded
			policy = "policy:\n  - id: one\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n"
			signing = "    dnssec-signing: on\n    dnssec-policy: one\n    zonefile-sync: -1\n"
		}
		conf := fmt.Sprintf(`server:
    rundir: %[1]s
    listen: %[2]s@%[3]d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    edns-client-subnet: on
log:
  - target: stderr
    any: error
database:
    storage: %[1]s
mod-geoip:
  - id: geo
    config-file: %[1]s/geo.conf
    ttl: 30
    mode: geodb
    geodb-file: %[4]s
    geodb-key: [ country/iso_code ]
%[6]szone:
  - domain: %[5]s
    file: %[1]s/zone
    module: mod-geoip/geo
%[7]s`, dir, at.Addr(), at.Port(), b.file, domain, policy, signing)
		zone := fmt.Sprintf("$ORIGIN %s.\n$TTL 30\n@ SOA ns.example.net. hostmaster 1 3600 600 86400 30\n@ NS ns.example.net.\n@ A 192.0.2.1\n@ AAAA 2001:db8::1\n", domain)
		file := filepath.Join(dir, "knot.conf")
		if err := writeFiles(dir, map[string]string{"knot.conf": conf, "geo.conf": geo.String(), "zone": zone}); err != nil {
			return nil, err
		}
		if signed { // the module does not load without a key
			if out, err := exec.Command("keymgr", "-c", file, domain, "generate", "algorithm=13", "ksk=yes", "zsk=yes").CombinedOutput(); err != nil {
				return nil, fmt.Errorf("keymgr: %w: %s", err, out)
			}
		}
		return []string{"knotd", "-c", file}, nil
	}
	return s
}

func gdnsdServer(b *bench, _ bool) *server {
	s := &server{name: "gdnsd", version: []string{"gdnsd", "version"}}
	s.prepare = func(dir string, at netip.AddrPort) ([]string, error) {
		byContinent := map[string][]string{}
		for _, country := range b.world.codes() {
			code := continentOf(country)
			byContinent[code] = append(byContinent[code], fmt.Sprintf("%s => [ %s ]", country, best(b.world.countries[country])))
		}
		var lists []string
		for _, c := range continents {
			lists = append(lists, fmt.Sprintf("%s => { %s }", c.code, strings.Join(byContinent[c.code], ", ")))
		}
		var sites []string
		for _, r := range b.world.regions {
			sites = append(sites, fmt.Sprintf("%s => { addrs_v4 => [ %s ], addrs_v6 => [ %s ] }", r.Name, r.Addresses[0], r.Addresses[1]))
		}
		conf := fmt.Sprintf(`options => {
  listen => [ %s:%d ], udp_threads => 1, tcp_threads => 1, udp_recv_width => 64, run_dir => %s/run, state_dir => %s/state
}
plugins => { geoip => {
  maps => { world => { geoip2_db => %s, datacenters => [ %s ], map => { default => [ %s ], %s } } },
  resources => { www => { map => world, service_types => up, dcmap => { %s } } }
} }
`, at.Addr(), at.Port(), dir, dir, b.file, best(b.world.elsewhere), best(b.world.elsewhere[:3]), strings.Join(lists, ", "), strings.Join(sites, ", "))
		zone := "@ SOA ns.example.net. hostmaster 1 3600 600 86400 30\n@ NS ns.example.net.\n@ 30 DYNA geoip!www\n"
		return []string{"gdnsd", "-c", dir, "start"}, writeFiles(dir, map[string]string{"config": conf, "zones/" + domain: zone})
	}
	return s
}

// codes gives the countries in order.
func (w *world) codes() []string {
	var out []string
	for c := range w.countries {
		out = append(out, c)
	}
	slices.Sort(out)
	return out
}

// process is a server that runs.
type process struct {
	cmd  *exec.Cmd
	at   netip.AddrPort
	said bytes.Buffer
	done chan struct{}
}

const (
	readyWithin = 30 * time.Second
	stopWithin  = 5 * time.Second
)

// start runs a server on its core and waits until it answers.
func (b *bench) start(ctx context.Context, s *server) (*process, error) {
	at, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, s.name+"-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	line, err := s.prepare(dir, at)
	if err != nil {
		return nil, err
	}
	p := &process{at: at, done: make(chan struct{})}
	p.cmd = exec.Command("taskset", append([]string{"-c", fmt.Sprint(b.serverCore)}, line...)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // that it ended is all that matters
		close(p.done)
	}()
	for end := time.Now().Add(readyWithin); ; {
		if _, err := askOnce(at, b.asked[0].packets[0]); err == nil {
			return p, nil
		}
		select {
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		case <-p.done:
			return nil, fmt.Errorf("%s has ended: %s", s.name, p.said.String())
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(end) {
			p.stop()
			return nil, fmt.Errorf("%s does not answer: %s", s.name, p.said.String())
		}
	}
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // one that has ended needs none
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// askOnce asks one query and gives the answer.
func askOnce(at netip.AddrPort, query []byte) ([]byte, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	buf := make([]byte, udpBytes)
	n, err := conn.Read(buf)
	if err != nil {
		return nil, err
	}
	if n < 12 || !bytes.Equal(buf[:2], query[:2]) {
		return nil, errors.New("an answer to something else")
	}
	return buf[:n], nil
}

// freePort gives an address that was free for UDP and TCP a moment ago.
func freePort() (netip.AddrPort, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer l.Close()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return netip.AddrPort{}, err
	}
	return at, u.Close()
}

func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
