package regionnode_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
	regionnode "meridian/region-node"
	"meridian/replication/link"
	"meridian/store/embedded"
)

// The nodes of the region split by role: passwords apart, the rest twice.
const authNode, chatNode, otherChatNode chat.Region = "eu-west/n1", "eu-west/n2", "eu-west/n3"

var split = map[chat.NodeID][]chat.Service{
	"n1": {chat.ServiceAuth}, "n2": {chat.ServiceChat, chat.ServiceMessages}, "n3": {chat.ServiceChat, chat.ServiceMessages},
}

// splitWorld is a region whose three nodes share its store and run what split says, and a region of one node.
type splitWorld struct {
	*world
	keeper *embedded.Store
}

// newSplitWorld starts it; every node knows what the others run when it returns.
func newSplitWorld(t *testing.T) *splitWorld {
	return newSplitWorldOf(t, func(_ chat.Region, s chat.Store) chat.Store { return s }, nil)
}

// newSplitWorldOf starts one whose nodes see their stores as wrap gives them, and share what shared says, if it is not nil; its
// configuration is as tweaks leave it.
func newSplitWorldOf(t *testing.T, wrap func(chat.Region, chat.Store) chat.Store, shared func(chat.NodeRef) regionnode.Shared, tweaks ...func(*config.Config)) *splitWorld {
	t.Helper()
	w, listeners := prepare(t, func(c *config.Config) {
		for _, tweak := range tweaks {
			tweak(c)
		}
		c.Regions = c.Regions[:2]
		c.Regions[1].Store = "127.0.0.1:1" // it is shared in this process: nobody dials it
		for _, name := range []chat.NodeID{"n1", "n2", "n3"} {
			c.Regions[1].Nodes = append(c.Regions[1].Nodes, config.Node{Name: name, Services: split[name]})
		}
		c.Zones = []config.Zone{
			{Name: "world", Regions: []chat.Region{"us-east", "eu-west"}, Policy: chat.PolicyCopy, Transit: chat.TransitAllow, Ack: chat.AckRegion, AtSignUp: true},
			{Name: "eu", Regions: []chat.Region{"eu-west"}, Policy: chat.PolicyCopy, Transit: chat.TransitAllow, Ack: chat.AckRegion, AtSignUp: true},
		}
	})
	w.wrap, w.shared = wrap, shared
	s := &splitWorld{world: w}
	for _, l := range listeners["eu-west"] { // its nodes have their own
		_ = l.Close()
	}
	eu := &w.cfg.Regions[1]
	eu.HTTP, eu.Admin, eu.Backbone = "", "", ""
	nodes, host := make(map[chat.NodeID][3]net.Listener), local.ListenAddress()
	for i := range eu.Nodes {
		n := &eu.Nodes[i]
		var ls [3]net.Listener
		for j, at := range []*string{&n.HTTP, &n.Admin, &n.Backbone} {
			var err error
			ls[j], err = net.Listen("tcp", host)
			must(t, err)
			*at = ls[j].Addr().String()
		}
		nodes[n.Name] = ls
	}
	w.cfg.Security.Argon2MemoryKiB = 64
	must(t, w.cfg.Validate())
	var err error
	s.keeper, err = embedded.Open(embedded.Options{
		Dir: w.cfg.DataDir + "/eu-west", Region: "eu-west", Codec: link.OpCodec{}, ReserveBytes: 1 << 20, Log: testLog("eu-west"),
		Retention: embedded.Retention{Inbox: w.cfg.Retention.InboxLog, OpLog: w.cfg.Retention.OpLog, Retries: w.cfg.Retention.Retries},
	})
	must(t, err)
	t.Cleanup(func() { // before the world's: its nodes end first
		for key, n := range w.nodes {
			_ = n.Close()
			delete(w.nodes, key)
		}
		_ = s.keeper.Close()
	})
	w.start("us-east", listeners["us-east"], 1<<20)
	for name, ls := range nodes {
		s.launch(name, ls)
	}
	s.settled()
	return s
}

// launch runs a node of the split region.
func (s *splitWorld) launch(name chat.NodeID, ls [3]net.Listener) {
	s.t.Helper()
	handle, err := s.keeper.Node(s.t.Context(), name)
	must(s.t, err)
	key := chat.Region("eu-west/" + string(name))
	s.startNode(chat.NodeRef{Region: "eu-west", Node: name}, key, s.wrap(key, handle), ls, testLog(key))
}

// relaunch runs a node again at its addresses.
func (s *splitWorld) relaunch(name chat.NodeID) {
	s.t.Helper()
	n, _ := s.cfg.Regions[1].Node(name)
	var ls [3]net.Listener
	for i, addr := range []string{n.HTTP, n.Admin, n.Backbone} {
		var err error
		ls[i], err = net.Listen("tcp", addr)
		must(s.t, err)
	}
	s.launch(name, ls)
}

// reborn runs nodes again whose lives are over, as who runs their processes does: the machine may have stood still for longer than
// their leases.
func (s *splitWorld) reborn() {
	s.t.Helper()
	for _, key := range slices.Collect(maps.Keys(s.nodes)) {
		select {
		case <-s.nodes[key].Over():
			s.stop(key)
			_, name, _ := strings.Cut(string(key), "/")
			s.relaunch(chat.NodeID(name))
		default:
		}
	}
}

// settled waits until every node serves and has heard of all that run.
func (s *splitWorld) settled() {
	s.t.Helper()
	running := len(s.nodes) - 1
	for _, key := range slices.Collect(maps.Keys(s.nodes)) {
		s.eventually(string(key)+" serves", func() bool {
			s.reborn()
			return s.nodes[key].Ready(s.t.Context()) == nil
		})
		if key == "us-east" {
			s.eventually("link to eu-west", func() bool { return s.nodes[key].Peers()["eu-west"].Up })
			continue
		}
		s.eventually(string(key)+" knows the others", func() bool {
			s.reborn()
			words := s.nodes[key].Services()
			for node := range words {
				if !words[node].Taking {
					return false
				}
			}
			return len(words) == running
		})
	}
}

// passed counts what a node passed on of a service to another.
func (s *splitWorld) passed(from chat.Region, service chat.Service, to chat.Region) float64 {
	n, _ := s.metrics[from].Value("passed_total", string(service), string(to))
	return n
}

// Every node takes every request: one that it does not run is answered by a node of the region that does, whoever is asked and in
// whatever region, and passwords are only ever checked where auth runs.
func TestRequestsReachTheNodeThatRunsTheirService(t *testing.T) {
	t.Parallel()
	w := newSplitWorld(t)
	hashes := func(r chat.Region) float64 { n, _ := w.metrics[r].Value("password_hash_seconds"); return n }
	before := hashes(chatNode) + hashes(otherChatNode)
	for i, at := range []chat.Region{authNode, chatNode, otherChatNode, "us-east"} {
		p := w.signUp(at, fmt.Sprintf("person_%d", i), "eu")
		for _, ask := range []chat.Region{authNode, chatNode, otherChatNode, "us-east"} {
			if status, out := w.call("POST", ask, "/v1/login", "", map[string]string{"username": p.name, "password": "correct horse"}); status != http.StatusOK {
				t.Fatalf("log-in at %s: %d %v", ask, status, out)
			}
			if status, out := w.call("POST", ask, "/v1/login", "", map[string]string{"username": "nobody_here", "password": "correct horse"}); status != http.StatusUnauthorized {
				t.Fatalf("log-in of nobody at %s: %d %v", ask, status, out)
			}
			for _, path := range []string{"/v1/me", "/v1/conversations", "/v1/contacts"} {
				if status, out := w.call("GET", ask, path, p.token, nil); status != http.StatusOK {
					t.Fatalf("%s at %s: %d %v", path, ask, status, out)
				}
			}
		}
	}
	if after := hashes(chatNode) + hashes(otherChatNode); after != before {
		t.Errorf("%v passwords were checked where auth does not run", after-before)
	}
	if w.passed(chatNode, chat.ServiceAuth, authNode) == 0 || w.passed(authNode, chat.ServiceMessages, chatNode) == 0 || w.passed(authNode, chat.ServiceMessages, otherChatNode) == 0 {
		t.Error("requests were not passed on, or all to one of two nodes")
	}
}

// Sockets are served by nodes that run chat, through whatever node or region they come, spread over those nodes; both ends write to
// each other as if they shared one.
func TestSocketsReachTheNodesThatRunChat(t *testing.T) {
	t.Parallel()
	w := newSplitWorld(t)
	var people []person
	for i := range 6 {
		people = append(people, w.signUp(authNode, fmt.Sprintf("person_%d", i), "eu"))
	}
	var clients []*client
	for i, p := range people {
		at := []chat.Region{authNode, "us-east"}[i%2]
		c, welcome := w.connect(at, p, "")
		if want, _, _ := strings.Cut(string(at), "/"); welcome["region"] != want {
			t.Errorf("the socket of %s ends in %v, want %s", p.name, welcome["region"], want)
		}
		clients = append(clients, c)
	}
	for i, c := range clients {
		to := (i + 1) % len(people)
		c.say(people[to].name, "hello from "+people[i].name, "region")
		if text := textOf(clients[to].expect("message", func(f map[string]any) bool { return strings.HasPrefix(textOf(f), "hello") })); text != "hello from "+people[i].name {
			t.Errorf("%s got %q", people[to].name, text)
		}
	}
	two, three := w.nodes[chatNode].Sockets(), w.nodes[otherChatNode].Sockets()
	if here := w.nodes[authNode].Sockets(); here != 0 || two == 0 || three == 0 || two+three != len(people) {
		t.Errorf("sockets: %d where chat does not run, %d and %d where it does", here, two, three)
	}
}

// servedAgain is the promise of 5 s, and what a busy machine may add.
const servedAgain = 20 * time.Second

// A node dies: what it ran is answered by the next one within 5 s, reads without a failure, and sockets that it served resume
// elsewhere, with all they missed and nothing twice; while nobody in the region runs auth, another region of the zone signs in.
func TestAnotherNodeTakesOver(t *testing.T) {
	t.Parallel()
	w := newSplitWorld(t)
	ann, bob := w.signUp(authNode, "ann_person", "world"), w.signUp(authNode, "bob_person", "world")
	a, _ := w.connect(authNode, ann, "")
	b, welcome := w.connect(authNode, bob, "")
	a.say(bob.name, "before", "region")
	cursor := b.expect("message", nil)["cursor"].(string)
	_ = welcome
	victim, other := chat.NodeID("n2"), otherChatNode
	w.nodes["eu-west/n2"].Kill()
	delete(w.nodes, "eu-west/"+chat.Region(victim))
	died := time.Now()
	for i := range 20 { // the first of them meet a link that does not know yet
		if status, out := w.call("GET", authNode, "/v1/conversations", ann.token, nil); status != http.StatusOK {
			t.Fatalf("read %d after %v: %d %v", i, time.Since(died), status, out)
		}
	}
	a2, _ := w.connect(authNode, ann, "")
	if took := time.Since(died); took > servedAgain {
		t.Errorf("served again after %v", took)
	}
	a2.say(bob.name, "while one is gone", "region")
	b2, _ := w.connect(authNode, bob, cursor)
	if text := textOf(b2.expect("message", nil)); text != "while one is gone" {
		t.Errorf("the resumed socket began with %q", text)
	}
	if n := w.nodes[other].Sockets(); n < 2 {
		t.Errorf("%s serves %d sockets", other, n)
	}
	w.nodes[authNode].Kill()
	delete(w.nodes, authNode)
	w.eventually("a log-in without auth in the region", func() bool {
		status, _ := w.call("POST", other, "/v1/login", "", map[string]string{"username": ann.name, "password": "correct horse"})
		return status == http.StatusOK
	})
}

// The nodes of a region split by role are restarted one by one, cleanly, while two people write to each other through whichever
// serves: no message is lost and none is shown twice.
func TestRollingRestartByRole(t *testing.T) {
	t.Parallel()
	w := newSplitWorld(t)
	ann, bob := w.signUp(authNode, "ann_person", "eu"), w.signUp(authNode, "bob_person", "eu")
	doors := []chat.Region{authNode, chatNode, otherChatNode}
	b, welcome := w.connect(doors[0], bob, "")
	cursor := welcome["cursor"].(string)
	seen := make(map[string]int)
	sent := 0
	exchange := func(from, reader chat.Region) {
		t.Helper()
		a, _ := w.connect(from, ann, "")
		defer a.ws.Close()
		for range 5 {
			sent++
			a.say(bob.name, fmt.Sprintf("number %d", sent), "region")
		}
		_ = b.ws.Close() // whatever it was shown last, it resumes elsewhere from its cursor
		b, _ = w.connect(reader, bob, cursor)
		b.each(func(f map[string]any) bool {
			if f["t"] == "message" {
				seen[textOf(f)]++
				cursor = f["cursor"].(string)
			}
			return len(seen) == sent
		})
	}
	for i, name := range []chat.NodeID{"n1", "n2", "n3"} {
		exchange(doors[i], doors[(i+1)%3])
		must(t, w.nodes[doors[i]].Close())
		delete(w.nodes, doors[i])
		exchange(doors[(i+1)%3], doors[(i+2)%3])
		w.relaunch(name)
		w.settled()
		exchange(doors[i], doors[i])
	}
	for i := range sent {
		if n := seen[fmt.Sprintf("number %d", i+1)]; n != 1 {
			t.Errorf("number %d was shown %d times", i+1, n)
		}
	}
}

// An address that asks too much is refused at any door, REST, route and socket alike, with the time to wait, before anything is looked
// at; a page of another origin can read why.
func TestRateLimitPerAddress(t *testing.T) {
	w := newWorldOf(t, func(c *config.Config) { c.Limits.AddressRequestsPerSecond = 0.1 })
	refused := func(path string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.url("us-east")+path, nil)
		must(t, err)
		req.Header.Set("Origin", w.url("eu-west"))
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		_ = resp.Body.Close()
		after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != http.StatusTooManyRequests || err != nil || after < 1 || after > 10 || resp.Header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("%s: %s, %v", path, resp.Status, resp.Header)
		}
	}
	// The bucket holds one; the next comes after ten seconds.
	if status, out := w.call("GET", "us-east", "/v1/me", "no token", nil); status != http.StatusUnauthorized {
		t.Fatalf("within the limit: %d %v", status, out)
	}
	for _, path := range []string{"/v1/me", "/v1/route", "/v1/ws"} {
		refused(path)
	}
	if status, _ := w.call("GET", "us-east", "/healthz", "", nil); status != http.StatusOK {
		t.Errorf("a probe: %d", status)
	}
	if n, _ := w.metrics["us-east"].Value("rate_limited_total", "requests"); n != 3 {
		t.Errorf("%v counted", n)
	}
}

// slowBlocks is a store that takes its time to say whom somebody blocks.
type slowBlocks struct{ chat.Store }

func (s slowBlocks) Blocks(ctx context.Context, user chat.UserID) ([]chat.BlockRow, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(400 * time.Millisecond):
		return s.Store.Blocks(ctx, user)
	}
}

// A node that is stopped cleanly fails no request: what it has taken it answers, though that takes time, and what comes after goes to
// another, reads and changes alike.
func TestCleanRestartFailsNoRequest(t *testing.T) {
	t.Parallel()
	w := newSplitWorldOf(t, func(_ chat.Region, s chat.Store) chat.Store { return slowBlocks{s} }, nil)
	ann, bob := w.signUp(authNode, "ann_person", "eu"), w.signUp(authNode, "bob_person", "eu")
	done := make(chan struct{})
	var asked atomic.Int64
	var busy sync.WaitGroup
	change := [2]string{"PUT", "/v1/blocks/" + bob.name}
	for _, call := range [][2]string{{"GET", "/v1/blocks"}, change, change, change} {
		busy.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(10 * time.Millisecond): // a person's changes are limited
				}
				req, err := http.NewRequest(call[0], w.url(authNode)+call[1], nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+ann.token)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(resp.Body) // an unreadable one shows below
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
					t.Errorf("%v: %s %s", call, resp.Status, body)
				}
				asked.Add(1)
			}
		})
	}
	stop := sync.OnceFunc(func() { close(done); busy.Wait() })
	defer stop()
	for _, name := range []chat.NodeID{"n2", "n3", "n2"} {
		before := asked.Load()
		w.eventually("requests flow", func() bool { return asked.Load() > before+5 })
		key := chat.Region("eu-west/" + string(name))
		must(t, w.nodes[key].Close())
		delete(w.nodes, key)
		before = asked.Load()
		w.eventually("requests flow without "+string(name), func() bool { return asked.Load() > before+5 })
		w.relaunch(name)
		w.settled()
	}
	stop()
	if w.passed(authNode, chat.ServiceMessages, chatNode) == 0 || w.passed(authNode, chat.ServiceMessages, otherChatNode) == 0 {
		t.Error("one of the nodes was given nothing")
	}
}
