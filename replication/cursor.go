package replication

import (
	"encoding/base64"
	"encoding/binary"
	"slices"

	"meridian/chat"
)

// Cursor is how far a client has read, in words that every region understands.
//
// In the region that gave it, Local counts, at whatever node and in whatever life of it: arrival times of that region's inbox
// log, which its nodes share, and no life stamps below what an earlier one gave out. In another region, Global counts:
// the client has seen every op originated anywhere at or before it, and since applying an op pushes a region's clock past
// the op's time, all that it has not seen has a later arrival in every region's log. So reading the other region's log after
// Global misses nothing, and brings a few events again, which the client drops by id.
type Cursor struct {
	Region      chat.Region
	Incarnation chat.Incarnation
	Local       chat.HLC
	Global      chat.HLC
}

// cursorVersion is the first byte of an encoded cursor.
const cursorVersion = 1

// MaxCursorChars bounds the text of a cursor.
const MaxCursorChars = 160

// maxRegionChars bounds a region's name in a cursor.
const maxRegionChars = 80

// String gives the text form: URL-safe, opaque to clients.
func (c Cursor) String() string {
	b := []byte{cursorVersion, byte(len(c.Region))}
	b = append(b, c.Region...)
	b = binary.AppendUvarint(b, uint64(c.Incarnation))
	b = binary.AppendUvarint(b, uint64(c.Local))
	b = binary.AppendUvarint(b, uint64(c.Global))
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor reads the text form. The error has CodeInvalid.
func ParseCursor(s string) (Cursor, error) {
	bad := &chat.Error{Code: chat.CodeInvalid, Op: "replication.ParseCursor", Message: "not a cursor"}
	if len(s) > MaxCursorChars {
		return Cursor{}, bad
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < 2 || b[0] != cursorVersion {
		return Cursor{}, bad
	}
	n := int(b[1])
	if n == 0 || n > maxRegionChars || len(b) < 2+n {
		return Cursor{}, bad
	}
	c := Cursor{Region: chat.Region(b[2 : 2+n])}
	b = b[2+n:]
	var numbers [3]uint64
	for i := range numbers {
		v, used := binary.Uvarint(b)
		if used <= 0 {
			return Cursor{}, bad
		}
		numbers[i], b = v, b[used:]
	}
	if len(b) != 0 {
		return Cursor{}, bad
	}
	c.Incarnation, c.Local, c.Global = chat.Incarnation(numbers[0]), chat.HLC(numbers[1]), chat.HLC(numbers[2])
	if c.String() != s { // the decoders are lenient: base64 skips line ends, a varint may be padded
		return Cursor{}, bad
	}
	return c, nil
}

// Entry is an inbox row with the cursor that a client holds once it has it.
type Entry struct {
	Row    chat.InboxRow
	Cursor Cursor
}

// Reader walks one owner's inbox log for one client. It is pure: the caller takes Marks first, asks Query for the range,
// reads the inbox, and gives the rows to Page. Taking the marks after the read would skip what became visible in between.
type Reader struct {
	self   chat.Identity
	after  chat.HLC // read up to here
	global chat.HLC
	asked  Marks // of the last Query
}

// NewReader starts at m: for a client that reads the mailboxes themselves afterwards.
func NewReader(self chat.Identity, m Marks) *Reader {
	return &Reader{self: self, after: m.Local, global: m.Global}
}

// Resume continues from c. When the log does not reach back so far (floor is where it begins), reset is true and the reader
// starts at m: the client reads its conversations anew.
func Resume(c Cursor, self chat.Identity, m Marks, floor chat.HLC) (r *Reader, reset bool) {
	from := c.Global
	if c.Region == self.Region {
		from = c.Local
	}
	if from < floor {
		return NewReader(self, m), true
	}
	return &Reader{self: self, after: from, global: c.Global}, false
}

// Query gives the range to read, (after, upTo], when there may be something.
func (r *Reader) Query(m Marks) (after, upTo chat.HLC, ok bool) {
	if m.Local > r.after {
		r.asked = m
		return r.after, m.Local, true
	}
	r.global = max(r.global, m.Global)
	return r.after, r.after, false
}

// Page takes the rows read for the last Query, ascending; complete says that they are all there were, and not cut off by a
// limit. An event in the middle of a read carries its own arrival and the old global time: its own region may resume right
// after it, while another region cannot know which of the rest were seen. Only the last one of a complete read moves both.
// Two nodes of a region may give one arrival twice: only the last entry of it moves the arrival, and a read that was cut off
// in its midst leaves it to the next one. So a limit must be larger than the number of a region's nodes.
func (r *Reader) Page(rows []chat.InboxRow, complete bool) []Entry {
	if n := len(rows); !complete && n > 0 {
		whole := slices.IndexFunc(rows, func(row chat.InboxRow) bool { return row.Arrival == rows[n-1].Arrival })
		if whole > 0 {
			rows = rows[:whole]
		}
	}
	entries := make([]Entry, 0, len(rows))
	for i := range rows {
		if i == len(rows)-1 || rows[i+1].Arrival != rows[i].Arrival {
			r.after = max(r.after, rows[i].Arrival)
		}
		if complete && i == len(rows)-1 {
			r.finish()
		}
		entries = append(entries, Entry{Row: rows[i], Cursor: r.Cursor()})
	}
	if complete && len(rows) == 0 {
		r.finish()
	}
	return entries
}

func (r *Reader) finish() {
	r.after = max(r.after, r.asked.Local)
	r.global = max(r.global, r.asked.Global)
}

// Cursor is how far the reader has come.
func (r *Reader) Cursor() Cursor {
	return Cursor{Region: r.self.Region, Incarnation: r.self.Incarnation, Local: r.after, Global: r.global}
}
