package decide

import (
	"net/netip"
	"time"

	"meridian/chat"
)

// Health is what the probes say about a region.
type Health string

// The health verdicts. What nobody has probed yet serves.
const (
	HealthUnknown Health = ""
	HealthUp      Health = "up"
	HealthDown    Health = "down"
)

// State is what may change about a region from one second to the next. The zero State serves.
type State struct {
	Health Health `json:"health,omitempty"`
	// Draining: the operator moves people away; the region still works, and takes no new sockets. DrainUntil is for people to read.
	Draining   bool      `json:"draining,omitempty"`
	DrainUntil time.Time `json:"drain_until,omitzero"`
	// DrainWeight is the share of client prefixes, 0 to 1, that names still lead to a draining region (see the function DrainWeight).
	DrainWeight float64 `json:"drain_weight,omitempty"`
	// Forced is the operator's word against the probes; "" leaves it to them. ForcedWhy says until when, who and why.
	Forced    Health `json:"forced,omitempty"`
	ForcedWhy string `json:"forced_why,omitempty"`
	// Load is sockets over capacity; 0 where no capacity is set. Shed is the share of client prefixes, 0 to 1, that should
	// go elsewhere because of it (see Shed).
	Load float64 `json:"load,omitempty"`
	Shed float64 `json:"shed,omitempty"`
	// Why says in words what the probes saw.
	Why string `json:"why,omitempty"`
}

// Force takes the operator's word, which the regions in by tell.
func (s *State) Force(word chat.Force, by []chat.Region) {
	s.Forced = Health(word.State)
	s.ForcedWhy = "until " + word.Until.UTC().Format(time.RFC3339)
	if word.By != "" {
		s.ForcedWhy += ", by " + word.By
	}
	s.ForcedWhy += ": " + word.Reason + " (as " + join(by) + " tell)"
}

// States holds the states by region; a region that is missing serves.
type States map[chat.Region]State

// Set is a set of regions by their number in the configuration.
type Set uint32

// Has says whether region i is in the set.
func (s Set) Has(i uint8) bool { return s&(1<<i) != 0 }

// All is every region.
const All = ^Set(0)

// Set gives the set of these regions; unknown ones are left out.
func (m *Model) Set(regions []chat.Region) Set {
	var s Set
	for _, r := range regions {
		if i, ok := m.index[r]; ok {
			s |= 1 << i
		}
	}
	return s
}

// class orders regions by what their state allows; a lower one is used before any higher one.
type class uint8

const (
	classServing class = iota
	classDraining
	classDown   // by the probes
	classForced // by the operator
	classes
)

// Board is the state of all regions in the form that picking needs. A health change makes a new one.
type Board struct {
	class    [chat.MaxRegions]class
	shed     [chat.MaxRegions]float64
	shedding bool
	// unsettled are the regions that are down or draining.
	unsettled Set
}

// Board compiles states.
func (m *Model) Board(states States) Board {
	var b Board
	for i, r := range m.regions {
		s := states[r.name]
		b.class[i] = s.class()
		if b.class[i] != classServing || s.Draining {
			b.unsettled |= 1 << i
		}
		if b.class[i] == classServing && s.Shed > 0 {
			b.shed[i], b.shedding = s.Shed, true
		}
	}
	return b
}

// NamesBoard compiles states for name look-ups. Resolvers keep what they are told, so the names leave a draining region step by
// step: as long as State.DrainWeight says, its share of the client prefixes still gets it. Whoever asks for a socket is sent
// elsewhere at once (see Board).
func (m *Model) NamesBoard(states States) Board {
	b := m.Board(states)
	for i, r := range m.regions {
		if s := states[r.name]; b.class[i] == classDraining && s.DrainWeight > 0 {
			b.class[i], b.shed[i], b.shedding = classServing, max(s.Shed, 1-s.DrainWeight), true
		}
	}
	return b
}

// Shedding says that a client's prefix may decide between regions of one ranking: answers then hold for a /24 (IPv4) or
// /48 (IPv6) at most.
func (b *Board) Shedding() bool { return b.shedding }

// Unsettled says that a region of these is down or draining: answers that name others are expected to change again soon.
func (b *Board) Unsettled(of Set) bool { return b.unsettled&of != 0 }

func (s State) class() class {
	switch {
	case s.Forced == HealthDown:
		return classForced
	case s.Health == HealthDown && s.Forced != HealthUp:
		return classDown
	case s.Draining:
		return classDraining
	}
	return classServing
}

// Pick appends to dst the regions that should serve now, best first: of order, which is a ranking, those in allowed that
// are in the best state any of them is in. So it is never empty unless order and allowed have nothing in common: where all
// are down, it answers by geography. A region that sheds load falls behind for its share of the clients; hash, in [0, 1),
// is the client's (see ShedHash). Pick does not allocate when dst has room.
func (b *Board) Pick(dst, order []uint8, allowed Set, hash float64) []uint8 {
	best := classes
	for _, i := range order {
		if allowed.Has(i) && b.class[i] < best {
			best = b.class[i]
		}
	}
	for _, behind := range [2]bool{false, true} {
		for _, i := range order {
			if allowed.Has(i) && b.class[i] == best && (hash < b.shed[i]) == behind {
				dst = append(dst, i)
			}
		}
		if !b.shedding {
			break
		}
	}
	return dst
}

// ShedHash gives a client's place in [0, 1) by its /24 (IPv4) or /48 (IPv6), so that an address does not flap and its
// neighbours go with it.
func ShedHash(a netip.Addr) float64 {
	b := a.As16()
	part := b[:6]
	if a.Unmap().Is4() {
		part = b[12:15]
	}
	h := uint64(14695981039346656037)
	for _, x := range part {
		h = (h ^ uint64(x)) * 1099511628211
	}
	h ^= h >> 33 // FNV's high bits alone are weak on short input
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return float64(h>>11) / (1 << 53)
}

// The marks between which a region sheds load.
const (
	shedFrom  = 0.85
	shedUntil = 0.70
	shedStep  = 0.10
)

// Shed gives the next share of prefixes to send elsewhere: it grows by a tenth a step from 85 % load and shrinks by a
// tenth a step below 70 %; in between it stays. Call it about every 30 s.
func Shed(share, load float64) float64 {
	switch {
	case load >= shedFrom:
		return min(1, share+shedStep)
	case load < shedUntil:
		return max(0, share-shedStep)
	}
	return share
}
