package process

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meridian/chat"
	meridian "meridian/sdk/go"
	"meridian/test/cluster"
	"meridian/test/history"
)

const (
	fleetMessages = 10_000
	// fleetTime is how long the messages are spread over; the faults lie within.
	fleetTime  = 75 * time.Second
	perRegion  = 10
	pinnedEach = 4
	// elsewhere is promise 5: the clients of a lost region are served by another one within this.
	elsewhere = 10 * time.Second
	// downFor and cutFor are how long a region stays dead, and a link cut.
	downFor = 5 * time.Second
	cutFor  = 6 * time.Second
	// settleWithin is how long clients may keep back what they wrote last.
	settleWithin = time.Minute
	// arriveWithin is how long what was acknowledged may travel, and arriveReadings how often all mailboxes are read in it at least: on a
	// slow machine one reading takes longer.
	arriveWithin   = 30 * time.Second
	arriveReadings = 3
	// overtime bounds what writing takes longer than it should.
	overtime = 5 * time.Minute
)

var regions = []chat.Region{"us-east", "eu-west", "ap-south"}

// fleet is everybody, and the deployment they use.
type fleet struct {
	t *testing.T
	c *cluster.Cluster
	// messages are spread over the time spread, between perRegion people near each region and some pinned ones. It goes on at that pace
	// for as long as there are faults.
	messages  int64
	spread    time.Duration
	perRegion int
	members   []*member
	sent      atomic.Int64
	faulty    atomic.Bool // there are faults still to come
}

// Ten thousand messages between people of all regions, while each region is killed once and links are cut: every acknowledged
// message stands exactly once in every mailbox that must have it, all agree on one order, every client was shown what its
// mailbox holds, and whoever loses a region is served elsewhere within 10 s.
func TestFleetLosesNothing(t *testing.T) {
	f := &fleet{t: t, c: start(t, nil), messages: fleetMessages, spread: fleetTime, perRegion: perRegion}
	f.join()
	f.deny()
	f.run(f.faults)
	f.figures()
}

// run lets everybody write while faults happen, and judges what came of it.
func (f *fleet) run(faults func()) {
	ctx, cancel := context.WithTimeout(f.t.Context(), f.spread+overtime)
	defer cancel()
	began := time.Now()
	f.faulty.Store(true)
	var writers sync.WaitGroup
	for i, m := range f.members {
		writers.Go(func() {
			f.write(ctx, m, rand.New(rand.NewPCG(uint64(i), 1)))
		})
	}
	faults()
	f.faulty.Store(false)
	writers.Wait()
	f.settle()
	report := f.verdict()
	fmt.Printf("process: %d messages of %d clients in %v: %s\n", f.sent.Load(), len(f.members), time.Since(began).Round(time.Second), report)
	if !report.OK() || int64(report.Acked) < f.messages*99/100 {
		f.t.Errorf("%s", report)
		for _, p := range report.Problems {
			f.t.Error(p)
		}
	}
}

// join makes people near each region, and some pinned ones. World and eu write to each other, in only to in.
func (f *fleet) join() {
	type plan struct {
		name string
		zone chat.Zone
		near chat.Region
	}
	var plans []plan
	for _, r := range regions {
		for i := range f.perRegion {
			plans = append(plans, plan{fmt.Sprintf("world-%s-%d", r, i), "world", r})
		}
	}
	for i := range pinnedEach {
		plans = append(plans, plan{fmt.Sprintf("pinned-eu-%d", i), "eu", regions[i%3]}, plan{fmt.Sprintf("pinned-in-%d", i), "in", "ap-south"})
	}
	for _, p := range plans {
		f.members = append(f.members, join(f.t, f.c, p.name, p.zone, p.near))
	}
	random := rand.New(rand.NewPCG(7, 7))
	for _, m := range f.members {
		for len(m.peers) < min(4, pinnedEach-1) {
			peer := f.members[random.IntN(len(f.members))]
			if peer != m && (m.zone == "in") == (peer.zone == "in") && !slices.Contains(m.peers, peer) {
				m.peers = append(m.peers, peer)
			}
		}
	}
	waitUntil(f.t, patience, "everybody is connected", func() bool {
		return !slices.ContainsFunc(f.members, func(m *member) bool { r, _ := m.served(); return r == "" })
	})
}

// deny checks that a person whose zone denies it cannot write to the world; what was refused must then be nowhere.
func (f *fleet) deny() {
	var in, world *member
	for _, m := range f.members {
		switch m.zone {
		case "in":
			in = m
		case "world":
			world = m
		}
	}
	if err := in.write(world, rand.New(rand.NewPCG(1, 1))); err != nil {
		f.t.Fatal(err)
	}
	waitUntil(f.t, patience, "in → world is denied", func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return slices.ContainsFunc(in.refusals, func(err error) bool { return errors.Is(err, &meridian.Error{Code: meridian.CodeDenied}) })
	})
}

// write sends one person's share, evenly spread.
func (f *fleet) write(ctx context.Context, m *member, random *rand.Rand) {
	pause := f.spread * time.Duration(len(f.members)) / time.Duration(f.messages)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for f.sent.Add(1) <= f.messages || f.faulty.Load() {
		if err := m.write(m.peers[random.IntN(len(m.peers))], random); err != nil {
			f.t.Errorf("%s cannot send: %v", m.name, err)
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.t.Errorf("%s was not done in time", m.name)
			return
		}
	}
	f.sent.Add(-1)
}

// faults kills each region once, then cuts links; each is mended before the next.
func (f *fleet) faults() {
	time.Sleep(5 * time.Second)
	for _, r := range regions {
		f.kill(r)
		time.Sleep(6 * time.Second)
	}
	f.cut([2]chat.Region{"us-east", "eu-west"})
	f.cut([2]chat.Region{"ap-south", "us-east"}, [2]chat.Region{"ap-south", "eu-west"})
}

func (f *fleet) kill(region chat.Region) {
	var hit []*member
	for _, m := range f.members {
		if r, _ := m.served(); r == region && m.zone == "world" {
			hit = append(hit, m)
		}
	}
	killed := time.Now()
	f.c.Kill(region)
	var slowest time.Duration
	for _, m := range hit {
		for {
			r, since := m.served()
			if r != "" && r != region {
				slowest = max(slowest, since.Sub(killed))
				break
			}
			if time.Since(killed) > elsewhere {
				f.t.Errorf("%s, of the killed %s, is not served elsewhere after %v", m.name, region, elsewhere)
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	fmt.Printf("process: %s killed: its %d clients were served elsewhere within %v\n", region, len(hit), slowest.Round(time.Millisecond))
	time.Sleep(time.Until(killed.Add(downFor)))
	f.c.Restart(region)
	fmt.Printf("process: %s serves again %v after the kill\n", region, time.Since(killed).Round(time.Millisecond))
}

func (f *fleet) cut(links ...[2]chat.Region) {
	for _, l := range links {
		f.c.Cut(l[0], l[1])
	}
	time.Sleep(cutFor)
	for _, l := range links {
		f.c.Heal(l[0], l[1])
	}
	time.Sleep(cutFor / 2)
}

// settle waits until no client keeps anything back.
func (f *fleet) settle() {
	began := time.Now()
	done := func() bool {
		return !slices.ContainsFunc(f.members, func(m *member) bool { return len(m.client.Pending()) > 0 })
	}
	for end := began.Add(settleWithin); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().Before(end) {
			continue
		}
		for _, m := range f.members {
			if waiting := m.client.Pending(); len(waiting) > 0 {
				region, since := m.served()
				f.t.Logf("%s (zone %s), served by %q since %v, has %d unacknowledged, the oldest of %v", m.name, m.zone, region, since, len(waiting), waiting[0].Created)
			}
		}
		f.t.Fatalf("not every send is acknowledged for good within %v", settleWithin)
	}
	fmt.Printf("process: the last send was acknowledged for good %v after it was written\n", time.Since(began).Round(time.Millisecond))
}

// verdict reads every mailbox in every region of its zone and judges; what still travels has arriveWithin.
func (f *fleet) verdict() *history.Report {
	began := time.Now()
	r := newReader(f.t, f.c)
	for readings := 1; ; readings++ {
		report := history.Check(f.history(r))
		if report.OK() || readings >= arriveReadings && time.Since(began) > arriveWithin {
			fmt.Printf("process: all mailboxes read and judged %d times, within %v of the last ack\n", readings, time.Since(began).Round(time.Millisecond))
			return report
		}
		time.Sleep(2 * time.Second)
	}
}

func (f *fleet) history(r *reader) *history.History {
	h := &history.History{Homes: map[string][]string{}}
	topology := f.c.Config.Topology()
	for _, m := range f.members {
		zone, _ := topology.Zone(m.zone)
		for _, region := range zone.Regions {
			h.Homes[m.id] = append(h.Homes[m.id], string(region))
			h.Mailboxes = append(h.Mailboxes, r.mailboxes(m, region)...)
		}
	}
	for _, m := range f.members { // after the mailboxes: a client may be ahead of what was read, never behind for long
		m.mu.Lock()
		v := history.View{Owner: m.id, Repeats: slices.Clone(m.repeats)}
		for id := range m.view {
			v.IDs = append(v.IDs, id)
		}
		for _, s := range m.sends {
			h.Sends = append(h.Sends, *s)
		}
		m.mu.Unlock()
		h.Views = append(h.Views, v)
	}
	return h
}

// figures prints what happened and checks what must never happen.
func (f *fleet) figures() {
	connects, resets := 0, 0
	for _, m := range f.members {
		m.mu.Lock()
		connects += m.connects
		resets += m.resets
		for _, err := range m.refusals {
			if m.zone != "in" || !errors.Is(err, &meridian.Error{Code: meridian.CodeDenied}) {
				f.t.Errorf("%s was refused: %v", m.name, err)
			}
		}
		m.mu.Unlock()
	}
	fmt.Printf("process: %d links were made, %d of them began with a reset\n", connects, resets)
	if resets > connects/4 {
		f.t.Errorf("%d of %d links began with a reset: resuming by cursor does not work", resets, connects)
	}
	for _, region := range regions {
		for _, never := range []string{"dead_letters_total", "residency_violations_total", "defects_total"} {
			if n := f.c.Metric(region, never); n != 0 {
				f.t.Errorf("%s: %s is %v", region, never, n)
			}
		}
		if n := f.c.Metric(region, "refused_total", `code="clock_skew"`); n != 0 {
			f.t.Errorf("%s refused %v times because of its clock", region, n)
		}
	}
}
