package regionnode_test

import (
	"fmt"
	"testing"
	"time"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
	"meridian/observe"
	regionnode "meridian/region-node"
	"meridian/store/redis"
)

// sharedRedis gives each node of a region a connection to one Redis.
func sharedRedis(t *testing.T, server *local.Redis) func(chat.NodeRef) regionnode.Shared {
	access := server.Access()
	password, err := access.Password()
	must(t, err)
	secure, err := access.TLS()
	must(t, err)
	return func(ref chat.NodeRef) regionnode.Shared {
		if ref.Region != "eu-west" {
			return regionnode.Shared{}
		}
		c, err := redis.Open(redis.Options{
			Addresses: []string{access.Address}, Password: password, TLS: secure, Region: ref.Region, Timeout: time.Second,
			Log: testLog(ref.Region), Metrics: observe.NewMetrics(ref.Region),
		})
		must(t, err)
		return regionnode.Shared{
			Cache: c.Cache(), Bus: c.Bus(), Presences: c.Presences(), Close: c.Close,
			Status: func() regionnode.SharedStatus { return regionnode.SharedStatus(c.Status()) },
		}
	}
}

// pageAt gives the texts of the newest page of p's only conversation as a node shows it, newest first.
func (w *world) pageAt(r chat.Region, p person) (texts []string) {
	w.t.Helper()
	_, list := w.call("GET", r, "/v1/conversations", p.token, nil)
	conversations := list["conversations"].([]any)
	if len(conversations) != 1 {
		w.t.Fatalf("%s has %d conversations at %s", p.name, len(conversations), r)
	}
	_, page := w.call("GET", r, "/v1/conversations/"+conversations[0].(map[string]any)["id"].(string)+"/messages", p.token, nil)
	for _, m := range page["messages"].([]any) {
		texts = append(texts, m.(map[string]any)["body"].(map[string]any)["text"].(string))
	}
	return texts
}

// Two nodes of a region that share a Redis show what either has acknowledged at once, out of their caches where these are right,
// whatever happens to Redis; and they agree on who was last seen, also after a restart.
func TestNodesShareARedis(t *testing.T) {
	server := localtest.Redis(t, local.RedisOptions{})
	w := newSplitWorldOf(t, func(_ chat.Region, s chat.Store) chat.Store { return s }, sharedRedis(t, server))
	nodes := []chat.Region{chatNode, otherChatNode}
	ann, ben := w.signUp(authNode, "ann", "eu"), w.signUp(authNode, "ben", "eu")
	var sockets []*client
	for _, r := range nodes {
		c, _ := w.connect(r, ben, "")
		sockets = append(sockets, c)
	}
	redisIs := func(up bool) {
		t.Helper()
		for _, r := range nodes {
			w.eventually(fmt.Sprintf("%s: redis up %v", r, up), func() bool { return w.nodes[r].Status(t.Context()).Redis.Up == up })
		}
	}
	said := 0
	talk := func(times int) {
		t.Helper()
		for range times {
			said++
			sockets[said%2].say("ann", fmt.Sprint("text ", said), "region")
			for i := range 4 {
				if texts := w.pageAt(nodes[i%2], ann); len(texts) != min(said, 50) || texts[0] != fmt.Sprint("text ", said) {
					t.Fatalf("after %d texts %s shows %d, first %q", said, nodes[i%2], len(texts), texts[0])
				}
			}
		}
	}
	redisIs(true)
	talk(10)
	must(t, server.Kill())
	talk(3)
	redisIs(false)
	talk(3)
	must(t, server.Start(t.Context()))
	redisIs(true)
	talk(5)
	must(t, server.Flush(t.Context()))
	talk(5)
	for _, r := range nodes {
		hits := 0.0
		for _, level := range []string{"memory", "shared"} {
			v, _ := w.metrics[r].Value("cache_reads_total", "page", level)
			hits += v
		}
		if hits == 0 {
			t.Errorf("%s showed no page out of the cache", r)
		}
	}
	w.agreeOnLastSeen(ann, nodes)
}

// hintWithin is how long a hint between two nodes may take on a busy machine.
const hintWithin = 5 * time.Second

// agreeOnLastSeen has p come and go at the first node, and asks the other one before and after a restart.
func (s *splitWorld) agreeOnLastSeen(p person, nodes []chat.Region) {
	s.t.Helper()
	c, _ := s.connect(nodes[0], p, "")
	_ = c.ws.Close()
	seen := func() (at time.Time) {
		s.eventually("it is known when "+p.name+" was seen", func() bool {
			_, profile := s.call("GET", nodes[1], "/v1/users/"+p.name, p.token, nil)
			text, _ := profile["last_seen"].(string)
			var err error
			at, err = time.Parse(time.RFC3339, text)
			return profile["state"] == "offline" && err == nil
		})
		return at
	}
	before := seen()
	s.stop(nodes[1])
	s.relaunch("n3")
	s.settled()
	// What they share has whole seconds; before its restart the other node went by when it was told, a moment later.
	if after := seen(); after.After(before) || before.Sub(after) > time.Second+hintWithin {
		s.t.Errorf("seen at %s, after the restart at %s", before, after)
	}
}
