package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// list gives the files in dir but the manifest, sorted, with slashes, and their size.
func list(dir string) (names []string, total int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if name = filepath.ToSlash(name); name == ManifestName {
			return nil
		}
		if !d.Type().IsRegular() {
			return invalid("%s is neither a file nor a directory", path)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		names, total = append(names, name), total+info.Size()
		return nil
	})
	slices.Sort(names)
	return names, total, err
}

// meter tells how far something is.
type meter struct {
	done, all int64
	tell      func(done, all int64)
}

// Write implements io.Writer: so many more bytes are done.
func (m *meter) Write(p []byte) (int, error) {
	m.done += int64(len(p))
	if m.tell != nil {
		m.tell(m.done, m.all)
	}
	return len(p), nil
}

// chunkBytes is how much is read at once, and how often a meter tells.
const chunkBytes = 1 << 20

// transfer reads from into sum and meter, and into the others.
func transfer(from io.Reader, m *meter, to ...io.Writer) (file File, err error) {
	sum := sha256.New()
	all := io.MultiWriter(append([]io.Writer{sum, m}, to...)...)
	// Hidden methods: with them the copy would not go through the buffer.
	file.Bytes, err = io.CopyBuffer(struct{ io.Writer }{all}, struct{ io.Reader }{from}, make([]byte, chunkBytes))
	file.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return file, err
}

// describe reads a file and makes sure that it is on the disk.
func describe(path string, m *meter) (file File, err error) {
	f, err := os.Open(path)
	if err != nil {
		return file, err
	}
	defer f.Close()
	if file, err = transfer(f, m); err != nil {
		return file, err
	}
	return file, f.Sync()
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Problem is a file that is not as the manifest says.
type Problem struct {
	File string `json:"file"`
	What string `json:"what"`
}

// String gives one line.
func (p Problem) String() string { return p.File + " " + p.What }

// Check compares the files in dir with the manifest, and says all that is wrong. It changes nothing.
func (m *Manifest) Check(dir string, progress func(done, all int64)) ([]Problem, error) {
	names, _, err := list(dir)
	if err != nil {
		return nil, err
	}
	var problems []Problem
	here := make(map[string]bool, len(names))
	for _, name := range names {
		here[name] = true
	}
	meter := meter{all: m.Bytes(), tell: progress}
	for _, want := range m.Files {
		if !here[want.Name] {
			problems = append(problems, Problem{want.Name, "is missing"})
			continue
		}
		delete(here, want.Name)
		have, err := read(filepath.Join(dir, filepath.FromSlash(want.Name)), &meter)
		if err != nil {
			problems = append(problems, Problem{want.Name, "cannot be read: " + err.Error()})
		} else if what := want.differs(have); what != "" {
			problems = append(problems, Problem{want.Name, what})
		}
	}
	for _, name := range names {
		if here[name] {
			problems = append(problems, Problem{name, "is not in the manifest"})
		}
	}
	return problems, nil
}

func read(path string, m *meter) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	return transfer(f, m)
}

// differs says in what have is not the file; "": in nothing.
func (f File) differs(have File) string {
	switch {
	case have.Bytes != f.Bytes:
		return fmt.Sprintf("has %d bytes, not %d", have.Bytes, f.Bytes)
	case have.SHA256 != f.SHA256:
		return "is damaged: its SHA-256 is another"
	}
	return ""
}

// Copy copies the files in from to the directory to, which is there and empty, and makes them durable. What it writes is what the manifest says:
// the error has CodeInvalid where a file is not.
func (m *Manifest) Copy(from, to string, progress func(done, all int64)) error {
	meter := meter{all: m.Bytes(), tell: progress}
	dirs := map[string]bool{to: true}
	for _, want := range m.Files {
		name := filepath.FromSlash(want.Name)
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		have, err := copyFile(filepath.Join(from, name), target, &meter)
		if err != nil {
			return err
		}
		if what := want.differs(have); what != "" {
			return invalid("%s %s", want.Name, what)
		}
		for d := filepath.Dir(target); !dirs[d]; d = filepath.Dir(d) {
			dirs[d] = true
		}
	}
	for d := range dirs {
		if err := syncPath(d); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string, m *meter) (file File, err error) {
	in, err := os.Open(from)
	if err != nil {
		return file, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return file, err
	}
	file, err = transfer(in, m, out)
	return file, errors.Join(err, out.Sync(), out.Close())
}
