package embedded_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"meridian/chat"
	"meridian/store/embedded"
	"meridian/store/storetest"
)

// Nothing that a store starts outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(dir string, cfg storetest.Config) embedded.Options {
	return embedded.Options{
		Dir: dir, Region: cfg.Region, Node: cfg.Node, Codec: cfg.Codec, CacheBytes: 1 << 20, MemTableBytes: 4 << 20,
		Retention: embedded.Retention(cfg.Retention),
	}
}

// disk is a place on the machine's file system; its crash is the end of the process, not of the power.
type disk struct {
	cfg  storetest.Config
	dir  string
	open *embedded.Store
}

func newDisk(t testing.TB, cfg storetest.Config) storetest.Place {
	d := &disk{cfg: cfg, dir: t.TempDir()}
	t.Cleanup(d.Crash)
	return d
}

func (d *disk) Open() (chat.Store, error) {
	s, err := embedded.Open(options(filepath.Join(d.dir, "store"), d.cfg))
	d.open = s
	return s, err
}

func (d *disk) OpenNode(node chat.NodeID) (chat.Store, error) { return d.open.Node(ctx, node) }

func (d *disk) Crash() {
	if d.open != nil {
		d.open.Abandon()
	}
}

func (d *disk) CopyDir() string { return filepath.Join(d.dir, "copy") }

func (d *disk) OpenCopy() (chat.Store, error) { return embedded.Open(options(d.CopyDir(), d.cfg)) }

// memory is a place whose crash loses what was not synced, and keeps unsynced percent of the rest.
type memory struct {
	cfg      storetest.Config
	fs       *vfs.MemFS
	rng      *rand.Rand
	unsynced int
	opener   func(embedded.Options) (*embedded.Store, error)
	open     *embedded.Store
}

func newMemory(unsynced int, opener func(embedded.Options) (*embedded.Store, error)) storetest.Factory {
	return func(t testing.TB, cfg storetest.Config) storetest.Place {
		m := &memory{cfg: cfg, fs: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(1, uint64(unsynced))), unsynced: unsynced, opener: opener}
		t.Cleanup(func() {
			if m.open != nil {
				m.open.Abandon()
			}
		})
		return m
	}
}

func (m *memory) options(dir string) embedded.Options {
	o := options(dir, m.cfg)
	o.FS = m.fs
	return o
}

func (m *memory) Open() (chat.Store, error) {
	s, err := m.opener(m.options("/data/store"))
	m.open = s
	return s, err
}

func (m *memory) OpenNode(node chat.NodeID) (chat.Store, error) { return m.open.Node(ctx, node) }

func (m *memory) Crash() {
	after := m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: m.unsynced, RNG: m.rng})
	m.open.Abandon()
	m.fs = after
}

func (m *memory) CopyDir() string               { return "/data/copy" }
func (m *memory) OpenCopy() (chat.Store, error) { return m.opener(m.options(m.CopyDir())) }

// The store keeps the contract of chat.Store on a disk.
func TestConformanceOnDisk(t *testing.T) { storetest.Run(t, newDisk) }

// The store keeps the contract when the power goes and only what was synced is left.
func TestConformanceAfterPowerLoss(t *testing.T) { storetest.Run(t, newMemory(0, embedded.Open)) }

// What was acknowledged survives also when the power cut leaves some of the unsynced blocks behind, in any mixture.
func TestCrashWithTornWrites(t *testing.T) {
	for i, percent := range []int{30, 70} {
		p := newMemory(percent, embedded.Open)(t, storetest.DefaultConfig())
		if err := storetest.CheckCrash(p, 4, uint64(i)); err != nil {
			t.Fatalf("%d %%: %v", percent, err)
		}
	}
}

// The crash test finds a store that does not sync: it is not blind.
func TestCrashTestNoticesMissingSync(t *testing.T) {
	p := newMemory(0, embedded.OpenUnsynced)(t, storetest.DefaultConfig())
	if err := storetest.CheckCrash(p, 4, 1); err == nil {
		t.Fatal("a store without fsync passed the crash test")
	} else {
		t.Log("found, as it must be:", err)
	}
}
