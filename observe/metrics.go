package observe

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"meridian/chat"
)

// misuseMax bounds what Misuse remembers.
const misuseMax = 100

// Metrics holds the metrics of one region. A name that is not on the List, a wrong number of labels or a value that a
// counter cannot take changes nothing but defects_total{kind="metric"}: observing never breaks what is observed. It is safe
// for concurrent use.
type Metrics struct {
	registry   *prometheus.Registry
	counters   map[string]*prometheus.CounterVec
	gauges     map[string]*prometheus.GaugeVec
	histograms map[string]*prometheus.HistogramVec
	defects    prometheus.Counter

	mu     sync.Mutex
	misuse []string
}

// NewMetrics makes the metrics of one region, or of a router (which is given as "router"). Counters that must stay 0 are
// shown as 0 from the start.
func NewMetrics(region chat.Region) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		counters: map[string]*prometheus.CounterVec{}, gauges: map[string]*prometheus.GaugeVec{}, histograms: map[string]*prometheus.HistogramVec{},
	}
	constant := prometheus.Labels{"region": string(region)}
	for _, row := range List() {
		name := "meridian_" + row.Name
		switch row.Kind {
		case Counter:
			v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: row.Help, ConstLabels: constant}, row.Labels)
			m.registry.MustRegister(v)
			m.counters[row.Name] = v
			for _, values := range startOf(row) {
				v.WithLabelValues(values...)
			}
		case Gauge:
			v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: row.Help, ConstLabels: constant}, row.Labels)
			m.registry.MustRegister(v)
			m.gauges[row.Name] = v
		case Histogram:
			v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
				Name: name, Help: row.Help, ConstLabels: constant,
				Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
			}, row.Labels)
			m.registry.MustRegister(v)
			m.histograms[row.Name] = v
		}
	}
	m.defects = m.counters["defects_total"].WithLabelValues("metric")
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// startOf gives the label values to show from the start; a counter without labels is always shown.
func startOf(row Metric) [][]string {
	if len(row.Labels) == 0 {
		return [][]string{{}}
	}
	return row.Start
}

// Count adds one to a counter.
func (m *Metrics) Count(name string, labelValues ...string) { m.Add(name, 1, labelValues...) }

// Add adds value, which must not be negative, to a counter.
func (m *Metrics) Add(name string, value float64, labelValues ...string) {
	v, ok := m.counters[name]
	if !ok {
		m.wrong("%s is no counter", name)
		return
	}
	c, err := v.GetMetricWithLabelValues(labelValues...)
	if err != nil || value < 0 || math.IsNaN(value) || math.IsInf(value, 0) {
		m.wrong("%s takes no %v with labels %q", name, value, labelValues)
		return
	}
	c.Add(value)
}

// Observe adds a duration in seconds to a histogram.
func (m *Metrics) Observe(name string, seconds float64, labelValues ...string) {
	v, ok := m.histograms[name]
	if !ok {
		m.wrong("%s is no histogram", name)
		return
	}
	h, err := v.GetMetricWithLabelValues(labelValues...)
	if err != nil || math.IsNaN(seconds) {
		m.wrong("%s takes no %v with labels %q", name, seconds, labelValues)
		return
	}
	h.Observe(seconds)
}

// Set sets a gauge.
func (m *Metrics) Set(name string, value float64, labelValues ...string) {
	v, ok := m.gauges[name]
	if !ok {
		m.wrong("%s is no gauge", name)
		return
	}
	g, err := v.GetMetricWithLabelValues(labelValues...)
	if err != nil {
		m.wrong("%s takes no labels %q", name, labelValues)
		return
	}
	g.Set(value)
}

// Remove takes away a gauge's series of what is there no more.
func (m *Metrics) Remove(name string, labelValues ...string) {
	v, ok := m.gauges[name]
	if !ok {
		m.wrong("%s is no gauge", name)
		return
	}
	v.DeleteLabelValues(labelValues...)
}

// Value reads a counter or gauge, or a histogram's count; ok is false for a series that is not shown. It walks all series:
// it is for status pages and tests.
func (m *Metrics) Value(name string, labelValues ...string) (value float64, ok bool) {
	i := slices.IndexFunc(List(), func(row Metric) bool { return row.Name == name })
	if i < 0 {
		return 0, false
	}
	families, err := m.registry.Gather()
	if err != nil {
		return 0, false
	}
	labels := List()[i].Labels
	for _, family := range families {
		if family.GetName() != "meridian_"+name {
			continue
		}
		for _, series := range family.GetMetric() {
			matching := 0
			for _, pair := range series.GetLabel() {
				at := slices.Index(labels, pair.GetName())
				if at >= 0 && at < len(labelValues) && labelValues[at] == pair.GetValue() {
					matching++
				}
			}
			if matching == len(labels) && matching == len(labelValues) {
				return series.GetCounter().GetValue() + series.GetGauge().GetValue() + float64(series.GetHistogram().GetSampleCount()), true
			}
		}
	}
	return 0, false
}

// Misuse tells the first wrong uses, for tests.
func (m *Metrics) Misuse() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.misuse)
}

func (m *Metrics) wrong(format string, args ...any) {
	m.defects.Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.misuse) < misuseMax {
		m.misuse = append(m.misuse, fmt.Sprintf(format, args...))
	}
}

// Handler serves the metrics as Prometheus or OpenMetrics text, to at most four readers at once.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4})
}
