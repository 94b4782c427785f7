package learned

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"meridian/chat"
)

// Histogram is what a region's node told of one group. Network is "" for a country and an autonomous system.
type Histogram struct {
	Region  chat.Region
	Network string
	Country string
	ASN     uint32
	Last    time.Time
	Cells   []Cell
}

// Cell is a number of samples of about the same length.
type Cell struct {
	Ms    float64
	Count int
}

// Collected says what became of histograms.
type Collected struct {
	File File
	// TooFew are the groups, of a region each, that had fewer samples than a row needs.
	TooFew int
}

// Collect makes a file of what the nodes told at a time: those of a region together, without what has too few samples. The error has
// CodeInvalid: a node told what none should.
func Collect(told []Histogram, at time.Time) (Collected, error) {
	type key struct {
		group  Group
		region chat.Region
	}
	type sum struct {
		last  time.Time
		cells []Cell
	}
	sums := map[key]*sum{}
	for _, h := range told {
		group, err := h.group()
		if err != nil {
			return Collected{}, &chat.Error{Code: chat.CodeInvalid, Op: "learned.Collect", Message: fmt.Sprintf("a node of %s tells what it should not", h.Region), Cause: err}
		}
		k := key{group, h.Region}
		if sums[k] == nil {
			sums[k] = &sum{}
		}
		sums[k].cells = append(sums[k].cells, h.Cells...)
		if h.Last.After(sums[k].last) {
			sums[k].last = h.Last
		}
	}
	c := Collected{File: File{Collected: at.UTC().Truncate(time.Second)}}
	for k, s := range sums {
		p50, samples := median(s.cells)
		if samples < MinSamples {
			c.TooFew++
			continue
		}
		// A node's clock may be a little ahead of who collects.
		last := s.last.UTC().Truncate(24 * time.Hour)
		if today := c.File.Collected.Truncate(24 * time.Hour); last.After(today) {
			last = today
		}
		c.File.Rows = append(c.File.Rows, Row{Group: k.group, Region: k.region, P50Ms: p50, Samples: samples, Last: last})
	}
	c.File.sort()
	return c, nil
}

func (h Histogram) group() (Group, error) {
	for _, c := range h.Cells {
		if !(c.Ms > 0 && c.Ms <= 2*MsMax) || c.Count <= 0 || int64(c.Count) > samplesMax { // NaN too
			return Group{}, fmt.Errorf("%d samples of %v ms", c.Count, c.Ms)
		}
	}
	asn := ""
	if h.Network == "" {
		asn = fmt.Sprint(h.ASN)
	}
	return readGroup(h.Network, h.Country, asn)
}

// median gives the middle of samples in milliseconds, as a file can hold it, and how many there are.
func median(cells []Cell) (ms float64, samples int) {
	cells = slices.SortedFunc(slices.Values(cells), func(a, b Cell) int { return cmp.Compare(a.Ms, b.Ms) })
	for _, c := range cells {
		samples += c.Count
	}
	seen := 0
	for _, c := range cells {
		if seen += c.Count; 2*seen >= samples {
			return min(MsMax, max(0.01, math.Round(c.Ms*100)/100)), samples
		}
	}
	return 0, 0
}
