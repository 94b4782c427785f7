package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/meter"
)

// Target is where a region is probed, each list with an entry for each node: Ready are the base URLs that users depend on, where
// /v1/probe walks the way of a message, Admins those whose /v1/peers tell the region's votes. A region serves while one of its nodes does.
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
	// Transport carries the probes; nil: a new connection for each, for users have to make one too.
	Transport http.RoundTripper
}

// Monitor probes all regions every interval.
type Monitor struct {
	opts   Options
	core   *Core
	client *http.Client
	hints  *Hints
	hinted chan struct{}

	mu       sync.Mutex
	failures map[string]int // failed probes in a row, by base URL
	last     map[chat.Region]Probe
	next     *change
	reached  map[chat.Region]bool // a probe has passed since this monitor was made
}

const (
	// probePath is where a node walks the way of a message.
	probePath = "/v1/probe"
	// maxReasonBytes bounds what a reason has of an answer.
	maxReasonBytes = 200
)

// maxReportBytes bounds what a region may answer.
const maxReportBytes = 64 << 10

// NewMonitor makes a monitor. An interval or time-out that is not set becomes 2 s or 1 s.
func NewMonitor(opts Options) *Monitor {
	opts.Limits = withDefaults(opts.Limits)
	if opts.Transport == nil {
		opts.Transport = &http.Transport{DisableKeepAlives: true}
	}
	opts.Metrics = meter.Or(opts.Metrics)
	return &Monitor{
		opts: opts, failures: make(map[string]int), reached: make(map[chat.Region]bool),
		core: NewCore(opts.Regions, opts.Limits), hints: NewHints(known(opts.Targets), nil), hinted: make(chan struct{}, 1),
		client: &http.Client{
			Transport:     opts.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// change is what a monitor is to probe from its next round on.
type change struct {
	regions []config.Region
	limits  config.Health
	targets []Target
}

// Change has the monitor probe other regions, or by other limits, from its next round on. Regions that stay keep their states.
func (m *Monitor) Change(regions []config.Region, limits config.Health, targets []Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = &change{regions, withDefaults(limits), targets}
	select {
	case m.hinted <- struct{}{}: // soon
	default:
	}
}

// changed takes what Change asked for; between two rounds.
func (m *Monitor) changed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == nil {
		return
	}
	m.opts.Regions, m.opts.Limits, m.opts.Targets = m.next.regions, m.next.limits, m.next.targets
	m.core = m.core.With(m.next.regions, m.next.limits)
	m.hints.Know(known(m.next.targets))
	m.next, m.last = nil, nil
}

// withDefaults gives limits in which an interval or time-out that is not set is 2 s or 1 s.
func withDefaults(limits config.Health) config.Health {
	if limits.Interval <= 0 {
		limits.Interval = 2 * time.Second
	}
	if limits.Timeout <= 0 {
		limits.Timeout = time.Second
	}
	return limits
}

// Run probes until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	for ctx.Err() == nil {
		m.changed()
		began := time.Now()
		round := m.round(ctx)
		if ctx.Err() != nil {
			return
		}
		m.note(round.Probes)
		m.opts.OnStates(m.core.Step(time.Now(), round))
		m.pause(ctx, began)
	}
}

// pause waits for the next round, an interval after the last one began; half of it while something is going down, or when a client
// has told that it cannot reach a region. However many tell, no round comes sooner than that.
func (m *Monitor) pause(ctx context.Context, began time.Time) {
	until := func(wait time.Duration) <-chan time.Time {
		return time.After(max(wait-time.Since(began), pauseMin))
	}
	soon := until(m.opts.Limits.Interval / 2)
	select {
	case <-ctx.Done():
		return
	case <-soon:
	}
	if m.core.Settling() {
		return
	}
	select {
	case <-ctx.Done():
	case <-m.hinted:
	case <-until(m.opts.Limits.Interval):
	}
}

// pauseMin is between two rounds when one took as long as the interval.
const pauseMin = 10 * time.Millisecond

// Hint takes the word of a client at an address that it cannot reach a region. It decides nothing: the region is looked at sooner.
func (m *Monitor) Hint(region chat.Region, client netip.Addr) {
	outcome := "ignored"
	if m.hints.Tell(region, client) {
		outcome = "taken"
		select {
		case m.hinted <- struct{}{}:
		default: // a round is due already
		}
	}
	m.opts.Metrics.Count("client_hints_total", outcome)
}

// round asks all regions at once; it takes at most one time-out.
func (m *Monitor) round(ctx context.Context) Round {
	ctx, cancel := context.WithTimeout(ctx, m.opts.Limits.Timeout)
	defer cancel()
	round := Round{Probes: map[chat.Region]Probe{}, Reports: map[chat.Region]Report{}, Reported: m.hints.Count()}
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

// note keeps what a round found.
func (m *Monitor) note(probes map[chat.Region]Probe) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = probes
	for region, p := range probes {
		m.reached[region] = m.reached[region] || p.OK
	}
}

// Verdicts gives what the last probes say of the regions, for the routers that ask this one: "ok", or what went wrong. Nothing is said of a
// region that was never reached, for the way there may never have been open, and nothing at all while none is reached: then it is this one
// that is cut off.
func (m *Monitor) Verdicts() map[chat.Region]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out, passed := make(map[chat.Region]string), 0
	for region, p := range m.last {
		switch {
		case p.OK:
			out[region] = ProbeOK
			passed++
		case m.reached[region]:
			out[region] = p.Why
		}
	}
	if passed == 0 {
		return nil
	}
	return out
}

// Ask gives what a region's nodes say now; ok is false when none answers.
func Ask(ctx context.Context, target Target) (report Report, ok bool) {
	m := NewMonitor(Options{Targets: []Target{{Region: target.Region, Admins: target.Admins}}, Limits: config.Health{Timeout: askTimeout}})
	report, ok = m.round(ctx).Reports[target.Region]
	return report, ok
}

// askTimeout bounds Ask.
const askTimeout = 2 * time.Second

// join makes one report of what two nodes of a region say: what one of them reaches the region reaches, and their sockets add up.
func join(a, b Report) Report {
	out := a
	out.Sockets += b.Sockets
	if b.Draining && (!a.Draining || b.DrainUntil.After(a.DrainUntil)) {
		out.Draining, out.DrainFrom, out.DrainUntil = true, b.DrainFrom, b.DrainUntil
	}
	out.Reported = maps.Clone(a.Reported)
	for region, n := range b.Reported {
		if out.Reported == nil {
			out.Reported = make(map[chat.Region]int)
		}
		out.Reported[region] = max(out.Reported[region], n) // the same network may have told both
	}
	forces := chat.Forces{a.Region: maps.Clone(a.Forces)}
	for region, word := range b.Forces {
		forces.Take(a.Region, region, word)
	}
	out.Forces = forces[a.Region]
	out.Peers = maps.Clone(a.Peers)
	for region, p := range b.Peers {
		old, ok := out.Peers[region]
		probe := old.Probe
		if p.Probe == ProbeOK || probe == "" {
			probe = p.Probe
		}
		if !ok || p.Up && (!old.Up || p.RTTms < old.RTTms) {
			old = p
		}
		old.Probe = probe
		out.Peers[region] = old
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
	path := probePath
	status, body, err := m.get(ctx, base+path)
	if err == nil && status == http.StatusNotFound { // a build that knows no walks
		path = "/readyz"
		status, body, err = m.get(ctx, base+path)
	}
	if err == nil && status == http.StatusOK {
		return Probe{OK: true}
	}
	switch {
	case err == nil:
		return Probe{Why: fmt.Sprintf("%s answers %d%s", path, status, reason(body))}
	case errors.Is(err, syscall.ECONNREFUSED):
		return Probe{Why: "connection refused"}
	case errors.Is(err, context.DeadlineExceeded):
		return Probe{Why: fmt.Sprintf("no answer within %s", m.opts.Limits.Timeout)}
	}
	return Probe{Why: "no connection"}
}

// reason reads what an error's body says.
func reason(body []byte) string {
	var e struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &e) != nil || e.Code == "" {
		return ""
	}
	text := ", " + e.Code + ": " + e.Message
	return text[:min(len(text), maxReasonBytes)]
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
