package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"syscall"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/meter"
)

// Target is where a region is probed, each list with an entry for each node: Ready are the base URLs whose /readyz users
// depend on, Admins those whose /v1/peers tell the region's votes. A region serves while one of its nodes does.
type Target struct {
	Region chat.Region
	Ready  []string
	Admins []string
}

// Options make a Monitor.
type Options struct {
	Regions []config.Region
	Limits  config.Health
	Targets []Target
	// OnStates is told of the states after every round, from one goroutine.
	OnStates func(decide.States)
	// Metrics may be nil.
	Metrics meter.Metrics
}

// Monitor probes all regions every interval.
type Monitor struct {
	opts   Options
	core   *Core
	client *http.Client

	mu       sync.Mutex
	failures map[string]int // failed probes in a row, by base URL
}

// maxReportBytes bounds what a region may answer.
const maxReportBytes = 64 << 10

// NewMonitor makes a monitor. An interval or time-out that is not set becomes 2 s or 1 s.
func NewMonitor(opts Options) *Monitor {
	if opts.Limits.Interval <= 0 {
		opts.Limits.Interval = 2 * time.Second
	}
	if opts.Limits.Timeout <= 0 {
		opts.Limits.Timeout = time.Second
	}
	opts.Metrics = meter.Or(opts.Metrics)
	return &Monitor{
		opts: opts, failures: make(map[string]int),
		core: NewCore(opts.Regions, opts.Limits),
		client: &http.Client{
			// A new connection for each probe: users have to make one too.
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Run probes until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	for {
		began := time.Now()
		round := m.round(ctx)
		if ctx.Err() != nil {
			return
		}
		m.opts.OnStates(m.core.Step(time.Now(), round))
		wait := m.opts.Limits.Interval
		if m.core.Settling() { // something is going down: look twice as often until it is settled
			wait /= 2
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(wait-time.Since(began), 10*time.Millisecond)):
		}
	}
}

// round asks all regions at once; it takes at most one time-out.
func (m *Monitor) round(ctx context.Context) Round {
	ctx, cancel := context.WithTimeout(ctx, m.opts.Limits.Timeout)
	defer cancel()
	round := Round{Probes: map[chat.Region]Probe{}, Reports: map[chat.Region]Report{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, t := range m.opts.Targets {
		for _, base := range t.Ready {
			wg.Go(func() {
				p := m.probe(ctx, t.Region, base)
				mu.Lock()
				defer mu.Unlock()
				if !round.Probes[t.Region].OK {
					round.Probes[t.Region] = p
				}
			})
		}
		for _, base := range t.Admins {
			wg.Go(func() {
				report, err := m.report(ctx, t.Region, base)
				if err != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if said, ok := round.Reports[t.Region]; ok {
					report = join(said, report)
				}
				round.Reports[t.Region] = report
			})
		}
	}
	wg.Wait()
	return round
}

// join makes one report of what two nodes of a region say: what one of them reaches the region reaches, and their sockets add up.
func join(a, b Report) Report {
	out := a
	out.Sockets += b.Sockets
	out.Draining = a.Draining || b.Draining
	if b.DrainUntil.After(out.DrainUntil) {
		out.DrainUntil = b.DrainUntil
	}
	if out.Forced == "" {
		out.Forced = b.Forced
	}
	out.Peers = maps.Clone(a.Peers)
	for region, p := range b.Peers {
		if old, ok := out.Peers[region]; !ok || p.Up && (!old.Up || p.RTTms < old.RTTms) {
			out.Peers[region] = p
		}
	}
	return out
}

// Serves says whether the node at a base URL of the targets serves: its last probes did not all fail.
func (m *Monitor) Serves(base string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failures[base] < m.core.limits.Down
}

func (m *Monitor) probe(ctx context.Context, region chat.Region, base string) Probe {
	p := m.probeOne(ctx, base)
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.OK {
		m.opts.Metrics.Count("probes_total", string(region), "ok")
		delete(m.failures, base)
	} else {
		m.opts.Metrics.Count("probes_total", string(region), "failed")
		m.failures[base]++
	}
	return p
}

func (m *Monitor) probeOne(ctx context.Context, base string) Probe {
	status, _, err := m.get(ctx, base+"/readyz")
	if err == nil && status == http.StatusOK {
		return Probe{OK: true}
	}
	switch {
	case err == nil:
		return Probe{Why: fmt.Sprintf("readyz answers %d", status)}
	case errors.Is(err, syscall.ECONNREFUSED):
		return Probe{Why: "connection refused"}
	case errors.Is(err, context.DeadlineExceeded):
		return Probe{Why: fmt.Sprintf("no answer within %s", m.opts.Limits.Timeout)}
	}
	return Probe{Why: "no connection"}
}

func (m *Monitor) report(ctx context.Context, region chat.Region, base string) (Report, error) {
	var report Report
	status, body, err := m.get(ctx, base+"/v1/peers")
	if err != nil {
		return report, err
	}
	if status != http.StatusOK {
		return report, fmt.Errorf("peers answers %d", status)
	}
	if err := json.Unmarshal(body, &report); err != nil {
		return report, err
	}
	if report.Region != region {
		return report, fmt.Errorf("%s answers as %s", region, report.Region)
	}
	return report, nil
}

func (m *Monitor) get(ctx context.Context, url string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := m.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReportBytes))
	return resp.StatusCode, body, err
}
