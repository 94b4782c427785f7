package rest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/auth"
	"meridian/region-node/limits"
	"meridian/region-node/messages"
	"meridian/region-node/people"
	"meridian/region-node/rest"
	"meridian/region-node/wire"
	"meridian/replication"
	"meridian/sim/memstore"
	"meridian/store/memory"
)

// cluster is the three regions of the built-in configuration in memory: real stores' contract, real replication cores, links
// that deliver at once. When a submit has returned, every region that is not cut off has the op.
type cluster struct {
	t       *testing.T
	config  *config.Config
	country string

	mu      sync.Mutex // of all below, and of the cores
	now     time.Time
	queue   []func()
	regions map[chat.Region]*region
}

type region struct {
	c       *cluster
	name    chat.Region
	store   *memstore.Store
	core    *replication.Core
	auth    *auth.Service
	people  *people.Service
	handler http.Handler
	metrics *counts
	cut     bool

	token   uint64
	answers map[uint64]replication.Submitted
}

// newCluster starts the regions; change, if not nil, changes the configuration first.
func newCluster(t *testing.T, change func(*config.Config)) *cluster {
	c := &cluster{t: t, config: config.Default(), now: time.Unix(1_800_000_000, 0), regions: map[chat.Region]*region{}}
	s := &c.config.Security
	s.Argon2MemoryKiB, s.Argon2Passes, s.Argon2Threads, s.Argon2Parallel = 64, 1, 1, 4
	c.config.Limits.AuthPerMinute = 1000
	if change != nil {
		change(c.config)
	}
	topology := c.config.Topology()
	ring, err := auth.LoadOrCreateZoneKeys(t.TempDir(), slices.Sorted(maps.Keys(topology.Zones)))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range topology.Regions {
		c.regions[name] = c.newRegion(name, topology, ring)
	}
	c.do(func() { // all links come up before the first frame is on its way
		for _, a := range topology.Regions {
			for _, b := range topology.Regions {
				if a != b {
					c.regions[a].step(replication.PeerUp{Peer: only(b)})
				}
			}
		}
	})
	return c
}

func (c *cluster) newRegion(name chat.Region, topology chat.Topology, ring *auth.Keyring) *region {
	r := &region{
		c: c, name: name, store: memstore.Open(memstore.New(name, "n1"), memstore.Retention{}), metrics: &counts{n: map[string]int{}},
		answers: map[uint64]replication.Submitted{},
	}
	c.t.Cleanup(func() { _ = r.store.Close() })
	identity, err := r.store.Identity(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	l, timing := c.config.Limits, c.config.Timing
	r.core = replication.New(replication.Config{
		Self: name, Node: identity.Node, Topology: topology, MaxDrift: timing.MaxDrift, Watermark: timing.Watermark, Resend: timing.Resend,
		WindowOps: l.RelayWindowOps, WindowBytes: l.RelayWindowBytes, TailOps: l.RelayTailOps, BatchOps: 64, BatchBytes: 1 << 20, InFlight: l.InFlightOps,
	}, replication.Restored{Identity: identity})
	var own []chat.Zone
	for zone, spec := range topology.Zones {
		if spec.Has(name) {
			own = append(own, zone)
		}
	}
	bounds := limits.New(memory.NewLimiter(1000, c.clock), l, r.metrics)
	r.auth = auth.New(auth.Options{
		Self: name, Config: c.config, Keys: ring.Only(own...), DirectoryKey: auth.DirectoryKey{1}, Store: r.store, Submitter: r, Remote: r,
		Endpoints: func(z chat.Zone) (list []chat.Endpoint) {
			for _, served := range topology.Zones[z].Regions {
				list = append(list, chat.Endpoint{Region: served, URL: "http://" + string(served) + ".test"})
			}
			return list
		},
		Country: func(netip.Addr) string { return c.country }, Now: c.clock, Metrics: r.metrics, Limits: bounds,
	})
	r.people = people.New(people.Options{Config: c.config, Topology: topology, Store: r.store, Submitter: r, Directory: r.auth})
	r.handler = rest.New(rest.Options{
		Config: c.config, Auth: r.auth, Limits: bounds, People: r.people, Presence: nobody{}, Metrics: r.metrics, Now: c.clock,
		Address: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.7") },
		Origin:  func(origin string) bool { return origin == "https://app.test" },
		Log:     slog.New(slog.DiscardHandler),
	})
	return r
}

func (c *cluster) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// pass lets time pass, and the cores notice.
func (c *cluster) pass(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
	for _, name := range c.config.Topology().Regions {
		c.do(func() { c.regions[name].step(replication.Tick{}) })
	}
}

// do runs f and all that follows from it.
func (c *cluster) do(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, f)
	for len(c.queue) > 0 {
		next := c.queue[0]
		c.queue = c.queue[1:]
		next()
	}
}

// setCut cuts a region off from the others, or links it again.
func (c *cluster) setCut(name chat.Region, cut bool) {
	c.do(func() { c.regions[name].cut = cut })
	for _, other := range c.config.Topology().Regions {
		if other == name {
			continue
		}
		c.do(func() {
			if cut {
				c.regions[name].step(replication.PeerDown{Peer: only(other)})
				c.regions[other].step(replication.PeerDown{Peer: only(name)})
				return
			}
			c.regions[name].step(replication.PeerUp{Peer: only(other)})
			c.regions[other].step(replication.PeerUp{Peer: only(name)})
		})
	}
}

// only names a region's one node.
func only(r chat.Region) chat.NodeRef { return chat.NodeRef{Region: r, Node: "n1"} }

// step gives the core one input; c.mu is held.
func (r *region) step(in replication.Input) {
	c := r.c
	for _, out := range r.core.Step(c.now, in) {
		switch out := out.(type) {
		case replication.Write:
			done := make(chan error, 1)
			r.store.Commit(out.Batch, func(err error) { done <- err })
			err := <-done
			c.queue = append(c.queue, func() { r.step(replication.Written{Write: out.ID, Err: err}) })
		case replication.Send:
			peer := c.regions[out.Peer.Region]
			c.queue = append(c.queue, func() {
				if !r.cut && !peer.cut {
					peer.step(replication.Received{Peer: only(r.name), Frame: out.Frame})
				}
			})
		case replication.ReadLog:
			ops, err := r.store.ReadLog(c.t.Context(), out.Stream, out.After, out.UpTo, out.To, out.Limit)
			c.queue = append(c.queue, func() {
				r.step(replication.LogRead{Stream: out.Stream, To: out.To, After: out.After, UpTo: out.UpTo, Count: out.Count, Ops: ops, Err: err})
			})
		case replication.Look:
			c.queue = append(c.queue, func() { r.step(messages.Look(c.t.Context(), r.store, out)) })
		case replication.Submitted:
			r.answers[out.Token] = out
		case replication.Alarm:
			if out.Code != chat.CodeRegionDegraded { // regions that are linked late are not waited for
				c.t.Errorf("%s: alarm %+v", r.name, out)
			}
		}
	}
}

// Submit is the Submitter of auth and people.
func (r *region) Submit(_ context.Context, op chat.Op) (chat.Op, error) {
	var token uint64
	r.c.do(func() {
		r.token++
		token = r.token
		r.step(replication.Submit{Token: token, Op: op})
	})
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	a, ok := r.answers[token]
	if !ok {
		r.c.t.Errorf("%s: a submit was not answered", r.name)
	}
	return a.Op, a.Err
}

// Call is the Remote of auth.
func (r *region) Call(ctx context.Context, to chat.Region, method string, payload []byte) ([]byte, error) {
	r.c.mu.Lock()
	peer := r.c.regions[to]
	cut := r.cut || peer.cut
	r.c.mu.Unlock()
	if cut {
		return nil, &chat.Error{Code: chat.CodeZoneUnreachable, Message: "no link"}
	}
	return peer.auth.HandleRequest(ctx, r.name, method, payload)
}

// nobody is online.
type nobody struct{}

func (nobody) Lookup(context.Context, chat.UserID) (bool, time.Time) { return false, time.Time{} }

// counts are the metrics counted, by name and labels.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func (m *counts) Count(name string, labels ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n[strings.Join(append([]string{name}, labels...), " ")]++
}

func (m *counts) Observe(name string, _ float64, labels ...string) { m.Count(name, labels...) }

func (m *counts) get(key string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n[key]
}

// request asks one region; body is text, or what JSON encodes, or nil.
func (c *cluster) request(at chat.Region, method, path, token string, body any) *httptest.ResponseRecorder {
	var text io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		text = strings.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		text = bytes.NewReader(encoded)
	}
	r := httptest.NewRequestWithContext(c.t.Context(), method, path, text)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	c.regions[at].handler.ServeHTTP(w, r)
	return w
}

// want asks, and reads the answer, which must have that status.
func want[V any](c *cluster, status int, at chat.Region, method, path, token string, body any) V {
	c.t.Helper()
	w := c.request(at, method, path, token, body)
	if w.Code != status {
		c.t.Fatalf("%s: %s %s = %d %s, want %d", at, method, path, w.Code, w.Body, status)
	}
	var v V
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			c.t.Fatalf("%s: %s %s: %v in %s", at, method, path, err, w.Body)
		}
	}
	return v
}

// none is the answer without a body.
type none struct{}

// refused asks, and checks the error.
func (c *cluster) refused(code chat.Code, at chat.Region, method, path, token string, body any) wire.Error {
	c.t.Helper()
	e := want[wire.Error](c, chat.Codes[code].HTTPStatus, at, method, path, token, body)
	if e.Code != code || e.Message == "" || e.Retryable != chat.Codes[code].Retryable {
		c.t.Fatalf("%s: %s %s = %+v, want %s", at, method, path, e, code)
	}
	return e
}

const password = "correct horse"

type obj = map[string]any

// signUp makes a user of zone ("": by the country rule) at a region.
func (c *cluster) signUp(at chat.Region, username string, zone chat.Zone) wire.Login {
	c.t.Helper()
	return want[wire.Login](c, http.StatusCreated, at, "POST", "/v1/signup", "", obj{"username": username, "password": password, "zone": zone, "device": "test"})
}

func ownerOf(t *testing.T, l wire.Login) chat.Owner {
	t.Helper()
	id, err := chat.ParseUUID(l.UserID)
	if err != nil {
		t.Fatal(err)
	}
	return chat.Owner{ID: chat.UserID(id), Zone: l.HomeZone, Name: l.Username}
}

// send writes a message from one to another at a region.
func (c *cluster) send(at chat.Region, from, to wire.Login, text string) chat.Op {
	c.t.Helper()
	a, b := ownerOf(c.t, from), ownerOf(c.t, to)
	op, err := c.regions[at].Submit(c.t.Context(), chat.Op{
		Kind: chat.OpMessage, Author: a, Owners: []chat.Owner{a, b}, Client: chat.ClientID(uuid.New()),
		Conversation: chat.DirectConversation(a.ID, b.ID), Body: []byte(text), BodyHash: sha256.Sum256([]byte(text)),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return op
}

// mark moves a mark of one in the conversation with another.
func (c *cluster) mark(at chat.Region, of, peer wire.Login, kind chat.MarkKind, upTo chat.MessageID) {
	c.t.Helper()
	a, b := ownerOf(c.t, of), ownerOf(c.t, peer)
	conversation := chat.DirectConversation(a.ID, b.ID)
	_, err := c.regions[at].Submit(c.t.Context(), chat.Op{
		Kind: chat.OpMark, Author: a, Owners: []chat.Owner{a, b}, Client: chat.ClientID(uuid.New()), Conversation: conversation,
		Mark: &chat.Mark{Conversation: conversation, User: a.ID, Kind: kind, UpTo: upTo},
	})
	if err != nil {
		c.t.Fatal(err)
	}
}
