package process

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
)

// An operator who takes a region out of the configuration of a router that runs is refused while people are there, and taken by force: from
// the next query on neither names, nor routes, nor explain say it, the zone that lived there alone has no name any more, and the person who
// is there stays served. How long answers live, and how many regions they name, is taken by the same word, and the
// region comes back as it went.
func TestReloadTakesARegionOut(t *testing.T) {
	c := start(t, nil)
	o := newObserver(t, c)
	o.settle("all serve", nil, nil)
	mumbai := netip.MustParseAddr(addresses["ap-south"])
	there := &kept{o: o, p: o.crowd(1)[0], addr: mumbai}
	there.open(time.Now().Add(time.Minute))
	if there.region != "ap-south" {
		t.Fatalf("served by %q", there.region)
	}
	a := askerOf(t, c)
	answered := func(want ...chat.Region) {
		t.Helper()
		names, err := a.ask(mumbai, time.Minute)
		e, failed := o.explain(mumbai, "")
		var r routed
		if err != nil || failed != nil || o.get(o.router(), "/v1/route", "", mumbai, &r) != nil {
			t.Fatal(err, failed)
		}
		if !slices.Equal(names, want) || !slices.Equal(e.Names[:len(want)], want) || slices.Contains(r.regions(), "ap-south") != slices.Contains(want, "ap-south") {
			t.Errorf("want %v: DNS %v, explain %v, route %v", want, names, e.Names, r.regions())
		}
	}
	reload := func(code int, says string, flags ...string) {
		t.Helper()
		if got, said := c.Verb(append([]string{"router", "reload"}, flags...)...); got != code || !strings.Contains(said, says) {
			t.Fatalf("exit %d, want %d with %q: %s", got, code, says, said)
		}
	}
	answered("ap-south", "eu-west")
	whole, smaller := *c.Config, *c.Config
	smaller.Regions = slices.DeleteFunc(slices.Clone(whole.Regions), func(r config.Region) bool { return r.Name == "ap-south" })
	smaller.Zones = nil
	for _, z := range whole.Zones {
		z.Regions = slices.DeleteFunc(slices.Clone(z.Regions), func(r chat.Region) bool { return r == "ap-south" })
		if len(z.Regions) > 0 {
			smaller.Zones = append(smaller.Zones, z)
		}
	}
	smaller.Router.AnswerRegions = 1
	c.Write(&smaller)
	reload(4, "region ap-south, where 1 sockets are open")
	answered("ap-south", "eu-west")
	reload(0, "left out: ap-south", "--force")
	answered("eu-west")
	if err := there.conn.WriteJSON(map[string]string{"t": "ping"}); err != nil {
		t.Errorf("who is there: %v", err)
	}
	c.Write(&whole)
	reload(0, "new: ap-south")
	answered("ap-south", "eu-west")
	if got, said := c.Verb("router", "reload", "--json"); got != 0 || !strings.Contains(said, `"regions"`) {
		t.Errorf("again: exit %d: %s", got, said)
	}
}
