package embedded

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// gate stands between Pebble and the file system. Pebble 2.1 survives an error while it writes a table: it tries again.
// An error while it writes its log, manifest or markers it does not survive (DB.Apply and the version set call
// Logger.Fatalf; the rotation of the log panics with a mutex in a state that the runtime ends the process for). So:
//
//   - The first such error closes the gate. From then on every change succeeds as far as Pebble can tell and reaches
//     nothing; what the committer had in hand has an unknown outcome, and it takes no more.
//   - Tables cannot be written through a closed gate. Flushes and compactions fail, so Pebble goes on reading from tables
//     and memory that are really there, and removes nothing.
//   - An error with a table only starts a pause in which the store takes no writes, since memory would fill up.
//
// Closing the gate waits for the changes under way, so that afterwards the directory is at rest.
type gate struct {
	vfs.FS
	dir string

	mu     sync.RWMutex // held for reading by each change, for writing by shut
	closed error        // why the gate is closed

	troubled atomic.Int64 // unix nanoseconds of the last error with a table or with space
	full     atomic.Bool  // that error was a lack of space
	stop     chan struct{}
}

// retryPause is how long Pebble's next try to write a table waits after one that failed: Pebble itself does not wait.
const retryPause = 100 * time.Millisecond

func newGate(fs vfs.FS, dir string) *gate {
	return &gate{FS: fs, dir: dir, stop: make(chan struct{})}
}

// shut closes the gate for good; the first reason stays.
func (g *gate) shut(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = why
		close(g.stop)
	}
}

// err says why the gate is closed, nil while it is open.
func (g *gate) err() error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.closed
}

// errShut is what writers of tables get at a closed gate.
var errShut = errors.New("the store takes no more writes")

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// soft says that Pebble handles an error with this file: tables, and whatever lies outside the directory (checkpoints).
func (g *gate) soft(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob") || g.PathDir(name) != g.dir && name != g.dir
}

// change runs one change of the files named name. What Pebble must not see as an error comes back as done == false.
func (g *gate) change(name string, do func() error) (done bool, err error) {
	g.mu.RLock()
	soft := g.soft(name)
	if g.closed != nil {
		g.mu.RUnlock()
		if soft {
			return false, errShut
		}
		return false, nil
	}
	err = do()
	g.mu.RUnlock()
	if err == nil {
		return true, nil
	}
	g.trouble(err)
	if soft {
		return true, err
	}
	g.shut(err)
	return false, nil
}

func (g *gate) trouble(err error) {
	g.full.Store(noSpace(err))
	g.troubled.Store(time.Now().UnixNano())
}

// pause holds back the making of a table for a moment after an error.
func (g *gate) pause() {
	if time.Since(time.Unix(0, g.troubled.Load())) > retryPause && g.err() == nil {
		return
	}
	timer := time.NewTimer(retryPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.stop:
	}
}

func (g *gate) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if g.soft(name) {
		g.pause()
	}
	return g.file(name, func() (vfs.File, error) { return g.FS.Create(name, c) })
}

func (g *gate) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return g.file(name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, c, opts...) })
}

func (g *gate) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.file(newname, func() (vfs.File, error) { return g.FS.ReuseForWrite(oldname, newname, c) })
}

func (g *gate) OpenDir(name string) (vfs.File, error) {
	return g.file(name, func() (vfs.File, error) { return g.FS.OpenDir(name) })
}

func (g *gate) file(name string, open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	done, err := g.change(name, func() (err error) {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	if !done {
		f = vfs.NewMemFile(nil)
	}
	return &gatedFile{File: f, gate: g, name: name, sink: !done}, nil
}

func (g *gate) nothing(name string, do func() error) error {
	_, err := g.change(name, do)
	return err
}

func (g *gate) Link(oldname, newname string) error {
	return g.nothing(newname, func() error { return g.FS.Link(oldname, newname) })
}

func (g *gate) Remove(name string) error    { return g.remove(name, g.FS.Remove) }
func (g *gate) RemoveAll(name string) error { return g.remove(name, g.FS.RemoveAll) }

// remove leaves errors to Pebble, which only logs them: a file too many does no harm.
func (g *gate) remove(name string, do func(string) error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed != nil {
		return nil
	}
	return do(name)
}

func (g *gate) Rename(oldname, newname string) error {
	return g.nothing(newname, func() error { return g.FS.Rename(oldname, newname) })
}

func (g *gate) MkdirAll(dir string, perm os.FileMode) error {
	return g.nothing(dir, func() error { return g.FS.MkdirAll(dir, perm) })
}

func (g *gate) Lock(name string) (io.Closer, error) { return g.FS.Lock(name) }
func (g *gate) Unwrap() vfs.FS                      { return g.FS }

// gatedFile is a file that was opened to be changed.
type gatedFile struct {
	vfs.File
	gate *gate
	name string
	sink bool // opened at a closed gate: there is no such file
}

func (f *gatedFile) Write(p []byte) (int, error) {
	n := len(p)
	_, err := f.gate.change(f.name, func() (err error) {
		n, err = f.File.Write(p)
		return err
	})
	if err != nil {
		return n, err
	}
	return len(p), nil
}

func (f *gatedFile) WriteAt(p []byte, off int64) (int, error) {
	n := len(p)
	_, err := f.gate.change(f.name, func() (err error) {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	if err != nil {
		return n, err
	}
	return len(p), nil
}

func (f *gatedFile) Sync() error     { return f.gate.nothing(f.name, f.File.Sync) }
func (f *gatedFile) SyncData() error { return f.gate.nothing(f.name, f.File.SyncData) }

func (f *gatedFile) SyncTo(length int64) (fullSync bool, err error) {
	_, err = f.gate.change(f.name, func() (err error) {
		fullSync, err = f.File.SyncTo(length)
		return err
	})
	return fullSync, err
}

// Preallocate is a hint: what it fails for, the write that needs the space fails for too.
func (f *gatedFile) Preallocate(offset, length int64) error {
	f.gate.mu.RLock()
	defer f.gate.mu.RUnlock()
	if f.gate.closed == nil {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}

// Close gives the file back in any case; what it reports matters while the gate is open.
func (f *gatedFile) Close() error {
	if f.sink {
		return nil
	}
	err := f.File.Close()
	return f.gate.nothing(f.name, func() error { return err })
}
