package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"meridian/chat"
)

// engine is what keeps one directory.
type engine struct {
	opts Options
	db   *pebble.DB
	gate *gate
	// Where the bucketed tables have rows.
	inbox, retries buckets
	lock           *pebble.Lock
	views          views
	turned         atomic.Bool // a memory buffer has filled since room last looked

	queue      queue
	answers    answers
	background sync.WaitGroup
	closeOnce  sync.Once
	closeErr   error

	// The committer's own.
	high         map[chat.StreamID]chat.HLC // high-water marks that are stored; one that is not here counts as 0
	spaceChecked time.Time
	spaceFree    int64 // above the reserve, when it was checked
	spaceUsed    int64 // bytes committed since
}

var errAbandoned = errors.New("the store was abandoned")

// holderFile names the process that has the directory open.
const holderFile = "HOLDER"

// Open opens the store in o.Dir, and makes it when there is none; it gives the handle of o.Node. The error has CodeInvalid
// for options that cannot be, for a directory that another store has open (it names the process) or that belongs to another
// region or to other nodes only; CodeStoreFull when there is no space; CodeRegionDegraded when the files cannot be read or are damaged (it names what is;
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
	s := &engine{opts: o, lock: lock, gate: newGate(o.FS, o.Dir), high: make(map[chat.StreamID]chat.HLC)}
	s.queue.wake, s.answers.wake = make(chan struct{}, 1), make(chan struct{}, 1)
	if err := s.openEngine(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	life, err := s.start()
	if err != nil {
		_ = s.db.Close()
		_ = lock.Close()
		return nil, err
	}
	return newHandle(s, life, true), nil
}

// lockDir makes the directory and takes it.
func lockDir(o Options) (*pebble.Lock, error) {
	if err := makeDir(o.FS, o.Dir); err != nil {
		return nil, openError(o.Dir, err)
	}
	lock, holder, err := take(o.FS, o.Dir)
	if err != nil {
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
func (s *engine) openEngine() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = openError(s.opts.Dir, fmt.Errorf("storage engine: %v", r))
		}
	}()
	if err := s.checkFiles(); err != nil {
		return err
	}
	db, err := pebble.Open(s.opts.Dir, s.opts.pebble(s.gate, &s.turned, s.lock))
	if err != nil {
		return openError(s.opts.Dir, s.namingLogs(err))
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
func (s *engine) checkFiles() error {
	names, err := s.opts.FS.List(s.opts.Dir)
	if err != nil {
		return openError(s.opts.Dir, err)
	}
	const markerPrefix = "marker.manifest."
	data, marker := "", ""
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log") {
			data = name
		}
		if strings.HasPrefix(name, markerPrefix) {
			marker = max(marker, name) // the number after the prefix counts up
		}
	}
	if marker == "" && data == "" {
		return nil
	}
	if marker == "" {
		return openError(s.opts.Dir, fmt.Errorf("there is data (%s) but no marker.manifest file", data))
	}
	_, manifest, _ := strings.Cut(strings.TrimPrefix(marker, markerPrefix), ".")
	if err := checkManifest(s.opts.FS, s.opts.FS.PathJoin(s.opts.Dir, manifest)); err != nil {
		return openError(s.opts.Dir, err)
	}
	return nil
}

// namingLogs adds the names of the log files to an error of their replay, which names none.
func (s *engine) namingLogs(err error) error {
	names, lerr := s.opts.FS.List(s.opts.Dir)
	if lerr != nil || !strings.Contains(err.Error(), "WAL") {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".log") })
	slices.Sort(names)
	return fmt.Errorf("damaged log, one of %s: %w", strings.Join(names, ", "), err)
}

// start reads or makes the identity, gives the life of Options.Node, and starts the background.
func (s *engine) start() (chat.StreamID, error) {
	if err := s.ensureIdentity(); err != nil {
		return chat.StreamID{}, err
	}
	life, ok, err := latestLife(s.db, s.opts.Region, s.opts.Node)
	if err == nil && !ok && s.opts.Node != "" {
		return life, &chat.Error{Code: chat.CodeInvalid, Op: "embedded.Open", Message: fmt.Sprintf(
			"%s belongs to other nodes of region %s than %s", s.opts.Dir, s.opts.Region, s.opts.Node)}
	}
	if err != nil {
		return life, openError(s.opts.Dir, err)
	}
	if err := errors.Join(s.inbox.load(s.db, tagInbox), s.retries.load(s.db, tagRetry)); err != nil {
		return life, openError(s.opts.Dir, err)
	}
	s.views.publish(s.db.NewSnapshot())
	s.background.Add(2)
	go s.commitLoop()
	go s.answerLoop()
	return life, nil
}

// close closes the directory. The second call gives what the first gave.
func (s *engine) close() error {
	s.closeOnce.Do(func() {
		s.shutdown()
		if s.gate.err() == nil {
			_ = s.opts.FS.Remove(s.opts.FS.PathJoin(s.opts.Dir, holderFile))
		}
		_ = s.lock.Close()
	})
	return s.closeErr
}

func (s *engine) shutdown() {
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
