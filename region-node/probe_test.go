package regionnode_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
)

// breakable is a store that a test breaks.
type breakable struct {
	chat.Store
	how  atomic.Int32
	mu   sync.Mutex
	held []func() // what Commit holds back
}

// The ways in which it is broken.
const (
	works   int32 = iota
	hangs         // Commit does not return: who calls it stands still
	silent        // Commit returns, and nothing becomes durable
	refuses       // Commit is answered with an error
)

func (b *breakable) Commit(batch *chat.Batch, done func(error)) {
	switch b.how.Load() {
	case hangs:
		released := make(chan struct{})
		b.hold(func() { close(released) })
		<-released
	case silent:
		b.hold(func() { b.Store.Commit(batch, done) })
		return
	case refuses:
		go done(&chat.Error{Code: chat.CodeRegionDegraded, Op: "test.Commit", Message: "no"})
		return
	}
	b.Store.Commit(batch, done)
}

func (b *breakable) hold(release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = append(b.held, release)
}

// set breaks the store, or mends it: then it does what it was given meanwhile.
func (b *breakable) set(how int32) {
	b.how.Store(how)
	b.mu.Lock()
	defer b.mu.Unlock()
	if how != works {
		return
	}
	for _, release := range b.held {
		release()
	}
	b.held = nil
}

// breakables wraps the stores of a world; they work when the test ends, or nodes could not.
func breakables(t *testing.T) (wrap func(chat.Region, chat.Store) chat.Store, of func(chat.Region) *breakable) {
	var mu sync.Mutex
	all := make(map[chat.Region]*breakable)
	wrap = func(r chat.Region, s chat.Store) chat.Store {
		mu.Lock()
		defer mu.Unlock()
		all[r] = &breakable{Store: s}
		return all[r]
	}
	of = func(r chat.Region) *breakable {
		mu.Lock()
		defer mu.Unlock()
		return all[r]
	}
	return wrap, of
}

// probes waits until the probe of a node answers with a status and a text in it.
func (w *world) probes(at chat.Region, status int, text string) {
	w.t.Helper()
	w.eventually("the probe of "+string(at)+": "+text, func() bool {
		got, out := w.call("GET", at, "/v1/probe", "", nil)
		message, _ := out["message"].(string)
		return got == status && strings.Contains(message, text)
	})
}

// A probe fails while the loop stands still, while the store takes nothing, and while it refuses, and says where; it passes again when that
// is over. That the links are up and the store can be read helps nothing.
func TestProbeFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	w, listeners := prepare(t, func(*config.Config) {})
	wrap, of := breakables(t)
	w.wrap = wrap
	w.run(listeners)
	t.Cleanup(func() { of("us-east").set(works) })
	w.probes("us-east", http.StatusOK, "")
	for _, c := range []struct {
		how  int32
		text string
	}{{hangs, "stuck at"}, {silent, "stuck at store"}, {refuses, ""}} {
		of("us-east").set(c.how)
		w.probes("us-east", http.StatusServiceUnavailable, c.text)
		if !w.nodes["eu-west"].Peers()["us-east"].Up {
			t.Errorf("%s: the link is down too", c.text)
		}
		w.probes("eu-west", http.StatusOK, "")
		of("us-east").set(works)
		w.probes("us-east", http.StatusOK, "")
	}
}

// However often it is asked, a probe leaves nothing: no op, no owner with rows, nothing on the way to another region; and what it writes is
// bounded by time, not by who asks.
func TestProbeLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ends := func() (all []chat.StreamEnd) {
		for _, r := range []chat.Region{"us-east", "eu-west", "ap-south"} {
			list, err := w.stores[r].Streams(t.Context())
			must(t, err)
			all = append(all, list...)
		}
		return all
	}
	walks := func() float64 {
		n, _ := w.metrics["us-east"].Value("path_probes_total", "chat", "ok")
		return n
	}
	before := len(ends())
	for target := walks() + 4; walks() < target; {
		var asked sync.WaitGroup
		for range 50 {
			asked.Go(func() { _ = w.nodes["us-east"].Probe(t.Context()) }) // a machine may be slower than a walk may
		}
		asked.Wait()
	}
	if after := len(ends()); after != before {
		t.Errorf("%d streams, and %d after the probes: %v", before, after, ends())
	}
	owners, err := w.stores["us-east"].Owners(t.Context(), chat.NoUser, 10)
	must(t, err)
	if len(owners) != 0 {
		t.Errorf("owners with rows: %v", owners)
	}
}

// Where a region's nodes are split by role, a probe through any of them goes through one that serves sockets: it passes while one of those
// works, and fails when none does; with the region's Redis there or lost.
func TestProbeByRole(t *testing.T) {
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		wrap, of := breakables(t)
		probeByRole(t, newSplitWorldOf(t, wrap, nil, patient), of, func(bool) {})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		server := localtest.Redis(t, local.RedisOptions{})
		wrap, of := breakables(t)
		probeByRole(t, newSplitWorldOf(t, wrap, sharedRedis(t, server), patient), of, func(up bool) {
			if up {
				must(t, server.Start(t.Context()))
			} else {
				must(t, server.Kill())
			}
		})
	})
}

// patient lets no node's life end because the machine stood still for some seconds.
func patient(c *config.Config) { c.Timing.NodeLease = 15 * time.Second }

func probeByRole(t *testing.T, w *splitWorld, of func(chat.Region) *breakable, redis func(up bool)) {
	t.Cleanup(func() {
		of(chatNode).set(works)
		of(otherChatNode).set(works)
	})
	all := []chat.Region{authNode, chatNode, otherChatNode}
	for _, up := range []bool{true, false} {
		redis(up)
		for _, r := range all {
			w.probes(r, http.StatusOK, "")
		}
	}
	redis(true)
	of(chatNode).set(silent)
	w.probes(chatNode, http.StatusServiceUnavailable, "stuck at store")
	w.probes(authNode, http.StatusOK, "")
	of(otherChatNode).set(silent)
	w.probes(authNode, http.StatusServiceUnavailable, "stuck at")
	of(chatNode).set(works)
	w.probes(authNode, http.StatusOK, "")
	of(otherChatNode).set(works)
	for _, r := range all {
		w.probes(r, http.StatusOK, "")
	}
	w.nodes[chatNode].Kill()
	w.nodes[otherChatNode].Kill()
	delete(w.nodes, chatNode)
	delete(w.nodes, otherChatNode)
	w.probes(authNode, http.StatusServiceUnavailable, "no node of the region that runs chat")
}
