package shared_test

import (
	"context"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/store/embedded"
	"meridian/store/shared"
	"meridian/store/storetest"
)

// Nothing that the tests start outlives them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx    = context.Background()
	secret = []byte("the secret of eu-west, 32 bytes.")
)

// house is an embedded store on a disk in memory, with a server over it.
type house struct {
	cfg    storetest.Config
	fs     *vfs.MemFS
	disk   vfs.FS // instead of fs
	dir    string
	addr   string // kept over restarts
	store  *embedded.Store
	server *shared.Server
}

func newHouse(cfg storetest.Config) *house {
	return &house{cfg: cfg, fs: vfs.NewCrashableMem(), dir: "/data/store", addr: local.ListenAddress()}
}

func (h *house) open() error {
	var fs vfs.FS = h.fs
	if h.disk != nil {
		fs = h.disk
	}
	store, err := embedded.Open(embedded.Options{
		Dir: h.dir, Region: h.cfg.Region, Codec: h.cfg.Codec, CacheBytes: 1 << 20, MemTableBytes: 4 << 20,
		Retention: embedded.Retention(h.cfg.Retention), FS: fs,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", h.addr)
	if err != nil {
		_ = store.Close()
		return err
	}
	h.addr, h.store = listener.Addr().String(), store
	h.server, err = shared.Serve(listener, shared.ServerOptions{Region: h.cfg.Region, Secret: secret, Codec: h.cfg.Codec, Node: lender(store)})
	return err
}

func lender(store *embedded.Store) func(context.Context, chat.NodeID, chat.Incarnation) (chat.Store, error) {
	return func(ctx context.Context, node chat.NodeID, life chat.Incarnation) (chat.Store, error) {
		if life == 0 {
			return store.Node(ctx, node)
		}
		return store.NodeLife(ctx, node, life)
	}
}

func (h *house) client(node chat.NodeID) (*shared.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return shared.Open(ctx, h.options(node))
}

func (h *house) options(node chat.NodeID) shared.ClientOptions {
	return shared.ClientOptions{Network: "tcp", Address: h.addr, Region: h.cfg.Region, Node: node, Secret: secret, Codec: h.cfg.Codec}
}

// close ends server and store as SIGTERM does.
func (h *house) close() {
	if h.server != nil {
		_ = h.server.Close()
		_ = h.store.Close()
		h.server = nil
	}
}

// crash takes the power away from the store's machine: what is not synced is lost.
func (h *house) crash() {
	if h.server == nil {
		return
	}
	after := h.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0, RNG: rand.New(rand.NewPCG(1, 1))})
	h.store.Abandon()
	_ = h.server.Close()
	h.server, h.fs = nil, after
}

// place is a house for the conformance suite: its stores close the house with them.
type place struct {
	*house
	open *whole
}

type whole struct {
	*shared.Client
	house *house
}

func (w *whole) Close() error {
	err := w.Client.Close()
	w.house.close()
	return err
}

func (w *whole) Abandon() {
	w.Client.Abandon()
	w.house.crash()
}

func (p *place) Open() (chat.Store, error) { return p.enter(p.house) }

func (p *place) enter(h *house) (*whole, error) {
	if err := h.open(); err != nil {
		return nil, err
	}
	c, err := h.client(p.cfg.Node)
	if err != nil {
		h.close()
		return nil, err
	}
	p.open = &whole{c, h}
	return p.open, nil
}

func (p *place) OpenNode(node chat.NodeID) (chat.Store, error) { return p.client(node) }

func (p *place) Crash() {
	if p.open != nil {
		p.house.crash()
		p.open.Client.Abandon()
	}
}

func (p *place) CopyDir() string { return "/data/copy" }

func (p *place) OpenCopy() (chat.Store, error) {
	h := newHouse(p.cfg)
	h.fs, h.dir = p.fs, p.CopyDir()
	return (&place{house: h}).enter(h)
}

// A client of a shared store keeps the contract of chat.Store.
func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB, cfg storetest.Config) storetest.Place {
		p := &place{house: newHouse(cfg)}
		t.Cleanup(p.Crash)
		return p
	})
}
