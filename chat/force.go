package chat

import (
	"maps"
	"slices"
	"time"
)

// ForceState is what an operator forces a region to be.
type ForceState string

// The states. ForceNone takes back what was forced before.
const (
	ForceNone ForceState = ""
	ForceUp   ForceState = "up"
	ForceDown ForceState = "down"
)

// Force is the operator's word about a region against what probes say of it. It counts until Until.
type Force struct {
	State ForceState `json:"state,omitempty"`
	// Given is when the operator spoke: of two words the later counts, and one that several regions tell is one.
	Given time.Time `json:"given"`
	Until time.Time `json:"until"`
	// Reason and By are for people to read: why, and who.
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
}

// After says that f was given later than old.
func (f Force) After(old Force) bool { return f.Given.After(old.Given) }

// Same says that two regions tell the same word.
func (f Force) Same(o Force) bool { return f.State == o.State && f.Given.Equal(o.Given) }

// Forces are the words of each region's operator, by who tells and about whom.
type Forces map[Region]map[Region]Force

// About gives the word about a region that counts at now, and the regions that tell it, sorted: the last that a majority of the other
// regions tell, so that no region alone takes another one out, or that the region itself tells, unless it puts itself in.
func (f Forces) About(region Region, all []Region, now time.Time) (word Force, by []Region, ok bool) {
	for _, teller := range all {
		one, told := f[teller][region]
		if !told || !one.Until.After(now) || ok && !one.After(word) {
			continue
		}
		tellers := f.tellers(region, all, one)
		others := slices.DeleteFunc(slices.Clone(tellers), func(r Region) bool { return r == region })
		itself := len(others) < len(tellers)
		if itself && one.State != ForceUp || len(others) >= (len(all)-1)/2+1 {
			word, by, ok = one, tellers, true
		}
	}
	return word, by, ok && word.State != ForceNone
}

func (f Forces) tellers(region Region, all []Region, word Force) []Region {
	var out []Region
	for _, teller := range all {
		if one, told := f[teller][region]; told && one.Same(word) {
			out = append(out, teller)
		}
	}
	slices.Sort(out)
	return out
}

// Take makes word the one that teller tells about a region, unless it told a later one.
func (f Forces) Take(teller, region Region, word Force) bool {
	if old, told := f[teller][region]; told && !word.After(old) {
		return false
	}
	if f[teller] == nil {
		f[teller] = make(map[Region]Force)
	}
	f[teller][region] = word
	return true
}

// Clone gives a copy.
func (f Forces) Clone() Forces {
	out := make(Forces, len(f))
	for teller, words := range f {
		out[teller] = maps.Clone(words)
	}
	return out
}
