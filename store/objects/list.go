package objects

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"meridian/chat"
)

// List implements chat.Objects. It walks the directories in the order of keys and enters only those that may hold one.
func (d *Disk) List(ctx context.Context, prefix, after string, limit int) ([]chat.ObjectInfo, error) {
	const op = "objects.Disk.List"
	if err := checkPage(op, prefix, after, limit); err != nil {
		return nil, err
	}
	w := &walk{d: d, ctx: ctx, prefix: prefix, after: after, limit: limit}
	if err := w.dir(objectsDir, ""); err != nil && !errors.Is(err, errEnough) {
		return nil, diskError(op, err)
	}
	return w.found, nil
}

var errEnough = errors.New("enough")

type walk struct {
	d             *Disk
	ctx           context.Context
	prefix, after string
	limit         int
	found         []chat.ObjectInfo
}

// dir goes through a directory, whose keys all begin with at.
func (w *walk) dir(dir, at string) error {
	if err := w.ctx.Err(); err != nil {
		return degraded("objects.Disk.List", "the request ended", err)
	}
	entries, err := w.entries(dir)
	if err != nil {
		return err
	}
	for _, name := range entries {
		key := at + name // with a slash at the end: all keys of a directory
		inside := strings.HasSuffix(name, "/")
		switch {
		case inside && w.mayHold(key):
			if err := w.dir(dir+"/"+name[:len(name)-1]+dirSuffix, key); err != nil {
				return err
			}
		case !inside && strings.HasPrefix(key, w.prefix) && key > w.after:
			if err := w.add(dir+"/"+name+fileSuffix, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// entries gives a directory's files and, with a slash, directories, in the order of the keys that they stand for.
func (w *walk) entries(dir string) (names []string, err error) {
	f, err := w.d.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	list, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range list {
		if part, ok := strings.CutSuffix(name, dirSuffix); ok {
			names = append(names, part+"/")
		} else if part, ok := strings.CutSuffix(name, fileSuffix); ok {
			names = append(names, part)
		}
	}
	slices.Sort(names)
	return names, nil
}

// mayHold says whether a directory may have keys that are asked for.
func (w *walk) mayHold(dir string) bool {
	fits := strings.HasPrefix(dir, w.prefix) || strings.HasPrefix(w.prefix, dir)
	return fits && (dir > w.after || strings.HasPrefix(w.after, dir))
}

func (w *walk) add(file, key string) error {
	st, err := w.d.root.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	w.found = append(w.found, chat.ObjectInfo{Key: key, Size: st.Size() - int64(headSize)})
	if len(w.found) == w.limit {
		return errEnough
	}
	return nil
}
