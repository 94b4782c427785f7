package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"meridian/chat"
)

// Store is a chat.Store in one directory.
type Store struct {
	opts  Options
	db    *pebble.DB
	gate  *gate
	lock  *pebble.Lock
	views views

	queue      queue
	finished   chan []answer
	background sync.WaitGroup
	closeOnce  sync.Once
	closeErr   error

	// The committer's own.
	highWater    chat.HLC
	spaceChecked time.Time
	spaceLow     bool
}

var _ chat.Store = (*Store)(nil)

var errAbandoned = errors.New("the store was abandoned")

// holderFile names the process that has the directory open.
const holderFile = "HOLDER"

// Names of what the store knows of itself.
const (
	selfIdentity   = "identity"
	selfHighWater  = "high-water"
	selfInboxFloor = "inbox-floor"
)

// storeSchema numbers the layout of keys and values; a store with a larger one was written by a newer version.
const storeSchema = 1

// self is how the identity is stored.
type self struct {
	Schema      int              `json:"schema"`
	Region      chat.Region      `json:"region"`
	Node        chat.NodeID      `json:"node"`
	Incarnation chat.Incarnation `json:"incarnation"`
}

// Open opens the store in o.Dir, and makes it when there is none. The error has CodeInvalid for options that cannot be,
// for a directory that another store has open (it names the process) or that belongs to another region or node;
// CodeStoreFull when there is no space; CodeRegionDegraded when the files cannot be read or are damaged (it names what is;
// nothing is removed or repaired).
func Open(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.FS == vfs.Default {
		if o.Dir, err = filepath.Abs(o.Dir); err != nil {
			return nil, openError(o.Dir, err)
		}
	}
	lock, err := lockDir(o)
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, lock: lock, gate: newGate(o.FS, o.Dir), finished: make(chan []answer, doneGroups)}
	s.queue.wake = make(chan struct{}, 1)
	if err := s.openEngine(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	if err := s.start(); err != nil {
		_ = s.db.Close()
		_ = lock.Close()
		return nil, err
	}
	return s, nil
}

// lockDir makes the directory and takes it.
func lockDir(o Options) (*pebble.Lock, error) {
	if err := makeDir(o.FS, o.Dir); err != nil {
		return nil, openError(o.Dir, err)
	}
	lock, err := pebble.LockDirectory(o.Dir, o.FS)
	if err != nil {
		holder := "another process"
		if pid := readSmall(o.FS, o.FS.PathJoin(o.Dir, holderFile)); pid != "" {
			holder = "process " + pid
		}
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "embedded.Open", Message: o.Dir + " is in use by " + holder, Cause: err}
	}
	if err := writeSmall(o.FS, o.FS.PathJoin(o.Dir, holderFile), fmt.Sprint(os.Getpid())); err != nil {
		o.Log.Warn("store: cannot note who holds the directory", "dir", o.Dir, "err", err)
	}
	return lock, nil
}

// makeDir makes dir and what is missing above it, durably.
func makeDir(fs vfs.FS, dir string) error {
	var parents []string
	for d := dir; ; d = fs.PathDir(d) {
		if _, err := fs.Stat(d); err == nil || d == fs.PathDir(d) {
			break
		}
		parents = append(parents, fs.PathDir(d))
	}
	err := fs.MkdirAll(dir, 0o700)
	for _, parent := range parents {
		err = errors.Join(err, syncDir(fs, parent))
	}
	return err
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readSmall(fs vfs.FS, name string) string {
	f, err := fs.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func writeSmall(fs vfs.FS, name, text string) error {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text + "\n"))
	return errors.Join(err, f.Close())
}

func openError(dir string, err error) error {
	e := &chat.Error{Code: chat.CodeRegionDegraded, Op: "embedded.Open", Message: "cannot open the store in " + dir, Cause: err}
	if noSpace(err) {
		e.Code = chat.CodeStoreFull
	}
	return e
}

// openEngine opens Pebble. It turns into errors what Pebble says by Fatalf or panic.
func (s *Store) openEngine() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = openError(s.opts.Dir, fmt.Errorf("storage engine: %v", r))
		}
	}()
	if err := s.checkFiles(); err != nil {
		return err
	}
	db, err := pebble.Open(s.opts.Dir, s.opts.pebble(s.gate, s.lock))
	if err != nil {
		return openError(s.opts.Dir, err)
	}
	if err := s.gate.err(); err != nil { // Pebble did not notice
		_ = db.Close()
		return openError(s.opts.Dir, err)
	}
	s.db = db
	return nil
}

// checkFiles refuses a directory that has data but not the file that says which manifest counts: Pebble would start an
// empty database there and remove the rest.
func (s *Store) checkFiles() error {
	names, err := s.opts.FS.List(s.opts.Dir)
	if err != nil {
		return openError(s.opts.Dir, err)
	}
	data, marker := "", false
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log") {
			data = name
		}
		marker = marker || strings.HasPrefix(name, "marker.manifest.")
	}
	if data != "" && !marker {
		return openError(s.opts.Dir, fmt.Errorf("there is data (%s) but no marker.manifest file", data))
	}
	return nil
}

// start reads or makes the identity and starts the background.
func (s *Store) start() error {
	id, err := s.ensureIdentity()
	if err != nil {
		return err
	}
	if id.Region != s.opts.Region || id.Node != s.opts.Node {
		return &chat.Error{Code: chat.CodeInvalid, Op: "embedded.Open", Message: fmt.Sprintf(
			"%s belongs to region %s, node %s; this is region %s, node %s", s.opts.Dir, id.Region, id.Node, s.opts.Region, s.opts.Node)}
	}
	high, err := number(s.db, selfHighWater)
	if err != nil {
		return openError(s.opts.Dir, err)
	}
	s.highWater = chat.HLC(high)
	s.views.publish(s.db.NewSnapshot())
	s.background.Add(2)
	go s.commitLoop()
	go s.answerLoop()
	return nil
}

func (s *Store) ensureIdentity() (self, error) {
	id, ok, err := readSelf(s.db)
	if err != nil || ok {
		return id, err
	}
	some := false
	err = scan(s.db, []byte{0}, []byte{0xff}, func(_, _ []byte) (bool, error) {
		some = true
		return true, nil
	})
	if err == nil && some {
		err = errors.New("there are rows but no identity")
	}
	if err != nil {
		return self{}, openError(s.opts.Dir, err)
	}
	id = self{Schema: storeSchema, Region: s.opts.Region, Node: s.opts.Node, Incarnation: 1}
	b := s.db.NewBatch()
	if err := setSelf(b, id); err != nil {
		return self{}, err
	}
	if err := s.apply(b); err != nil {
		return self{}, openError(s.opts.Dir, err)
	}
	return id, b.Close()
}

func readSelf(r pebble.Reader) (id self, ok bool, err error) {
	v, ok, err := get(r, selfKey(selfIdentity))
	if err != nil || !ok {
		return id, false, err
	}
	if err := json.Unmarshal(v, &id); err != nil {
		return id, false, (&reader{bad: true}).end("identity")
	}
	if id.Schema > storeSchema {
		return id, false, &chat.Error{Code: chat.CodeInvalid, Op: "embedded.Open", Message: fmt.Sprintf(
			"the store has layout %d, this version knows %d: it was written by a newer version", id.Schema, storeSchema)}
	}
	return id, true, nil
}

func setSelf(b *pebble.Batch, id self) error {
	v, err := json.Marshal(id)
	if err != nil {
		return invalid("the identity cannot be encoded")
	}
	return b.Set(selfKey(selfIdentity), v, nil)
}

// number reads a number that the store keeps of itself; 0 when it is not there.
func number(r pebble.Reader, name string) (uint64, error) {
	v, ok, err := get(r, selfKey(name))
	if err != nil || !ok {
		return 0, err
	}
	return unpackNumber(name, v)
}

// Identity implements chat.Store.
func (s *Store) Identity(ctx context.Context) (chat.Identity, error) {
	var out chat.Identity
	err := s.read(ctx, "embedded.Identity", func(r pebble.Reader) error {
		id, _, err := readSelf(r)
		if err != nil {
			return err
		}
		high, err := number(r, selfHighWater)
		if err != nil {
			return err
		}
		last, err := lastSeq(r, chat.StreamID{Region: id.Region, Node: id.Node, Incarnation: id.Incarnation})
		out = chat.Identity{Region: id.Region, Node: id.Node, Incarnation: id.Incarnation, HighWater: chat.HLC(high), LastSeq: last}
		return err
	})
	return out, err
}

// NewIncarnation implements chat.Store.
func (s *Store) NewIncarnation(ctx context.Context) (chat.Identity, error) {
	err := s.decide(ctx, "embedded.NewIncarnation", false, func(g *group) error {
		v, _, err := g.get(selfKey(selfIdentity))
		if err != nil {
			return readError("embedded.NewIncarnation", err)
		}
		var id self
		if err := json.Unmarshal(v, &id); err != nil {
			return (&reader{bad: true}).end("identity")
		}
		id.Incarnation++
		if v, err = json.Marshal(id); err != nil {
			return invalid("the identity cannot be encoded")
		}
		g.set(selfKey(selfIdentity), v)
		return nil
	})
	if err != nil {
		return chat.Identity{}, err
	}
	return s.Identity(ctx)
}

// Close implements chat.Store. The second call gives what the first gave.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.shutdown()
		if s.gate.err() == nil {
			_ = s.opts.FS.Remove(s.opts.FS.PathJoin(s.opts.Dir, holderFile))
		}
		_ = s.lock.Close()
	})
	return s.closeErr
}

// Abandon implements chat.Store: from its start on nothing reaches the files, and after it the directory can be opened
// again, in this process too. Batches under way get CodeUnknownOutcome, those that wait CodeRegionDegraded.
func (s *Store) Abandon() {
	s.gate.shut(errAbandoned)
	_ = s.Close()
}

func (s *Store) shutdown() {
	s.queue.close()
	s.background.Wait()
	s.views.shut()
	if err := s.db.Close(); err != nil && s.gate.err() == nil {
		s.closeErr = &chat.Error{Code: chat.CodeRegionDegraded, Op: "embedded.Close", Message: "cannot close the store in " + s.opts.Dir, Cause: err}
	}
}

// Checkpoint implements chat.Store. It hard-links tables where the file system can, so dir should be on the same disk.
func (s *Store) Checkpoint(ctx context.Context, dir string) error {
	const op = "embedded.Checkpoint"
	return s.read(ctx, op, func(pebble.Reader) error {
		if rel, err := filepath.Rel(s.opts.Dir, dir); err == nil && !strings.HasPrefix(rel, "..") {
			return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: dir + " lies in the store's own directory"}
		}
		if why := s.gate.err(); why != nil {
			return why
		}
		err := s.db.Checkpoint(dir) // what is acknowledged is in the log, synced
		switch {
		case errors.Is(err, os.ErrExist):
			return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: dir + " exists", Cause: err}
		case noSpace(err):
			return &chat.Error{Code: chat.CodeStoreFull, Op: op, Message: "no space for a checkpoint", Cause: err}
		}
		return err
	})
}
