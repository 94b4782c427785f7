package fleet

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"meridian/chat"
	meridian "meridian/sdk/go"
)

// Crowd is many clients of few people that say nothing: they only want to be served.
type Crowd struct {
	fleet   *Fleet
	clients []*guest
	stop    context.CancelFunc
	ended   sync.WaitGroup

	mu    sync.Mutex
	dials []time.Duration
	stood []standstill
}

// standstill is a time in which the machine let nothing of this process run.
type standstill struct{ until, length time.Duration }

// pulse is how often a crowd looks whether it runs at all.
const pulse = 20 * time.Millisecond

// guest is one client of a crowd.
type guest struct {
	mu    sync.Mutex
	url   string
	since time.Duration
}

// socketsPerPerson is how many clients of a crowd share an account.
const socketsPerPerson = 20

// Gather signs people up near a region and waits until size clients are served.
func (f *Fleet) Gather(ctx context.Context, size int, near chat.Region) (*Crowd, error) {
	c := &Crowd{fleet: f}
	run, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.ended.Go(func() { c.watch(run) })
	for i := 0; len(c.clients) < size; i++ {
		account, err := f.signUp(ctx, meridian.SignUp{Username: fmt.Sprintf("crowd-%s-%d", near, i), Password: Password, Zone: "world"}, near)
		if err != nil {
			c.Close()
			return nil, err
		}
		for range min(socketsPerPerson, size-len(c.clients)) {
			g := &guest{}
			client := f.Client(meridian.Options{
				Tokens: account.Tokens, Handle: func(e meridian.Event) { g.handle(f, e) }, Dial: c.dial,
			}, near)
			c.clients = append(c.clients, g)
			c.ended.Go(func() { _ = client.Run(run) }) // it ends with the crowd
		}
	}
	for end := time.Now().Add(2 * patience); ; time.Sleep(50 * time.Millisecond) {
		if served := c.ServedBy(func(string) bool { return true }); served == size {
			return c, nil
		} else if time.Now().After(end) {
			c.Close()
			return nil, fmt.Errorf("only %d of a crowd of %d are served", served, size)
		}
	}
}

func (g *guest) handle(f *Fleet, e meridian.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch e := e.(type) {
	case meridian.Connected:
		g.url, g.since = e.URL, f.now()
	case meridian.Disconnected:
		g.url = ""
	}
}

// ServedBy counts the clients that are served by a URL that fits.
func (c *Crowd) ServedBy(fits func(url string) bool) int {
	n := 0
	for _, g := range c.clients {
		g.mu.Lock()
		if g.url != "" && fits(g.url) {
			n++
		}
		g.mu.Unlock()
	}
	return n
}

// Returned gives, sorted, how long after a time each client was served that began to be after it.
func (c *Crowd) Returned(after time.Duration) []time.Duration {
	var all []time.Duration
	for _, g := range c.clients {
		g.mu.Lock()
		if g.url != "" && g.since > after {
			all = append(all, g.since-after)
		}
		g.mu.Unlock()
	}
	slices.Sort(all)
	return all
}

// dial connects, and notes when a connection was there.
func (c *Crowd) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.dials = append(c.dials, c.fleet.now())
	}
	return conn, err
}

// Accepted gives how long after a time each connection was accepted that came after it.
func (c *Crowd) Accepted(after time.Duration) []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []time.Duration
	for _, at := range c.dials {
		if at > after {
			all = append(all, at-after)
		}
	}
	return all
}

// watch notes when this process stood still.
func (c *Crowd) watch(ctx context.Context) {
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for last := c.fleet.now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := c.fleet.now()
		if length := now - last; length > 2*pulse {
			c.mu.Lock()
			c.stood = append(c.stood, standstill{now, length})
			c.mu.Unlock()
		}
		last = now
	}
}

// StoodStill gives the longest time after a time in which nothing of this process ran: whoever would have come in it comes after it at once.
func (c *Crowd) StoodStill(after time.Duration) (longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.stood {
		if s.until > after {
			longest = max(longest, s.length)
		}
	}
	return longest
}

// Close ends every client.
func (c *Crowd) Close() {
	c.stop()
	c.ended.Wait()
}
