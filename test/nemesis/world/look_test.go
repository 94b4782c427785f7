package world

import "testing"

// Only the series of exactly that name count, and of them only those that have every label.
func TestSumOf(t *testing.T) {
	text := `# HELP meridian_acks_total Acknowledgements, by level.
# TYPE meridian_acks_total counter
meridian_acks_total{level="region",region="eu-west"} 40
meridian_acks_total{level="zone",region="eu-west"} 2.5e+01
meridian_acks_total_more{level="region"} 1000
go_goroutines 77
`
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"meridian_acks_total", nil, 65},
		{"meridian_acks_total", []string{`level="zone"`}, 25},
		{"meridian_acks_total", []string{`level="region"`, `region="eu-west"`}, 40},
		{"meridian_acks_total", []string{`level="region"`, `region="us-east"`}, 0},
		{"go_goroutines", nil, 77},
	} {
		if got := sumOf(text, c.name, c.labels); got != c.want {
			t.Errorf("%s%v: %v, want %v", c.name, c.labels, got, c.want)
		}
	}
}
