package observe_test

import (
	"flag"
	"fmt"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meridian/chat"
	"meridian/observe"
)

var update = flag.Bool("update", false, "write docs/metrics.md from the list")

// docs/metrics.md says what the list says, row by row.
func TestMetricsAreDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Metrics\n\n" +
		"`GET /metrics` of a region's node and of a router. Each name has the prefix `meridian_` and, beside the labels below, the label\n" +
		"`region`; a router's is `router`. Histograms are in seconds. No label holds a person's name, id or address. The figures of the Go\n" +
		"runtime and of the process (`go_*`, `process_*`) stand beside them.\n\n" +
		"This page is written from `observe/list.go` by `go test ./observe -update`.\n\n" +
		"| name | kind | labels | meaning |\n| --- | --- | --- | --- |\n")
	for _, m := range observe.List() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, strings.Join(m.Labels, ", "), m.Help)
	}
	path := filepath.Join("..", "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/metrics.md is stale: go test ./observe -update (-list +page):\n%s", diff)
	}
}

// Every row of the list is well formed: a name once, a kind, a unit at the end where it has one, a help that ends in a full stop.
func TestListIsWellFormed(t *testing.T) {
	seen := map[string]bool{}
	word := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for _, m := range observe.List() {
		if seen[m.Name] || !word.MatchString(m.Name) {
			t.Errorf("%q stands twice or is no name", m.Name)
		}
		seen[m.Name] = true
		if (m.Kind == observe.Counter) != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s: a counter, and nothing else, ends in _total", m.Name)
		}
		if m.Kind == observe.Histogram && !strings.HasSuffix(m.Name, "_seconds") {
			t.Errorf("%s: a histogram is in seconds", m.Name)
		}
		if !strings.HasSuffix(m.Help, ".") || strings.Contains(m.Help, "|") {
			t.Errorf("%s: help %q", m.Name, m.Help)
		}
		for _, values := range m.Start {
			if len(values) != len(m.Labels) {
				t.Errorf("%s: start %q does not fit labels %q", m.Name, values, m.Labels)
			}
		}
		for _, label := range m.Labels {
			if label == "region" || !word.MatchString(label) {
				t.Errorf("%s: label %q is taken or no name", m.Name, label)
			}
		}
	}
}

// What must stay 0 is shown as 0 before anything happened, and what happened is shown.
func TestMetricsHandler(t *testing.T) {
	m := observe.NewMetrics("eu-west")
	m.Set("connections", 3)
	m.Count("refused_total", string(chat.CodeTooLarge))
	m.Add("link_bytes_total", 12, "us-east", "in")
	m.Observe("send_to_visible_seconds", 0.2, "us-east", "eu-west")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	page := w.Body.String()
	for _, line := range []string{
		`meridian_residency_violations_total{region="eu-west",side="send"} 0`,
		`meridian_residency_violations_total{region="eu-west",side="receive"} 0`,
		`meridian_dead_letters_total{reason="denied",region="eu-west"} 0`,
		`meridian_defects_total{kind="panic",region="eu-west"} 0`,
		`meridian_refused_total{code="clock_skew",region="eu-west"} 0`,
		`meridian_refused_total{code="busy",region="eu-west"} 0`,
		`meridian_refused_total{code="too_large",region="eu-west"} 1`,
		`meridian_connections{region="eu-west"} 3`,
		`meridian_link_bytes_total{direction="in",peer="us-east",region="eu-west"} 12`,
		`meridian_send_to_visible_seconds_bucket{from="us-east",region="eu-west",to="eu-west",le="0.25"} 1`,
		`go_goroutines `,
	} {
		if !strings.Contains(page, line) {
			t.Errorf("the page lacks %s", line)
		}
	}
	if len(m.Misuse()) != 0 {
		t.Errorf("misuse = %q", m.Misuse())
	}
	for name, want := range map[string]float64{"connections": 3, "sends_total": 0} {
		if got, ok := m.Value(name); !ok || got != want {
			t.Errorf("Value(%s) = %v %v, want %v", name, got, ok, want)
		}
	}
	if got, ok := m.Value("link_bytes_total", "us-east", "in"); !ok || got != 12 {
		t.Errorf("Value(link_bytes_total) = %v %v", got, ok)
	}
	if _, ok := m.Value("link_bytes_total", "us-east", "out"); ok {
		t.Error("Value made or found a series that nobody counted")
	}
}

// A wrong use is counted as a defect and never panics, from any number of goroutines.
func TestMetricsMisuse(t *testing.T) {
	m := observe.NewMetrics("eu-west")
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			m.Count("no_such_name")
			m.Count("connections")
			m.Count("refused_total")
			m.Count("refused_total", "\xff")
			m.Add("sends_total", -1)
			m.Add("sends_total", math.NaN())
			m.Observe("sends_total", 1)
			m.Observe("store_commit_seconds", 1, "extra")
			m.Set("refused_total", 1)
			m.Set("link_up", 1)
		})
	}
	wg.Wait()
	if got, _ := m.Value("defects_total", "metric"); got != 500 {
		t.Errorf("defects = %v, want 500", got)
	}
	if got, _ := m.Value("sends_total"); got != 0 {
		t.Errorf("sends_total = %v, want 0", got)
	}
	if n := len(m.Misuse()); n != 100 {
		t.Errorf("%d misuses are remembered, want the bound of 100", n)
	}
}
