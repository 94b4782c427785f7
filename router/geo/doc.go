// Package geo knows where addresses and network points are: the embedded country table or configured MMDB files, compiled
// into ranges of addresses, and the measured network that package decide reckons with. Data never changes once loaded; a
// reload makes a new one, and an unusable file leaves the old one in place.
package geo

//go:generate go run ./generate
