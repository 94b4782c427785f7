package decide_test

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
)

// Names leave a draining region in four steps of a quarter of the time each, the last of which leaves nobody; without a time at once.
func TestDrainWeight(t *testing.T) {
	from := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	until := from.Add(8 * time.Minute)
	for after, want := range map[time.Duration]float64{
		-time.Second: 0.75, // a router's clock is behind the region's
		0:            0.75, 2*time.Minute - 1: 0.75, 2 * time.Minute: 0.5, 4 * time.Minute: 0.25, 6*time.Minute - 1: 0.25, 6 * time.Minute: 0,
		7 * time.Minute: 0, 8 * time.Minute: 0, 100 * time.Hour: 0,
	} {
		if got := decide.DrainWeight(from, until, from.Add(after)); got != want {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
	for _, now := range []time.Time{from.Add(-time.Hour), from, from.Add(time.Hour)} {
		if got := decide.DrainWeight(from, from, now); got != 0 {
			t.Errorf("without a time: %v", got)
		}
	}
}

// While a region drains, whoever opens a socket is sent elsewhere at once, whatever the names still say. The names keep its share of the
// networks at each step, and a network that has left does not come back.
func TestNamesLeaveADrainingRegionByStep(t *testing.T) {
	m := model(t, &config.Config{Regions: three})
	left := map[netip.Addr]bool{}
	for _, weight := range []float64{1, 0.75, 0.5, 0.25, 0} {
		kept, all := 0, 0
		for i := range 4000 {
			addr := netip.AddrFrom4([4]byte{81, byte(i >> 8), byte(i), 1})
			d, err := m.Decide(decide.Input{
				Address: addr, Place: at(51.5, -0.1, "GB"), ShedHash: decide.ShedHash(addr),
				States: decide.States{"eu-west": {Draining: true, DrainWeight: weight}},
			})
			if err != nil || d.Region != "us-east" || d.DecidedBy != "drain" {
				t.Fatalf("%s at %v: a socket goes to %s by %s, %v", addr, weight, d.Region, d.DecidedBy, err)
			}
			all++
			switch d.Names[0] {
			case "eu-west":
				kept++
				if left[addr] {
					t.Fatalf("%s came back at %v", addr, weight)
				}
				if text := d.Text(); !strings.Contains(text, "names still lead this network to eu-west") || !strings.Contains(text, fmt.Sprintf("%.0f %% of all", weight*100)) {
					t.Fatalf("not explained:\n%s", text)
				}
			case "us-east":
				left[addr] = true
			default:
				t.Fatalf("%s: names lead to %s", addr, d.Names[0])
			}
		}
		if share := float64(kept) / float64(all); math.Abs(share-weight) > 0.03 {
			t.Errorf("at %v the names keep %v of the networks", weight, share)
		}
	}
}

// A region that is the only one for somebody serves them also while it drains; and one that is down is not led to by any weight.
func TestDrainLeavesNobodyWithout(t *testing.T) {
	m := model(t, &config.Config{Regions: three})
	zone := &chat.ZoneSpec{Name: "in", Regions: []chat.Region{"ap-south"}, Transit: chat.TransitDeny}
	states := decide.States{"ap-south": {Draining: true, DrainWeight: 0.5}}
	d, err := m.Decide(decide.Input{Address: client, Place: at(19, 72, "IN"), Zone: zone, States: states})
	if err != nil || d.Region != "ap-south" {
		t.Errorf("pinned: %s, %v", d.Region, err)
	}
	d, err = m.Decide(decide.Input{Address: client, Place: at(19, 72, "IN"), Host: zone, States: states})
	if err != nil || len(d.Names) != 1 || d.Names[0] != "ap-south" {
		t.Errorf("by the zone's host: names lead to %v, %v", d.Names, err)
	}
	states["ap-south"] = decide.State{Draining: true, DrainWeight: 1, Health: decide.HealthDown}
	if d, err = m.Decide(decide.Input{Address: client, Place: at(19, 72, "IN"), States: states}); err != nil || d.Names[0] == "ap-south" {
		t.Errorf("down: names lead to %v, %v", d.Names, err)
	}
}

// Where no region of a home zone serves, and transit is allowed, the decision says that whoever takes the socket cannot serve it.
func TestHomeDown(t *testing.T) {
	m := model(t, &config.Config{Regions: three})
	zone := &chat.ZoneSpec{Name: "eu", Regions: []chat.Region{"eu-west"}, Transit: chat.TransitAllow}
	for _, c := range []struct {
		states decide.States
		want   bool
	}{
		{nil, false},
		{down("eu-west"), true},
		{down("us-east"), false},
		{decide.States{"eu-west": {Draining: true}}, false}, // it goes on serving those of its zone
	} {
		d, err := m.Decide(decide.Input{Address: client, Place: at(51.5, -0.1, "GB"), Zone: zone, States: c.states})
		if err != nil || d.HomeDown != c.want || strings.Contains(d.Text(), "home cannot be reached") != c.want {
			t.Errorf("%v: home down %v, %v\n%s", c.states, d.HomeDown, err, d.Text())
		}
	}
}
