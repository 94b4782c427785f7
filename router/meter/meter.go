// Package meter is what the router's parts need of metrics. Names and their labels stand in the one list of all metrics.
package meter

// Metrics counts; observe.Metrics does.
type Metrics interface {
	Count(name string, labelValues ...string)
	Add(name string, value float64, labelValues ...string)
	Set(name string, value float64, labelValues ...string)
	Remove(name string, labelValues ...string)
	Observe(name string, seconds float64, labelValues ...string)
}

// Or gives m, or for nil one that counts nothing.
func Or(m Metrics) Metrics {
	if m == nil {
		return discard{}
	}
	return m
}

type discard struct{}

func (discard) Count(string, ...string)            {}
func (discard) Add(string, float64, ...string)     {}
func (discard) Set(string, float64, ...string)     {}
func (discard) Remove(string, ...string)           {}
func (discard) Observe(string, float64, ...string) {}
