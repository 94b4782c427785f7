// Package canary looks for bytes that must not be somewhere: in every file under a directory, as they stand and in the usual
// encodings, in the records of write-ahead logs and in the rows of compressed tables.
package canary

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Set is what is looked for.
type Set struct{ needles []needle }

type needle struct {
	name  string
	bytes []byte
}

// Hit is one find: what, in which encoding, and where.
type Hit struct{ Name, Where string }

// Add looks for value: as it is, in base64, hex and UTF-16. It must be random and long enough not to appear by chance.
func (s *Set) Add(name string, value []byte) {
	s.add(name, value)
	s.add(name+" (hex)", []byte(hex.EncodeToString(value)))
	for phase := range 3 { // base64 of value behind 0, 1 or 2 other bytes of the same text
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			s.add(name+" (base64)", encodedAt(encoding, value, phase))
		}
	}
	wide := make([]byte, 0, 2*len(value))
	for _, unit := range utf16.Encode([]rune(string(value))) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	s.add(name+" (UTF-16)", wide)
}

// AddID looks for a UUID: its 16 bytes as Add does, and its text.
func (s *Set) AddID(name string, id [16]byte, text string) {
	s.Add(name, id[:])
	s.Add(name+" (text)", []byte(text))
}

func (s *Set) add(name string, b []byte) {
	if !slices.ContainsFunc(s.needles, func(n needle) bool { return bytes.Equal(n.bytes, b) }) {
		s.needles = append(s.needles, needle{name, b})
	}
}

// encodedAt gives the characters of an encoding that depend on value only, when it begins at that phase of three bytes.
func encodedAt(encoding *base64.Encoding, value []byte, phase int) []byte {
	text := encoding.WithPadding(base64.NoPadding).EncodeToString(append(make([]byte, phase), value...))
	first := (8*phase + 5) / 6
	last := 8 * (phase + len(value)) / 6
	return []byte(text[first:last])
}

// In says what stands in b.
func (s *Set) In(b []byte, where string) (hits []Hit) {
	for _, n := range s.needles {
		if bytes.Contains(b, n.bytes) {
			hits = append(hits, Hit{n.name, where})
		}
	}
	return hits
}

// Result is what a search found, and how much it has read, so that a search that read nothing is noticed.
type Result struct {
	Hits                 []Hit
	Files, Records, Rows int
}

// Dir searches every file under dir, and its name. A file that goes away meanwhile was replaced by another and is passed over;
// the torn end of a log that is being written ends it.
func (s *Set) Dir(dir string) (Result, error) {
	var r Result
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		return s.file(path, &r)
	})
	return r, err
}

// Files searches some files.
func (s *Set) Files(paths ...string) (r Result, err error) {
	for _, path := range paths {
		if err := s.file(path, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (s *Set) file(path string, r *Result) error {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Files++
	r.Hits = append(r.Hits, s.In([]byte(filepath.Base(path)), path+": its name")...)
	r.Hits = append(r.Hits, s.In(b, path)...)
	switch {
	case strings.HasSuffix(path, ".log") || strings.HasPrefix(filepath.Base(path), "MANIFEST-"):
		s.records(b, path, r)
	case strings.HasSuffix(path, ".sst"):
		return s.written(path, r)
	}
	return nil
}

// writtenWithin bounds the wait for a table that a store is writing.
const writtenWithin = time.Minute

// written reads a table, and again while a store is still writing it. One that goes away meanwhile was replaced.
func (s *Set) written(path string, r *Result) error {
	for end := time.Now().Add(writtenWithin); ; time.Sleep(50 * time.Millisecond) {
		err := s.table(path, r)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// records joins the pieces that a log cuts its records into, at the borders of its blocks.
func (s *Set) records(b []byte, path string, r *Result) {
	var number int
	_, _ = fmt.Sscanf(filepath.Base(path), "%d", &number) // a manifest's records carry no number
	log := logReader(record.NewReader, bytes.NewReader(b), number)
	for {
		one, err := log.Next()
		if err != nil {
			return // its end, torn or not
		}
		text, err := io.ReadAll(one)
		if err != nil {
			return
		}
		r.Records++
		r.Hits = append(r.Hits, s.In(text, path+": a record")...)
	}
}

// logReader makes a log's reader; the type of its number is not exported, but can be inferred.
func logReader[N ~uint64](open func(io.Reader, N) *record.Reader, b io.Reader, number int) *record.Reader {
	return open(b, N(number))
}

// tableOptions are those of the embedded store's tables; rows are read as they lie there, so its merger is only named.
func tableOptions() sstable.ReaderOptions {
	options := &pebble.Options{Merger: &pebble.Merger{Name: "meridian.rows.1"}}
	options.EnsureDefaults()
	return options.MakeReaderOptions()
}

// table reads every row of a table, also those that are deleted or overwritten but still there.
func (s *Set) table(path string, r *Result) error {
	file, err := vfs.Default.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(file)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	ctx := context.Background()
	reader, err := sstable.NewReader(ctx, readable, tableOptions())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer func() { _ = reader.Close() }() // only read
	rows, err := reader.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer func() { _ = rows.Close() }()
	for kv := rows.First(); kv != nil; kv = rows.Next() {
		value, _, err := kv.Value(nil)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		r.Rows++
		// A row has its key and value side by side, so that nothing hides at the seam.
		row := append(slices.Clone(kv.K.UserKey), value...)
		r.Hits = append(r.Hits, s.In(row, fmt.Sprintf("%s: row %x", path, kv.K.UserKey[:min(24, len(kv.K.UserKey))]))...)
	}
	return rows.Error()
}
