package postgres_test

import (
	"path/filepath"
	"testing"

	"meridian/chat"
	"meridian/store/composed"
	"meridian/store/embedded"
	"meridian/store/postgres"
	"meridian/store/storetest"
)

// region is a place of an embedded store and a database with the accounts.
type region struct {
	cfg  storetest.Config
	dir  string
	url  string
	main *embedded.Store
	open chat.Store
}

func newRegion(t testing.TB, cfg storetest.Config) storetest.Place {
	r := &region{cfg: cfg, dir: t.TempDir(), url: newDatabase(t)}
	t.Cleanup(r.Crash)
	return r
}

func (r *region) options(name string) embedded.Options {
	return embedded.Options{
		Dir: filepath.Join(r.dir, name), Region: r.cfg.Region, Node: r.cfg.Node, Codec: r.cfg.Codec, CacheBytes: 1 << 20, MemTableBytes: 4 << 20,
		Retention: embedded.Retention(r.cfg.Retention),
	}
}

func (r *region) Open() (s chat.Store, err error) {
	if r.main, err = embedded.Open(r.options("store")); err != nil {
		return nil, err
	}
	r.open, err = r.compose(r.main, r.cfg.Node)
	return r.open, err
}

func (r *region) compose(main chat.Store, node chat.NodeID) (chat.Store, error) {
	accounts, err := opened(postgres.Options{URL: r.url, MaxConns: 4})
	if err != nil {
		return nil, err
	}
	return composed.New(composed.Options{Main: main, Accounts: accounts, Node: chat.NodeRef{Region: r.cfg.Region, Node: node}}), nil
}

func (r *region) OpenNode(node chat.NodeID) (chat.Store, error) {
	main, err := r.main.Node(ctx, node)
	if err != nil {
		return nil, err
	}
	return r.compose(main, node)
}

func (r *region) Crash() {
	if r.open != nil {
		r.open.Abandon()
	}
}

func (r *region) CopyDir() string               { return filepath.Join(r.dir, "copy") }
func (r *region) OpenCopy() (chat.Store, error) { return embedded.Open(r.options("copy")) }

// The embedded store with its accounts in PostgreSQL keeps the contract of chat.Store.
func TestComposedConformance(t *testing.T) { storetest.Run(t, newRegion) }
