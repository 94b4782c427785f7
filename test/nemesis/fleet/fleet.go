// Package fleet is the people of a nemesis run: clients that write to each other, answer, read and sign up all the time, and
// note when they asked, what they were told and what they were shown, on one monotonic clock.
package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
	meridian "meridian/sdk/go"
	"meridian/test/history"
)

// patience bounds waits that promise nothing: a machine that is busy may take long for anything.
const patience = time.Minute

// Password is everybody's.
const Password = "correct horse battery"

// World is the deployment that the fleet uses.
type World interface {
	Nodes() []chat.NodeRef
	URL(chat.NodeRef) string
	Ready(chat.NodeRef) bool
}

// Fleet is everybody. Its methods are safe for concurrent use.
type Fleet struct {
	People []*Person
	// Asked and Acks count sends; Claims are the sign-ups of contested names.
	Asked, Acks atomic.Int64

	world  World
	zones  map[chat.Zone][]chat.Region
	began  time.Time
	writes sync.WaitGroup
	stop   context.CancelFunc
	asks   sync.WaitGroup  // who ask nodes what they know
	asking context.Context // until Close
	enough context.CancelFunc

	groups []*group // made before anybody writes
	alters bool     // people edit, delete and react

	mu       sync.Mutex
	sends    map[string]*Send
	claims   []history.Claim
	removals []*history.Removal
	deleted  map[string]bool // by client id: a deletion was asked for
}

// Size says how many people there are.
type Size struct {
	// World is the number of people of zone world near each region, Pinned that of zones eu and in.
	World, Pinned int
	// PerSecond is how many messages they write.
	PerSecond int
}

// New signs everybody up and waits until all are served.
func New(ctx context.Context, w World, zones map[chat.Zone][]chat.Region, regions []chat.Region, size Size) (*Fleet, error) {
	f := &Fleet{world: w, zones: zones, began: time.Now(), sends: map[string]*Send{}, deleted: map[string]bool{}}
	f.asking, f.enough = context.WithCancel(context.Background())
	type plan struct {
		name string
		zone chat.Zone
		near chat.Region
	}
	var plans []plan
	for i := range size.World {
		for _, r := range regions {
			plans = append(plans, plan{fmt.Sprintf("world-%s-%d", r, i), "world", r})
		}
	}
	for i := range size.Pinned {
		plans = append(plans, plan{fmt.Sprintf("pinned-eu-%d", i), "eu", regions[i%len(regions)]}, plan{fmt.Sprintf("pinned-in-%d", i), "in", "ap-south"})
	}
	for _, p := range plans {
		person, err := f.join(ctx, p.name, p.zone, p.near)
		if err != nil {
			f.Close()
			return nil, err
		}
		f.People = append(f.People, person)
	}
	for _, p := range f.People { // people of zone in write among themselves: their zone lets nothing out
		for _, other := range f.People {
			if p != other && (p.Zone == "in") == (other.Zone == "in") {
				p.peers = append(p.peers, other)
			}
		}
	}
	for end := time.Now().Add(patience); !f.allServed(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			f.Close()
			return nil, fmt.Errorf("not everybody is served in time")
		}
	}
	return f, nil
}

func (f *Fleet) allServed() bool {
	for _, p := range f.People {
		if url, _ := p.Served(); url == "" {
			return false
		}
	}
	return true
}

// now counts from the fleet's beginning, on the monotonic clock.
func (f *Fleet) now() time.Duration { return time.Since(f.began) }

// Now is the time of what the fleet notes.
func (f *Fleet) Now() time.Duration { return f.now() }

// Write lets everybody write, perSecond messages in all, until Quiet.
func (f *Fleet) Write(perSecond int) {
	ctx, cancel := context.WithCancel(context.Background())
	f.stop = cancel
	pause := time.Second * time.Duration(len(f.People)) / time.Duration(perSecond)
	for i, p := range f.People {
		f.writes.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if p.Gone() {
					return
				}
				_ = p.write(random) // a refusal is noted with the send
			}
		})
	}
	f.writes.Go(func() { f.contest(ctx) })
}

// Quiet ends the writing.
func (f *Fleet) Quiet() {
	if f.stop != nil {
		f.stop()
		f.writes.Wait()
	}
}

// Close ends every client.
func (f *Fleet) Close() {
	f.Quiet()
	f.enough()
	f.asks.Wait()
	for _, p := range f.People {
		p.Leave()
	}
}

// Pending is how many sends of clients that live are not acknowledged for good.
func (f *Fleet) Pending() int {
	n := 0
	for _, p := range f.People {
		if !p.Gone() {
			n += p.Pending()
		}
	}
	return n
}

// GoHome lets everybody whom another region serves begin anew at the near one.
func (f *Fleet) GoHome() {
	var all sync.WaitGroup
	for _, p := range f.People {
		all.Go(p.GoHome)
	}
	all.Wait()
}

func (f *Fleet) regionOf(url string) chat.Region {
	for _, ref := range f.world.Nodes() {
		if f.world.URL(ref) == url {
			return ref.Region
		}
	}
	return ""
}

func (f *Fleet) note(s *Send) {
	f.Asked.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sends[s.ClientID] = s
}

// shown notes that a send's recipient was shown it.
func (f *Fleet) shown(clientID string, now time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sends[clientID]; s != nil && s.Shown == 0 {
		s.Shown = now
	}
}

// Paths gives, for each pair of regions, when somebody there was first shown what was written here at or after a time.
func (f *Fleet) Paths(after time.Duration) map[[2]chat.Region]time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := map[[2]chat.Region]time.Duration{}
	for _, s := range f.sends {
		pair := [2]chat.Region{s.From, s.To}
		if s.To != "" && s.Invoked >= after && s.Shown > 0 && (first[pair] == 0 || s.Shown < first[pair]) {
			first[pair] = s.Shown
		}
	}
	return first
}

// Told counts the acks of a level that came to anybody, of sends and changes.
func (f *Fleet) Told(level meridian.AckLevel) int {
	n := 0
	for _, p := range f.People {
		p.mu.Lock()
		n += p.Told[level]
		p.mu.Unlock()
	}
	return n
}

// Sends gives a copy of all sends, for figures.
func (f *Fleet) Sends() []Send {
	var all []Send
	for _, p := range f.People {
		p.mu.Lock()
		for _, s := range p.sends {
			f.mu.Lock() // Shown is the fleet's
			all = append(all, *s)
			f.mu.Unlock()
		}
		p.mu.Unlock()
	}
	return all
}

// signUp tries for as long as the refusal is one that may pass. After an outcome that was not known the account may be there:
// a name that is taken then is the own, or an earlier try still holds it and gives it back.
func (f *Fleet) signUp(ctx context.Context, s meridian.SignUp, near chat.Region) (account meridian.Account, err error) {
	open := false
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		account, err = f.api(near).SignUp(ctx, s)
		if open && meridian.CodeOf(err) == meridian.CodeUsernameTaken {
			if account, err = f.api(near).LogIn(ctx, meridian.Credentials{Username: s.Username, Password: s.Password}); err != nil {
				continue
			}
		}
		if err == nil || !errRetry(err) {
			break
		}
		open = true
	}
	return account, err
}

// api calls a node of a region that serves; the first when none does.
func (f *Fleet) api(region chat.Region) *meridian.API {
	url := ""
	for _, ref := range f.world.Nodes() {
		if ref.Region == region && (url == "" || f.world.Ready(ref)) {
			url = f.world.URL(ref)
		}
	}
	return &meridian.API{BaseURL: url, Header: header(region)}
}
