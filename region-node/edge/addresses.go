package edge

import (
	"net/netip"
	"sync"
)

// addressCounter bounds the sockets of one address.
type addressCounter struct {
	limit int
	mu    sync.Mutex
	open  map[netip.Addr]int
}

func newAddressCounter(limit int) *addressCounter {
	return &addressCounter{limit: limit, open: make(map[netip.Addr]int)}
}

func (c *addressCounter) add(a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[a] >= c.limit {
		return false
	}
	c.open[a]++
	return true
}

func (c *addressCounter) remove(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[a]--; c.open[a] <= 0 {
		delete(c.open, a)
	}
}
