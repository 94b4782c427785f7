package ranges

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// File is a Set with the names of its numbers, in the form in which it is embedded. On disk it is gzip (which brings a
// checksum) around: magic, edition, names, then for each family four blocks: the number of ranges, their values, and their
// sizes split into trailing zero bits and the odd rest, because most are powers of two. Strings and blocks have their
// length before them; all integers are unsigned varints.
type File struct {
	Edition string
	Names   []string // Names[v-1] names value v
	Set     *Set
}

const magic = "meridian ranges 1\n"

// maxFileBytes bounds what a file may unpack to.
const maxFileBytes = 256 << 20

// WriteTo packs f. The same content gives the same bytes.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	raw := appendBytes(nil, []byte(magic))
	raw = appendBytes(raw, []byte(f.Edition))
	raw = binary.AppendUvarint(raw, uint64(len(f.Names)))
	for _, n := range f.Names {
		raw = appendBytes(raw, []byte(n))
	}
	raw = appendFamily(raw, &f.Set.v4)
	raw = appendFamily(raw, &f.Set.v6)
	count := &counter{w: w}
	z, err := gzip.NewWriterLevel(count, gzip.BestCompression)
	if err != nil {
		return 0, err
	}
	if _, err = z.Write(raw); err == nil {
		err = z.Close()
	}
	return count.n, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendFamily[L low](dst []byte, f *family[L]) []byte {
	var values, zeros, odds []byte
	for c := f.cursor(); c.more(); c.next() {
		values = binary.AppendUvarint(values, uint64(c.value()))
		if c.last != lastKey[L]() { // the last range goes to the end
			size := c.last - c.first + 1
			z := bits.TrailingZeros64(size)
			zeros = append(zeros, byte(z))
			odds = binary.AppendUvarint(odds, size>>z>>1)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(f.len()))
	return appendBytes(appendBytes(appendBytes(dst, values), zeros), odds)
}

// errCorrupt is what any wrong file ends in.
var errCorrupt = errors.New("not a range file, or damaged")

// Read unpacks a file and checks it: every value has a name, the ranges cover each family without overlap.
func Read(packed []byte) (*File, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxFileBytes))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	r := &reader{b: raw}
	if string(r.bytes()) != magic {
		return nil, errCorrupt
	}
	f := &File{Edition: string(r.bytes()), Set: &Set{}}
	for range r.count() {
		f.Names = append(f.Names, string(r.bytes()))
	}
	readFamily(r, &f.Set.v4, len(f.Names))
	readFamily(r, &f.Set.v6, len(f.Names))
	if r.bad || len(r.b) != 0 {
		return nil, errCorrupt
	}
	return f, nil
}

// reader takes from b until something is wrong; then it is bad and gives zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return x
}

// count reads a number of things that take at least a byte each.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte {
	n := r.count()
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func readFamily[L low](r *reader, f *family[L], names int) {
	n := r.count()
	values, zeros, odds := &reader{b: r.bytes()}, r.bytes(), &reader{b: r.bytes()}
	if n == 0 || len(zeros) != n-1 || names > MaxValue {
		r.bad = true
		return
	}
	f.grow(n)
	var start uint64
	for i := range n {
		v := values.uvarint()
		if v > uint64(names) || start > lastKey[L]() {
			r.bad = true
			return
		}
		f.push(start, uint32(v))
		if i == n-1 {
			break
		}
		odd := odds.uvarint()
		next := start + (odd<<1|1)<<(zeros[i]&63)
		if next <= start || zeros[i] > 63 {
			r.bad = true
			return
		}
		start = next
	}
	r.bad = r.bad || values.bad || odds.bad || len(values.b)+len(odds.b) != 0
	f.seal()
}
