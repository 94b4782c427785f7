package regionnode_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"meridian/chat"
	"meridian/config"
	regionnode "meridian/region-node"
)

// admin makes a call to a region's admin listener and gives the status and the body.
func (w *world) admin(method string, r chat.Region, path, token string) (int, string) {
	w.t.Helper()
	region, _ := w.cfg.Region(r)
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+region.Admin+path, nil)
	must(w.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	must(w.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(w.t, err)
	return resp.StatusCode, string(body)
}

// drain makes a call about a region's drain that must succeed.
func (w *world) drain(method string, r chat.Region, query string) regionnode.DrainAnswer {
	w.t.Helper()
	status, body := w.admin(method, r, "/v1/admin/drain?"+query, "test-admin")
	var answer regionnode.DrainAnswer
	if status != http.StatusOK || json.Unmarshal([]byte(body), &answer) != nil {
		w.t.Fatalf("%s %s: %d %s", method, query, status, body)
	}
	return answer
}

// heard waits until all regions know whether region r drains.
func (w *world) heard(r chat.Region, on bool) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("everybody hears that %s drains: %v", r, on), func() bool {
		for _, n := range w.nodes {
			if n.Drains()[r].On != on {
				return false
			}
		}
		return true
	})
}

// turnedAway opens a socket and wants to be sent elsewhere, and gives where.
func (w *world) turnedAway(r chat.Region, p person) []string {
	w.t.Helper()
	c := w.dial(r)
	c.send(map[string]any{"t": "hello", "token": p.token, "device": "test"})
	f := c.expect("error", nil)
	if f["code"] != string(chat.CodeWrongRegion) {
		w.t.Fatalf("refused by %v", f)
	}
	if code := <-c.closed; code != 4307 {
		w.t.Errorf("closed with %d", code)
	}
	return regionsIn(f)
}

func regionsIn(f map[string]any) []string {
	var out []string
	for _, e := range f["endpoints"].([]any) {
		out = append(out, e.(map[string]any)["region"].(string))
	}
	return out
}

// A drain takes nobody new whom another region may serve, asks everybody else to go there, also those who are served by another region
// through this one, and leaves alone those for whom there is none. All regions hear of it; it outlives the node, and can be taken back.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	world, eu := w.signUp("us-east", "wanda", ""), w.signUp("eu-west", "edna", "eu")
	var open []*client
	for range 5 {
		c, _ := w.connect("us-east", world, "")
		open = append(open, c)
	}
	through, _ := w.connect("us-east", eu, "") // served by eu-west
	open = append(open, through)
	pinnedHome, _ := w.connect("eu-west", eu, "")
	plan := w.drain(http.MethodGet, "us-east", "")
	if plan.Progress != nil || plan.Plan.Sockets != 6 || len(plan.Plan.Refused) != 0 || len(plan.Plan.Targets) != 2 || plan.Plan.Targets[0].After+plan.Plan.Targets[1].After < 6 {
		t.Fatalf("plan: %+v", plan)
	}
	w.drain(http.MethodPost, "us-east", "within=1s")
	if to := w.turnedAway("us-east", world); slices.Contains(to, "us-east") || len(to) != 2 {
		t.Errorf("sent to %v", to)
	}
	for _, c := range open {
		if f := c.expect("goaway", nil); f["reason"] != "drain" || slices.Contains(regionsIn(f), "us-east") || f["within_ms"].(float64) > 1000 {
			t.Errorf("asked by %v", f)
		}
		must(t, c.ws.Close())
	}
	w.heard("us-east", true)
	w.eventually("nobody is left in us-east", func() bool { return w.drain(http.MethodGet, "us-east", "").Progress.Left == 0 })
	moved, _ := w.connect("eu-west", world, "")
	moved.say("edna", "still there", "region")

	w.drain(http.MethodDelete, "us-east", "")
	w.heard("us-east", false)
	if _, f := w.connect("us-east", world, ""); f["region"] != "us-east" {
		t.Errorf("welcomed by %v", f)
	}

	w.drain(http.MethodPost, "eu-west", "within=0s")
	w.heard("eu-west", true)
	w.turnedAway("eu-west", world)
	if f := pinnedHome.expect("goaway", nil); slices.Contains(regionsIn(f), "eu-west") { // others pass the socket on to the home
		t.Errorf("asked by %v", f)
	}
	if c, f := w.connect("us-east", eu, ""); f["region"] != "us-east" {
		t.Errorf("welcomed by %v", f)
	} else {
		c.say("wanda", "home works on", "region")
	}
	must(t, pinnedHome.ws.Close())
	w.eventually("who is served for us-east stays, because the zone has no other region", func() bool {
		p := w.drain(http.MethodGet, "eu-west", "").Progress
		return p.Left == 1 && p.Stay == 1 && p.Asked == 0
	})
	w.restart("eu-west", 1<<20)
	w.serves("eu-west")
	w.turnedAway("eu-west", world)
	w.drain(http.MethodDelete, "eu-west", "")
	w.connect("eu-west", world, "")
}

// A drain is refused, with the figures, when it would leave people who may not go through other regions without one, or bring another
// region above its capacity; by force it is done all the same, and nobody who has no other region is sent away. Nobody drains without
// the admin token.
func TestDrainIsRefused(t *testing.T) {
	w := newWorldOf(t, func(cfg *config.Config) {
		for i := range cfg.Regions {
			cfg.Regions[i].CapacitySockets = 4
		}
	})
	in, world := w.signUp("ap-south", "indira", "in"), w.signUp("eu-west", "wanda", "")
	w.signUp("ap-south", "ines", "in")
	pinned, _ := w.connect("ap-south", in, "")
	for range 2 {
		w.connect("eu-west", world, "")
		w.connect("us-east", world, "")
	}
	refused := func(r chat.Region, says ...string) {
		t.Helper()
		w.eventually("the refusal to drain "+string(r)+" says "+fmt.Sprint(says), func() bool { // loads are told every second
			status, body := w.admin(http.MethodPost, r, "/v1/admin/drain?within=1m", "test-admin")
			if status == http.StatusOK {
				w.drain(http.MethodDelete, r, "")
				return false
			}
			return status == http.StatusForbidden && strings.Contains(body, string(chat.CodeDenied)) && !slices.ContainsFunc(says, func(s string) bool { return !strings.Contains(body, s) })
		})
	}
	refused("ap-south", "zone in forbids transit", "its 1 open sockets would have nowhere to go")
	refused("eu-west", "us-east has room for 3 sockets (85 % of its capacity of 4): it serves 2, and 2 would come, 1 too many")
	for _, r := range []chat.Region{"ap-south", "eu-west"} { // what was refused was not ordered; a try before the loads were known was taken back
		w.heard(r, false)
	}
	for query, want := range map[string]int{"within=soon": 400, "within=-1s&force=true": 400, "within=1000h&force=true": 400, "": 400} {
		if status, body := w.admin(http.MethodPost, "us-east", "/v1/admin/drain?"+query, "test-admin"); status != want {
			t.Errorf("%q: %d %s", query, status, body)
		}
	}
	if status, _ := w.admin(http.MethodPost, "ap-south", "/v1/admin/drain?within=0s&force=true", "wrong"); status != http.StatusUnauthorized {
		t.Errorf("without the token: %d", status)
	}
	w.drain(http.MethodPost, "ap-south", "within=0s&force=true")
	w.eventually("it is known that one has no other region", func() bool {
		p := w.drain(http.MethodGet, "ap-south", "").Progress
		return p.Left == 1 && p.Stay == 1 && p.Asked == 0
	})
	pinned.say("ines", "served all the same", "region")
	w.connect("ap-south", in, "")
}

// The admin listener says where a person's home is and why: by a pin, by the rule, or, in a region that does not keep the account, by the
// directory alone; with the open sockets. It counts who is there by country and zone.
func TestUserHomeAndPopulation(t *testing.T) {
	w := newWorld(t)
	eu, world := w.signUp("eu-west", "edna", "eu"), w.signUp("us-east", "wanda", "")
	w.connect("us-east", eu, "")
	w.connect("us-east", world, "")
	home := func(r chat.Region, name string) (h regionnode.UserHome) {
		t.Helper()
		status, body := w.admin(http.MethodGet, r, "/v1/admin/user?name="+name, "test-admin")
		if status != http.StatusOK || json.Unmarshal([]byte(body), &h) != nil {
			t.Fatalf("%s in %s: %d %s", name, r, status, body)
		}
		return h
	}
	h := home("eu-west", "edna")
	if h.Zone != "eu" || !h.Pinned || !h.Kept || h.UserID != eu.id || len(h.Sockets) != 1 || h.Sockets[0].Edge != "us-east" || !strings.Contains(h.Reasons[0], "pinned to zone eu") {
		t.Errorf("edna: %+v", h)
	}
	if h = home("ap-south", "edna"); h.Kept || h.Zone != "eu" || !strings.Contains(h.Reasons[0], "only eu-west keep") {
		t.Errorf("edna, by another region: %+v", h)
	}
	if h = home("us-east", "WANDA"); h.Pinned || h.Zone != "world" || h.Username != "wanda" || !strings.Contains(h.Reasons[0], "the rule of the country") {
		t.Errorf("wanda: %+v", h)
	}
	if status, body := w.admin(http.MethodGet, "us-east", "/v1/admin/user?name=nobody", "test-admin"); status != http.StatusNotFound {
		t.Errorf("nobody: %d %s", status, body)
	}
	count := func(r chat.Region) string {
		t.Helper()
		status, body := w.admin(http.MethodGet, r, "/v1/admin/population", "test-admin")
		var p regionnode.Population
		if status != http.StatusOK || json.Unmarshal([]byte(body), &p) != nil {
			t.Fatalf("%d %s", status, body)
		}
		return fmt.Sprint(p)
	}
	if got := count("us-east"); got != "{[{ eu 1} { world 1}] 2 2}" {
		t.Errorf("us-east has %s", got)
	}
	if got := count("eu-west"); !strings.HasPrefix(got, "{[] 0 ") { // what it serves ends in us-east
		t.Errorf("eu-west has %s", got)
	}
}
