package regionnode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
	"meridian/observe"
	regionnode "meridian/region-node"
	"meridian/region-node/auth"
	"meridian/replication/link"
	"meridian/replication/link/simnet"
	"meridian/store/embedded"
	"meridian/store/memory"
)

// patience bounds every wait of these tests: far more than any takes, for the machine may be busy.
const patience = time.Minute

// world is three regions in this process, with real sockets between them.
type world struct {
	t       *testing.T
	cfg     *config.Config
	net     *simnet.Network
	nodes   map[chat.Region]*regionnode.Node
	stores  map[chat.Region]chat.Store
	caches  map[chat.Region]chat.Cache
	shared  func(chat.NodeRef) regionnode.Shared
	metrics map[chat.Region]*observe.Metrics
	keys    *auth.Keyring
	wrong   map[chat.Region]*atomic.Int64 // how far a region's clock is ahead, in ns
	wrap    func(chat.Region, chat.Store) chat.Store
	probed  func(chat.Region) func() map[chat.Region]string // nil: nodes probe nobody
}

func newWorld(t *testing.T) *world { return newWorldOf(t, func(*config.Config) {}) }

// newWorldOf makes a world whose configuration is the default one as tweak leaves it.
func newWorldOf(t *testing.T, tweak func(*config.Config)) *world {
	t.Helper()
	w, listeners := prepare(t, tweak)
	w.run(listeners)
	return w
}

// run starts all regions, and waits until they have found each other, and serve.
func (w *world) run(listeners map[chat.Region][3]net.Listener) {
	w.t.Helper()
	for r, ls := range listeners {
		w.start(r, ls, 1<<20)
	}
	for r := range listeners {
		w.eventually("links of "+string(r), func() bool {
			for _, p := range w.nodes[r].Peers() {
				if !p.Up {
					return false
				}
			}
			return true
		})
		w.serves(r)
	}
}

// upToDate waits until region r, which has started anew, has what the others brought meanwhile, whether it takes people or not.
func (w *world) upToDate(r chat.Region) {
	w.t.Helper()
	w.eventually(string(r)+" is up to date", func() bool {
		err := w.nodes[r].Ready(w.t.Context())
		return err == nil || chat.CodeOf(err) == chat.CodeStoreFull
	})
}

// serves waits until region r takes people.
func (w *world) serves(r chat.Region) {
	w.t.Helper()
	w.eventually(string(r)+" serves", func() bool { return w.nodes[r].Ready(w.t.Context()) == nil })
}

// prepare makes what three regions need to start.
func prepare(t *testing.T, tweak func(*config.Config)) (*world, map[chat.Region][3]net.Listener) {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.Security.Argon2MemoryKiB, cfg.Security.Argon2Passes = 8, 1
	cfg.Limits.StoreReserveBytes = 1 << 20
	cfg.Limits.UserReadsPerSecond, cfg.Limits.AddressRequestsPerSecond = 10_000, 100_000 // tests ask again until something is there
	tweak(cfg)
	w := &world{
		t: t, cfg: cfg, wrap: func(_ chat.Region, s chat.Store) chat.Store { return s }, net: simnet.New(func(_, _ chat.Region) time.Duration { return 2 * time.Millisecond }),
		nodes: make(map[chat.Region]*regionnode.Node), stores: make(map[chat.Region]chat.Store), metrics: make(map[chat.Region]*observe.Metrics), wrong: make(map[chat.Region]*atomic.Int64),
	}
	t.Cleanup(w.net.Close)
	keys, err := auth.LoadOrCreateZoneKeys(cfg.DataDir, []chat.Zone{"world", "eu", "in"})
	must(t, err)
	w.keys = keys
	authority, err := link.LoadOrCreateAuthority(cfg.DataDir, cfg.Name)
	must(t, err)
	listeners := make(map[chat.Region][3]net.Listener)
	at := local.ListenAddress()
	for i := range cfg.Regions {
		r := &cfg.Regions[i]
		var ls [3]net.Listener
		for j := range ls {
			ls[j], err = net.Listen("tcp", at)
			must(t, err)
		}
		r.HTTP, r.Admin, r.Backbone = ls[0].Addr().String(), ls[1].Addr().String(), ls[2].Addr().String()
		listeners[r.Name] = ls
		_, err = authority.IssueRegion(r.Name)
		must(t, err)
	}
	for r := range listeners {
		w.wrong[r] = &atomic.Int64{}
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			_ = n.Close()
		}
	})
	return w, listeners
}

func testLog(r chat.Region) *slog.Logger {
	level := slog.LevelError
	if os.Getenv("MERIDIAN_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("region", r)
}

// start runs region r; its store refuses writes when fewer than reserve bytes are free on the disk.
func (w *world) start(r chat.Region, ls [3]net.Listener, reserve int64) {
	w.t.Helper()
	log := testLog(r)
	store, err := embedded.Open(embedded.Options{
		Dir: w.cfg.DataDir + "/" + string(r), Region: r, Node: "n1", Codec: link.OpCodec{}, ReserveBytes: reserve, Log: log,
		Retention: embedded.Retention{Inbox: w.cfg.Retention.InboxLog, OpLog: w.cfg.Retention.OpLog, Retries: w.cfg.Retention.Retries},
	})
	must(w.t, err)
	w.stores[r] = store
	w.startNode(chat.NodeRef{Region: r, Node: "n1"}, r, w.wrap(r, store), ls, log)
}

// sharedBy gives what a node shares with the others of its region: a cache, unless the test says more.
func (w *world) sharedBy(ref chat.NodeRef) regionnode.Shared {
	if w.shared != nil {
		return w.shared(ref)
	}
	return regionnode.Shared{Cache: w.cache(ref.Region)}
}

func (w *world) probedBy(r chat.Region) func() map[chat.Region]string {
	if w.probed == nil {
		return nil
	}
	return w.probed(r)
}

// cache gives what the nodes of a region share; a node that starts again finds it as it was.
func (w *world) cache(r chat.Region) chat.Cache {
	if w.caches == nil {
		w.caches = make(map[chat.Region]chat.Cache)
	}
	if w.caches[r] == nil {
		w.caches[r] = memory.NewCache(4<<20, nil)
	}
	return w.caches[r]
}

// startNode runs a node on a store; the world knows it by key.
func (w *world) startNode(ref chat.NodeRef, key chat.Region, store chat.Store, ls [3]net.Listener, log *slog.Logger) {
	w.t.Helper()
	identity, err := link.LoadIdentity(w.cfg.DataDir, ref.Region)
	must(w.t, err)
	peers := w.cfg.Backbones()
	delete(peers, ref)
	w.metrics[key] = observe.NewMetrics(ref.Region)
	node, err := regionnode.New(w.t.Context(), regionnode.Options{
		Config: w.cfg, Region: ref.Region, Store: store, Under: func(put func(chat.Store) chat.Store) chat.Store { return put(store) },
		Shared: w.sharedBy(ref), Keys: w.keys, AdminToken: "test-admin",
		HTTP: ls[0], Admin: ls[1], Backbone: ls[2], Peers: peers, Identity: identity, Network: w.net,
		Route: func(*regionnode.Node) http.Handler { return http.NotFoundHandler() }, Web: http.NotFoundHandler(),
		Endpoints: func(_ *regionnode.Node, zone chat.Zone, _ netip.Addr) []chat.Endpoint {
			var out []chat.Endpoint
			spec, _ := w.cfg.Topology().Zone(zone)
			for _, z := range spec.Regions {
				region, _ := w.cfg.Region(z)
				out = append(out, chat.Endpoint{Region: z, URL: region.BaseURL()})
			}
			return out
		},
		Elsewhere: w.elsewhere, Probed: w.probedBy(ref.Region),
		Country: func(netip.Addr) string { return "" }, Simulate: true, Log: log,
		Now: func() time.Time { return time.Now().Add(time.Duration(w.wrong[ref.Region].Load())) }, SetClock: func(d time.Duration) { w.wrong[ref.Region].Store(int64(d)) },
		Limiter: memory.NewLimiter(1000, nil), Metrics: w.metrics[key], Tracer: &observe.Tracer{},
	})
	must(w.t, err)
	must(w.t, node.Start())
	w.nodes[key] = node
}

// elsewhere names the other regions that may serve somebody, in the order of the configuration.
func (w *world) elsewhere(n *regionnode.Node, zone chat.Zone, _ netip.Addr) []chat.Endpoint {
	var out []chat.Endpoint
	spec, _ := w.cfg.Topology().Zone(zone)
	for _, r := range w.cfg.Regions {
		other := r.Name != n.Region() && n.Peers()[r.Name].Up && !n.Drains()[r.Name].On
		if other && (spec.Transit != chat.TransitDeny || spec.Has(r.Name)) {
			out = append(out, chat.Endpoint{Region: r.Name, URL: r.BaseURL()})
		}
	}
	return out
}

// restart ends region r cleanly and runs it again at its addresses.
func (w *world) restart(r chat.Region, reserve int64) {
	w.t.Helper()
	w.stop(r)
	w.again(r, reserve)
}

// stop ends region r cleanly.
func (w *world) stop(r chat.Region) {
	w.t.Helper()
	must(w.t, w.nodes[r].Close())
	delete(w.nodes, r)
}

// again runs a region that was stopped at its addresses.
func (w *world) again(r chat.Region, reserve int64) {
	w.t.Helper()
	region, _ := w.cfg.Region(r)
	var ls [3]net.Listener
	for i, addr := range []string{region.HTTP, region.Admin, region.Backbone} {
		var err error
		ls[i], err = net.Listen("tcp", addr)
		must(w.t, err)
	}
	w.start(r, ls, reserve)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("not in %s: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// url is where clients reach a region, or one of its nodes: region/node.
func (w *world) url(r chat.Region) string {
	if of, node, ok := strings.Cut(string(r), "/"); ok {
		region, _ := w.cfg.Region(chat.Region(of))
		n, _ := region.Node(chat.NodeID(node))
		return n.BaseURL()
	}
	region, _ := w.cfg.Region(r)
	return region.BaseURL()
}

// call makes a REST call and gives the status and the body.
func (w *world) call(method string, r chat.Region, path, token string, body any) (int, map[string]any) {
	w.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		must(w.t, err)
		in = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url(r)+path, in)
	must(w.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	must(w.t, err)
	defer resp.Body.Close()
	out := map[string]any{}
	raw, err := io.ReadAll(resp.Body)
	must(w.t, err)
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			w.t.Fatalf("%s %s: not JSON: %q", method, path, raw)
		}
	}
	return resp.StatusCode, out
}

// person is a signed-up user.
type person struct {
	name, id, token, refresh string
}

func (w *world) signUp(r chat.Region, name, zone string) person {
	w.t.Helper()
	body := map[string]string{"username": name, "password": "correct horse", "device": "test"}
	if zone != "" {
		body["zone"] = zone
	}
	var status int
	var out map[string]any
	tries := 0
	w.eventually("a lasting answer to the sign-up of "+name, func() bool { // a link may be lost for a moment
		status, out = w.call("POST", r, "/v1/signup", "", body)
		if tries++; tries > 1 && out["code"] == "username_taken" { // by a try of unknown outcome, or by one that gives the name back
			status, out = w.call("POST", r, "/v1/login", "", body)
			return status == http.StatusOK
		}
		return out["retryable"] != true
	})
	if status != http.StatusCreated && (status != http.StatusOK || tries == 1) {
		w.t.Fatalf("sign-up of %s: %d %v", name, status, out)
	}
	return person{name: name, id: out["user_id"].(string), token: out["token"].(string), refresh: out["refresh_token"].(string)}
}

// client is one open socket whose frames are kept as they come.
type client struct {
	w      *world
	ws     *websocket.Conn
	frames chan map[string]any
	closed chan int // the close code

	mu  sync.Mutex
	all []map[string]any // every frame that came
}

func (w *world) dial(r chat.Region) *client {
	w.t.Helper()
	ws, resp, err := websocket.DefaultDialer.Dial("ws"+w.url(r)[len("http"):]+"/v1/ws", nil)
	must(w.t, err)
	_ = resp.Body.Close()
	c := &client{w: w, ws: ws, frames: make(chan map[string]any, 4096), closed: make(chan int, 1)}
	w.t.Cleanup(func() { _ = ws.Close() })
	go func() {
		for {
			_, data, err := ws.ReadMessage()
			if err != nil {
				code := 1006
				var e *websocket.CloseError
				if errors.As(err, &e) {
					code = e.Code
				}
				c.closed <- code
				close(c.frames)
				return
			}
			f := map[string]any{}
			if json.Unmarshal(data, &f) == nil {
				c.mu.Lock()
				c.all = append(c.all, f)
				c.mu.Unlock()
				c.frames <- f
			}
		}
	}()
	return c
}

func (c *client) send(frame any) {
	c.w.t.Helper()
	must(c.w.t, c.ws.WriteJSON(frame))
}

// saw says whether a frame of that type about user ever came.
func (c *client) saw(t, user string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.all {
		if f["t"] == t && f["user"] == user {
			return true
		}
	}
	return false
}

// expect waits for a frame of that type that fits; others are passed over.
func (c *client) expect(t string, fits func(map[string]any) bool) map[string]any {
	c.w.t.Helper()
	return c.each(func(f map[string]any) bool { return f["t"] == t && (fits == nil || fits(f)) })
}

// each gives every frame that comes to last, and that for which it says yes.
func (c *client) each(last func(map[string]any) bool) map[string]any {
	c.w.t.Helper()
	timeout := time.After(patience)
	var seen []map[string]any
	for {
		select {
		case f, ok := <-c.frames:
			if !ok {
				c.w.t.Fatalf("socket ended while waiting for a frame; seen %v", seen)
			}
			if last(f) {
				return f
			}
			seen = append(seen, f)
		case <-timeout:
			c.w.t.Fatalf("not the frame in %s; seen %v", patience, seen)
		}
	}
}

func (w *world) connect(r chat.Region, p person, resume string) (*client, map[string]any) {
	w.t.Helper()
	c := w.dial(r)
	hello := map[string]any{"t": "hello", "token": p.token, "device": "test"}
	if resume != "" {
		hello["resume"] = resume
	}
	c.send(hello)
	return c, c.expect("welcome", nil)
}

// say sends a text and waits for its acks up to the level.
func (c *client) say(to, text, level string) map[string]any {
	c.w.t.Helper()
	id := uuid.NewString()
	c.send(map[string]any{"t": "send", "client_id": id, "to": map[string]string{"user": to}, "body": map[string]string{"text": text}})
	return c.expect("ack", func(f map[string]any) bool { return f["client_id"] == id && f["level"] == level })
}

func textOf(f map[string]any) string {
	return f["message"].(map[string]any)["body"].(map[string]any)["text"].(string)
}
