package embedded

import (
	"encoding/binary"

	"meridian/chat"
)

// rowFormat is the first byte of every value. A row with a larger one was written by a newer version of this program.
const rowFormat = 1

// writer packs a value: fixed-size fields as they are, texts and byte strings with their length before them.
type writer struct{ b []byte }

func newValue(size int) *writer {
	return &writer{b: append(make([]byte, 0, size+1), rowFormat)}
}

func (w *writer) u8(v byte)      { w.b = append(w.b, v) }
func (w *writer) u16(v uint16)   { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *writer) u64(v uint64)   { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) id(v [16]byte)  { w.b = append(w.b, v[:]...) }
func (w *writer) bytes(v []byte) { w.b = append(binary.AppendUvarint(w.b, uint64(len(v))), v...) }
func (w *writer) text(v string)  { w.b = append(binary.AppendUvarint(w.b, uint64(len(v))), v...) }
func (w *writer) owner(o chat.Owner) {
	w.id(o.ID)
	w.text(string(o.Zone))
	w.text(o.Name)
}

func (w *writer) stream(s chat.StreamID) {
	w.text(string(s.Region))
	w.text(string(s.Node))
	w.u64(uint64(s.Incarnation))
}

// reader unpacks; after a field that is not there bad is set and every field reads as zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() byte {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if v := r.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *reader) id() (v [16]byte) {
	copy(v[:], r.take(16))
	return v
}

func (r *reader) bytes() []byte {
	n, used := binary.Uvarint(r.b)
	if used <= 0 || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	r.take(used)
	return r.take(int(n))
}

// copied gives a byte string that the caller may keep; nil for an empty one.
func (r *reader) copied() []byte { return append([]byte(nil), r.bytes()...) }

func (r *reader) text() string { return string(r.bytes()) }

// name reads what appendName wrote.
func (r *reader) name() string { return string(r.take(int(r.u8()))) }

func (r *reader) owner() chat.Owner {
	return chat.Owner{ID: r.id(), Zone: chat.Zone(r.text()), Name: r.text()}
}

func (r *reader) stream() chat.StreamID {
	return chat.StreamID{Region: chat.Region(r.text()), Node: chat.NodeID(r.text()), Incarnation: chat.Incarnation(r.u64())}
}

// open starts reading a value. The error has CodeRegionDegraded: the row is there but this program cannot read it.
func open(table string, v []byte) (*reader, error) {
	if len(v) == 0 || v[0] != rowFormat {
		return nil, &chat.Error{Code: chat.CodeRegionDegraded, Op: "embedded.read", Message: "a row of " + table + " has a format that this version does not know"}
	}
	return &reader{b: v[1:]}, nil
}

// end checks that everything was there and nothing is left.
func (r *reader) end(table string) error {
	if r.bad || len(r.b) != 0 {
		return &chat.Error{Code: chat.CodeRegionDegraded, Op: "embedded.read", Message: "a row of " + table + " is damaged"}
	}
	return nil
}
