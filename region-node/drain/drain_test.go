package drain

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"meridian/chat"
	"meridian/region-node/wire"
)

// fakeSocket is one person's, who moves when asked unless stubborn.
type fakeSocket struct {
	zone     chat.Zone
	edge     chat.Region
	stubborn bool
	house    *house
}

func (f *fakeSocket) Person() (chat.Zone, netip.Addr) {
	return f.zone, netip.MustParseAddr("192.0.2.1")
}
func (f *fakeSocket) Edge() chat.Region { return f.edge }

func (f *fakeSocket) GoAway(frame wire.GoAway) {
	f.house.mu.Lock()
	defer f.house.mu.Unlock()
	f.house.asked = append(f.house.asked, time.Now())
	if frame.Reason != "drain" || len(frame.Endpoints) == 0 || frame.WithinMs < 0 || frame.WithinMs > moveWithin.Milliseconds() {
		f.house.t.Errorf("asked by %+v", frame)
	}
	if !f.stubborn {
		delete(f.house.open, f)
	}
}

func (f *fakeSocket) End(code int, _ string) {
	f.house.mu.Lock()
	defer f.house.mu.Unlock()
	delete(f.house.open, f)
	f.house.ended = append(f.house.ended, code)
}

// house is a node with its sockets, in simulated time.
type house struct {
	t    *testing.T
	self chat.Region
	dir  string
	s    *Service

	mu    sync.Mutex
	open  map[*fakeSocket]bool
	asked []time.Time
	ended []int
	told  []Word
}

type noMetrics struct{}

func (noMetrics) Count(string, ...string)        {}
func (noMetrics) Set(string, float64, ...string) {}

// newHouse makes a node whose people of zone "in" have no other region.
func newHouse(t *testing.T, dir string) *house {
	t.Helper()
	h := &house{t: t, self: "eu-west", dir: dir, open: map[*fakeSocket]bool{}}
	s, err := New(Options{
		Self: h.self, Regions: []chat.Region{"ap-south", "eu-west", "us-east"}, File: filepath.Join(dir, "sub", "drain.json"), Now: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: noMetrics{},
		Load: func() int { return len(h.sockets()) }, Sockets: h.sockets,
		Elsewhere: func(zone chat.Zone, _ netip.Addr, _ chat.Region) []chat.Endpoint {
			if zone == "in" {
				return nil
			}
			return []chat.Endpoint{{Region: "us-east", URL: "http://us-east"}}
		},
		Tell: func(kind string, payload []byte) {
			var w Word
			if err := json.Unmarshal(payload, &w); err != nil || kind != Kind {
				t.Errorf("told %s %s", kind, payload)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.told = append(h.told, w)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.s = s
	return h
}

func (h *house) sockets() []Socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Socket
	for s := range h.open {
		out = append(out, s)
	}
	return out
}

func (h *house) add(n int, zone chat.Zone, stubborn bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range n {
		h.open[&fakeSocket{zone: zone, edge: h.self, stubborn: stubborn, house: h}] = true
	}
}

// seen gives how many were asked, and with what codes others were closed.
func (h *house) seen() (asked int, ended []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.asked), slices.Clone(h.ended)
}

// run runs the service until the test's bubble ends.
func (h *house) run(ctx context.Context) { go h.s.Run(ctx) }

func (h *house) give(on bool, within time.Duration) Order {
	h.t.Helper()
	o, err := h.s.Give(on, within)
	if err != nil {
		h.t.Fatal(err)
	}
	return o
}

// A drain asks every socket once, evenly over four fifths of its time; who was asked and stays is closed when the time is over, and who
// has no other region is left in peace.
func TestSocketsAreAskedEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		h := newHouse(t, t.TempDir())
		h.add(900, "world", false)
		h.add(100, "world", true)
		h.add(10, "in", false)
		h.run(ctx)
		began := time.Now()
		h.give(true, 10*time.Minute)
		for minute := 1; minute <= 8; minute++ {
			time.Sleep(time.Minute)
			synctest.Wait()
			asked, _ := h.seen()
			if want := 1000 * minute / 8; asked < want-100 || asked > want+100 {
				t.Errorf("%d were asked after %d min, want about %d", asked, minute, want)
			}
		}
		p := h.s.Progress()
		if asked, ended := h.seen(); p == nil || p.Left != 110 || p.Asked != 100 || p.Stay != 10 || asked != 1000 || len(ended) != 0 {
			t.Errorf("after 8 min: %+v, %d asked, %d closed", p, asked, len(ended))
		}
		time.Sleep(time.Until(began.Add(10*time.Minute + againAfter)))
		synctest.Wait()
		asked, ended := h.seen()
		if len(ended) != 100 || slices.ContainsFunc(ended, func(code int) bool { return code != 1012 }) || len(h.sockets()) != 10 || asked != 1000 {
			t.Errorf("at the end %d were closed, %d are left", len(ended), len(h.sockets()))
		}
	})
}

// A drain that is taken back asks nobody any more, and new people are served; one that is given a later end keeps its beginning.
func TestDrainIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		h := newHouse(t, t.TempDir())
		h.add(1000, "world", false)
		h.run(ctx)
		if to := h.s.Leave("world", netip.Addr{}); len(to) != 0 {
			t.Errorf("nobody drains, and new people are sent to %v", to)
		}
		first := h.give(true, 10*time.Minute)
		if to := h.s.Leave("world", netip.Addr{}); len(to) != 1 || len(h.s.Leave("in", netip.Addr{})) != 0 {
			t.Errorf("new people are sent to %v", to)
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait() // a look at this very moment goes by the first order
		before, _ := h.seen()
		longer := h.give(true, 16*time.Minute)
		if !longer.From.Equal(first.From) || longer.Until.Sub(first.From) != 20*time.Minute || !longer.After(first) {
			t.Errorf("longer: %+v", longer)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		asked, _ := h.seen()
		if asked != before { // a quarter of the time is over now, and half of the people were asked
			t.Errorf("%d were asked before the drain got longer, %d a second later", before, asked)
		}
		h.give(false, 0)
		time.Sleep(time.Hour)
		synctest.Wait()
		all, ended := h.seen()
		if all != asked || asked < 400 || asked > 600 || len(ended) != 0 || h.s.Progress() != nil || len(h.s.Leave("world", netip.Addr{})) != 0 {
			t.Errorf("%d were asked until it was taken back, %d in all; progress %+v", asked, all, h.s.Progress())
		}
	})
}

// What the operator ordered outlives the node; a damaged file stops the start instead of serving against an order.
func TestOrderIsKept(t *testing.T) {
	dir := t.TempDir()
	h := newHouse(t, dir)
	order := h.give(true, time.Hour)
	if got := newHouse(t, dir).s.Order("eu-west"); got != order {
		t.Errorf("after a restart: %+v, want %+v", got, order)
	}
	for _, within := range []time.Duration{-time.Second, WithinMax + 1} {
		if _, err := h.s.Give(true, within); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("within %v: %v", within, err)
		}
	}
	file := filepath.Join(dir, "sub", "drain.json")
	if err := os.WriteFile(file, []byte(`{"on":tr`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Self: "eu-west", File: file}); chat.CodeOf(err) != chat.CodeInternal || !strings.Contains(err.Error(), file) {
		t.Errorf("a damaged file: %v", err)
	}
}

// All nodes end with the order that was given last, in whatever order they hear it, also when the clock of who took it was behind; no
// region orders about another one, and what cannot be read changes nothing.
func TestOrdersAreHeard(t *testing.T) {
	h := newHouse(t, t.TempDir())
	sibling, other := chat.NodeRef{Region: "eu-west", Node: "n2"}, chat.NodeRef{Region: "us-east", Node: "n1"}
	now := time.Now().UTC()
	say := func(from chat.NodeRef, o Order, sockets int) {
		payload, err := json.Marshal(Word{Order: o, Sockets: sockets})
		if err != nil {
			t.Fatal(err)
		}
		h.s.Hear(from, payload)
	}
	say(sibling, Order{On: true, Given: now.Add(time.Hour), From: now, Until: now.Add(time.Hour)}, 7)
	say(sibling, Order{On: false, Given: now}, 7) // older
	say(other, Order{On: true, Given: now, Until: now}, 30)
	say(chat.NodeRef{Region: "us-east", Node: "n2"}, Order{}, 12) // has not heard yet
	h.s.Hear(other, []byte("no JSON"))
	if orders := h.s.Orders(); len(orders) != 2 || !orders["eu-west"].On || !orders["us-east"].On {
		t.Errorf("orders: %+v", orders)
	}
	h.add(5, "world", false)
	if loads := h.s.Loads(); !maps.Equal(loads, map[chat.Region]int{"eu-west": 12, "us-east": 42}) {
		t.Errorf("loads: %v", loads)
	}
	if back := h.give(false, 0); !back.After(Order{Given: now.Add(time.Hour)}) || h.s.Order("eu-west").On {
		t.Errorf("taken back behind a clock that is ahead: %+v", back)
	}
	if len(h.told) != 1 || h.told[0].Order.On || h.told[0].Sockets != 5 {
		t.Errorf("told: %+v", h.told)
	}
}

// A plan is refused where people of a zone that forbids transit would have no region, where nobody else serves, and where another region
// would get more than 85 % of its capacity; the refusal has the figures. What only must be known is a note.
func TestPlan(t *testing.T) {
	topology := chat.Topology{Regions: []chat.Region{"ap-south", "eu-west", "us-east"}, Zones: map[chat.Zone]chat.ZoneSpec{
		"world": {Name: "world", Regions: []chat.Region{"ap-south", "eu-west", "us-east"}, Transit: chat.TransitAllow},
		"eu":    {Name: "eu", Regions: []chat.Region{"eu-west"}, Transit: chat.TransitAllow},
		"in":    {Name: "in", Regions: []chat.Region{"ap-south"}, Transit: chat.TransitDeny},
	}}
	serving := func(regions ...chat.Region) map[chat.Region]bool {
		out := map[chat.Region]bool{}
		for _, r := range regions {
			out[r] = true
		}
		return out
	}
	for name, c := range map[string]struct {
		w             World
		refused, note string
	}{
		"room":                           {World{Region: "us-east", Serving: serving("ap-south", "eu-west"), Moves: map[chat.Region]int{"eu-west": 50}, Sockets: map[chat.Region]int{"eu-west": 35}, Capacity: map[chat.Region]int{"eu-west": 100}}, "", ""},
		"no room":                        {World{Region: "us-east", Serving: serving("ap-south", "eu-west"), Moves: map[chat.Region]int{"eu-west": 51}, Sockets: map[chat.Region]int{"eu-west": 35}, Capacity: map[chat.Region]int{"eu-west": 100}}, "eu-west has room for 85 sockets (85 % of its capacity of 100): it serves 35, and 51 would come, 1 too many", ""},
		"full without anybody who comes": {World{Region: "us-east", Serving: serving("ap-south", "eu-west"), Sockets: map[chat.Region]int{"eu-west": 99}, Capacity: map[chat.Region]int{"eu-west": 100}}, "", ""},
		"pinned, and transit is denied":  {World{Region: "ap-south", Serving: serving("us-east", "eu-west"), Stay: map[chat.Zone]int{"in": 12}}, "zone in forbids transit, and no other region of it serves (ap-south): its 12 open sockets would have nowhere to go", ""},
		"pinned, and transit is allowed": {World{Region: "eu-west", Serving: serving("us-east", "ap-south")}, "", "no other region of zone eu serves (eu-west)"},
		"nobody else":                    {World{Region: "eu-west", Serving: serving()}, "no other region serves", ""},
	} {
		c.w.Topology = topology
		p := Make(c.w)
		err := p.Err()
		if (err == nil) != (c.refused == "") || c.refused != "" && (chat.CodeOf(err) != chat.CodeDenied || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v, want %q", name, err, c.refused)
		}
		if notes := strings.Join(p.Notes, "; "); c.note != "" && !strings.Contains(notes, c.note) || c.note == "" && notes != "" && !strings.Contains(name, "nobody") {
			t.Errorf("%s: notes %q, want %q", name, notes, c.note)
		}
	}
	p := Make(World{Region: "us-east", Topology: topology, Serving: serving("ap-south"), Moves: map[chat.Region]int{"ap-south": 4}, Stay: map[chat.Zone]int{"x": 3}})
	if p.Sockets != 7 || fmt.Sprint(p.Targets) != "[{ap-south 0 4 0}]" {
		t.Errorf("plan: %+v", p)
	}
}
