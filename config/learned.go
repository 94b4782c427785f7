package config

import (
	"net/netip"
	"slices"
	"time"
)

// Learned is about round trips that the regions measure by their clients' own sockets. All of it is off by default.
type Learned struct {
	// Sample lets region nodes measure, each socket once every SampleEvery, but none of Network.TrustedProxies; they keep at most
	// NetworksMax networks.
	Sample      bool          `yaml:"sample"`
	SampleEvery time.Duration `yaml:"sample_every"`
	NetworksMax int           `yaml:"networks_max"`
	// File is what `meridian rtt collect` wrote and a person has read; "": nothing is learned. One older than MaxAge is refused
	// (0: any age), and one that gives more than ChangedShare of the watched addresses (Router.Canaries) another first region.
	File         string        `yaml:"file"`
	MaxAge       time.Duration `yaml:"max_age"`
	ChangedShare float64       `yaml:"changed_share"`
}

func defaultLearned() Learned {
	return Learned{SampleEvery: time.Hour, NetworksMax: 32_768, MaxAge: 60 * day, ChangedShare: 0.1}
}

func (v *validator) checkLearned() {
	l := v.config.Router.Learned
	within(v, "router.learned.sample_every", l.SampleEvery, time.Second, day)
	within(v, "router.learned.networks_max", l.NetworksMax, 1, 1_000_000)
	within(v, "router.learned.max_age", l.MaxAge, 0, 10*365*day)
	within(v, "router.learned.changed_share", l.ChangedShare, 0, 1)
}

// The prefixes for which round trips are learned: nothing longer leaves a node.
const (
	learnedBits4 = 20
	learnedBits6 = 36
)

// LearnedNetwork gives the network for which the round trip of a client's address is learned; not ok for one that is looked up by
// another address in it.
func LearnedNetwork(a netip.Addr) (network netip.Prefix, ok bool) {
	a = a.Unmap().WithZone("")
	bits := learnedBits6
	if a.Is4() {
		bits = learnedBits4
	}
	network, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}, false
	}
	if slices.ContainsFunc(ipv4InIPv6, network.Overlaps) {
		return netip.Prefix{}, false
	}
	return network, true
}
