package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"meridian/chat"
)

// Layout is the layout of keys and values that this version writes; it reads older ones.
const Layout = storeSchema

// lockFile is where Pebble takes a directory.
const lockFile = "LOCK"

// Inspect opens a store that nobody has open, such as a checkpoint, reads which region's it is and in which layout, and leaves it as it was.
// The error has CodeInvalid for a layout that is newer than this version's, CodeRegionDegraded for files that are missing or damaged.
func Inspect(dir string) (region chat.Region, layout int, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return "", 0, err
	}
	if _, err := os.Lstat(filepath.Join(dir, lockFile)); errors.Is(err, os.ErrNotExist) {
		defer os.Remove(filepath.Join(dir, lockFile)) // reading makes it
	}
	defer func() {
		if r := recover(); r != nil {
			err = openError(dir, fmt.Errorf("storage engine: %v", r))
		}
	}()
	o, err := Options{Dir: dir, Region: "any", Codec: noCodec{}}.withDefaults()
	if err != nil {
		return "", 0, err
	}
	s := &engine{opts: o, gate: newGate(o.FS, dir)}
	if err := s.checkFiles(); err != nil {
		return "", 0, err
	}
	e := o.pebble(s.gate, &s.turned, nil)
	e.ReadOnly = true
	db, err := pebble.Open(dir, e)
	if err != nil {
		return "", 0, openError(dir, s.namingLogs(err))
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	id, ok, err := readSelf(db)
	if err == nil && !ok {
		err = openError(dir, errors.New("it says nothing of whose it is"))
	}
	return id.Region, id.Schema, err
}

// noCodec stands where no op is read.
type noCodec struct{ chat.OpCodec }

// InUse says who has the store in dir open, as in "process 4711"; "" where nobody has, or nothing is there.
func InUse(dir string) (holder string, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if _, err := os.Lstat(filepath.Join(dir, lockFile)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return "", nil
		}
		return "", err
	}
	lock, holder, err := take(vfs.Default, dir)
	if err != nil {
		return holder, nil
	}
	return "", lock.Close()
}

// take takes a directory for this process, or says who has it.
func take(fs vfs.FS, dir string) (lock *pebble.Lock, holder string, err error) {
	lock, err = pebble.LockDirectory(dir, fs)
	if err == nil {
		return lock, "", nil
	}
	if pid := readSmall(fs, fs.PathJoin(dir, holderFile)); pid != "" {
		return nil, "process " + pid, err
	}
	return nil, "another process", err
}
