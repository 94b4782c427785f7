package objects

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"meridian/chat"
)

// Disk is a chat.Objects in a directory. An object is one file: a head with size and hash, then the content. It is written under
// another name and gets its own when it is on the disk. A key's parts are directories PART.d and, at the end, a file PART.o, so
// that "a" and "a/b" do not meet. All goes through an os.Root: no key and no link leads out of the directory.
type Disk struct {
	root *os.Root
}

// The head of a file.
const (
	magic    = "MRDNOBJ1"
	headSize = len(magic) + 8 + sha256.Size
)

const (
	objectsDir, unfinishedDir = "objects", "unfinished"
	dirSuffix, fileSuffix     = ".d", ".o"
)

// OpenDisk opens the directory, which is made if it does not exist, and removes what a crash left unfinished. One process at a
// time may use it.
func OpenDisk(dir string) (*Disk, error) {
	const op = "objects.OpenDisk"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, diskError(op, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, diskError(op, err)
	}
	d := &Disk{root: root}
	err = root.RemoveAll(unfinishedDir)
	for _, name := range []string{unfinishedDir, objectsDir} {
		if err == nil {
			err = root.Mkdir(name, 0o700)
		}
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err == nil {
		err = d.syncDir(".")
	}
	if err != nil {
		_ = root.Close() // the first error is the one to tell
		return nil, diskError(op, err)
	}
	return d, nil
}

// Close releases the directory.
func (d *Disk) Close() error { return d.root.Close() }

// place gives the file of a key.
func place(key string) string {
	return objectsDir + "/" + strings.ReplaceAll(key, "/", dirSuffix+"/") + fileSuffix
}

// Put implements chat.Objects.
func (d *Disk) Put(ctx context.Context, info chat.ObjectInfo, r io.Reader) error {
	const op = "objects.Disk.Put"
	if err := chat.CheckObject(info); err != nil {
		return err
	}
	unfinished := unfinishedDir + "/" + rand.Text()
	if err := d.write(ctx, unfinished, info, r); err != nil {
		_ = d.root.Remove(unfinished) // if not now, at the next start
		return diskError(op, err)
	}
	file := place(info.Key)
	err := d.makeDirs(path.Dir(file))
	if err == nil {
		err = d.root.Rename(unfinished, file)
	}
	if err == nil {
		err = d.syncDir(path.Dir(file))
	}
	if err != nil {
		_ = d.root.Remove(unfinished)
		return diskError(op, err)
	}
	return nil
}

// write writes a file and syncs it.
func (d *Disk) write(ctx context.Context, name string, info chat.ObjectInfo, r io.Reader) (err error) {
	f, err := d.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	head := append([]byte(magic), binary.BigEndian.AppendUint64(nil, uint64(info.Size))...)
	if _, err := f.Write(append(head, info.SHA256[:]...)); err != nil {
		return err
	}
	if _, err := io.Copy(f, newContent(info, whileAlive(ctx, r))); err != nil {
		return err
	}
	return f.Sync()
}

// makeDirs makes a directory and those above it, and syncs what it changes: a file's name is durable when all names above are.
func (d *Disk) makeDirs(dir string) error {
	if _, err := d.root.Stat(dir); err == nil {
		return nil
	}
	if err := d.makeDirs(path.Dir(dir)); err != nil {
		return err
	}
	if err := d.root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.syncDir(path.Dir(dir))
}

func (d *Disk) syncDir(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Get implements chat.Objects.
func (d *Disk) Get(_ context.Context, key string, offset, length int64) (io.ReadCloser, chat.ObjectInfo, error) {
	const op = "objects.Disk.Get"
	if err := chat.CheckObjectKey(key); err != nil {
		return nil, chat.ObjectInfo{}, err
	}
	f, err := d.root.Open(place(key))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, chat.ObjectInfo{}, notFound(op)
	}
	if err != nil {
		return nil, chat.ObjectInfo{}, diskError(op, err)
	}
	info, err := readHead(f)
	info.Key = key
	if err == nil {
		length, err = checkRange(op, info.Size, offset, length)
	}
	if err == nil {
		_, err = f.Seek(int64(headSize)+offset, io.SeekStart)
	}
	if err != nil {
		_ = f.Close() // only read
		return nil, chat.ObjectInfo{}, diskError(op, err)
	}
	part := &partOf{Reader: io.LimitReader(f, length), Closer: f}
	if offset == 0 && length == info.Size {
		return newChecked(part, info.SHA256), info, nil
	}
	return part, info, nil
}

type partOf struct {
	io.Reader
	io.Closer
}

// readHead gives size and hash, and refuses a file that is no object.
func readHead(f *os.File) (info chat.ObjectInfo, err error) {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(f, head); err != nil || !bytes.HasPrefix(head, []byte(magic)) {
		return info, degraded("objects.Disk", "a file for an object is none", err)
	}
	info.Size = int64(binary.BigEndian.Uint64(head[len(magic):]))
	copy(info.SHA256[:], head[len(magic)+8:])
	st, err := f.Stat()
	if err == nil && st.Size() != int64(headSize)+info.Size {
		err = degraded("objects.Disk", "an object is cut off", nil)
	}
	return info, err
}

// Delete implements chat.Objects. Directories stay: one that is being put into must not go.
func (d *Disk) Delete(_ context.Context, key string) error {
	const op = "objects.Disk.Delete"
	if err := chat.CheckObjectKey(key); err != nil {
		return err
	}
	file := place(key)
	err := d.root.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = d.syncDir(path.Dir(file))
	}
	if err != nil {
		return diskError(op, err)
	}
	return nil
}

// whileAlive ends a reader when ctx does.
func whileAlive(ctx context.Context, r io.Reader) io.Reader {
	return readFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

type readFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readFunc) Read(p []byte) (int, error) { return f(p) }
