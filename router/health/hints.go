package health

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"meridian/chat"
)

const (
	// hintKeep is how long a client's word counts.
	hintKeep = 10 * time.Second
	// hintNetworks bounds what is remembered of one region.
	hintNetworks = 1024
)

// Hints gathers what clients tell of regions that they could not reach. A word counts once for each network, a /24 (IPv4) or a /48
// (IPv6) of the address that asked, and is forgotten soon. Nobody decides by it: see Core.
type Hints struct {
	now func() time.Time

	mu    sync.Mutex
	heard map[chat.Region]map[netip.Prefix]time.Time
}

// NewHints makes hints about the regions; now defaults to time.Now.
func NewHints(regions []chat.Region, now func() time.Time) *Hints {
	if now == nil {
		now = time.Now
	}
	h := &Hints{now: now}
	h.Know(regions)
	return h
}

// Know has hints be about other regions; what was told of those that stay counts on.
func (h *Hints) Know(regions []chat.Region) {
	h.mu.Lock()
	defer h.mu.Unlock()
	heard := make(map[chat.Region]map[netip.Prefix]time.Time, len(regions))
	for _, r := range regions {
		if heard[r] = h.heard[r]; heard[r] == nil {
			heard[r] = make(map[netip.Prefix]time.Time)
		}
	}
	h.heard = heard
}

// Tell takes a client's word. It gives false, and forgets it, for a region that is not known, for one of which the client's network
// has just told, and when too many have.
func (h *Hints) Tell(region chat.Region, client netip.Addr) bool {
	network, ok := networkOf(client)
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	of, known := h.heard[region]
	if !ok || !known {
		return false
	}
	h.forget(of, now)
	if _, told := of[network]; told || len(of) >= hintNetworks {
		return false
	}
	of[network] = now
	return true
}

// Count gives, by region, of how many networks the word counts; regions that nobody tells of are left out.
func (h *Hints) Count() map[chat.Region]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	out := make(map[chat.Region]int)
	for region, of := range h.heard {
		h.forget(of, now)
		if len(of) > 0 {
			out[region] = len(of)
		}
	}
	return out
}

func (h *Hints) forget(of map[netip.Prefix]time.Time, now time.Time) {
	for network, at := range of {
		if now.Sub(at) >= hintKeep {
			delete(of, network)
		}
	}
}

// networkOf gives what counts as one voice.
func networkOf(a netip.Addr) (netip.Prefix, bool) {
	bits := 24
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	return p, err == nil && a.IsValid()
}

// known gives the regions of targets.
func known(targets []Target) []chat.Region {
	var out []chat.Region
	for _, t := range targets {
		out = append(out, t.Region)
	}
	slices.Sort(out)
	return out
}
