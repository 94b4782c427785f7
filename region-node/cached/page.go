package cached

import (
	"encoding/binary"

	"meridian/chat"
)

// page is the newest messages of a conversation as one owner keeps them, newest first, and all changes of messages from the oldest
// of them to the newest.
type page struct {
	asOf    chat.HLC // every entry of the owner's log up to here is in it
	rows    []chat.MessageRow
	changes []chat.ChangeRow
	whole   bool // all changes are there
}

// covers says whether the page has all changes of the messages from one id to another.
func (p *page) covers(from, to chat.MessageID) bool {
	return p.whole && len(p.rows) > 0 && from.Compare(p.rows[len(p.rows)-1].ID) >= 0 && to.Compare(p.rows[0].ID) <= 0
}

func (p *page) changesIn(from, to chat.MessageID) []chat.ChangeRow {
	var list []chat.ChangeRow
	for i := range p.changes {
		if c := &p.changes[i]; c.Target.Compare(from) >= 0 && c.Target.Compare(to) <= 0 {
			list = append(list, *c)
		}
	}
	return list
}

// pageFormat is the first byte of an encoded page; one of another build is read anew.
const pageFormat = 1

// encode gives the page as bytes; owner and conversation are written once.
func (p *page) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{pageFormat}, uint64(p.asOf))
	b = binary.AppendUvarint(b, uint64(len(p.rows)))
	for i := range p.rows {
		r := &p.rows[i]
		if i == 0 {
			b = append(append(b, r.Owner[:]...), r.Conversation[:]...)
		}
		b = append(append(append(append(append(b, r.ID[:]...), r.Sender[:]...), r.Client[:]...), r.ReplyTo[:]...), r.AliasOf[:]...)
		b = appendBytes(appendBytes(appendBytes(b, []byte(r.OwnerZone)), []byte(r.SenderName)), r.Body)
	}
	b = binary.AppendUvarint(b, uint64(len(p.changes)))
	for i := range p.changes {
		c := &p.changes[i]
		b = append(append(append(append(b, c.Target[:]...), c.User[:]...), c.Op[:]...), c.Client[:]...)
		b = append(binary.BigEndian.AppendUint64(b, uint64(c.Version)), byte(c.Kind), boolByte(c.On))
		b = appendBytes(appendBytes(appendBytes(b, []byte(c.OwnerZone)), []byte(c.Emoji)), c.Body)
	}
	return b
}

func boolByte(on bool) byte {
	if on {
		return 1
	}
	return 0
}

func appendBytes(b, v []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(v))), v...) }

// decodePage undoes encode.
func decodePage(b []byte) (*page, bool) {
	d := decoder{b: b}
	if d.byte() != pageFormat {
		return nil, false
	}
	p := &page{asOf: chat.HLC(d.uint64()), whole: true}
	p.rows = make([]chat.MessageRow, d.count(rowBytes))
	var owner, conversation [16]byte
	for i := range p.rows {
		if i == 0 {
			owner, conversation = d.id(), d.id()
		}
		r := &p.rows[i]
		r.Owner, r.Conversation = owner, conversation
		r.ID, r.Sender, r.Client, r.ReplyTo, r.AliasOf = d.id(), d.id(), d.id(), d.id(), d.id()
		r.OwnerZone, r.SenderName, r.Body = chat.Zone(d.bytes()), string(d.bytes()), d.body()
	}
	p.changes = make([]chat.ChangeRow, d.count(changeBytes))
	for i := range p.changes {
		c := &p.changes[i]
		c.Owner, c.Conversation = owner, conversation
		c.Target, c.User, c.Op, c.Client = d.id(), d.id(), d.id(), d.id()
		c.Version, c.Kind, c.On = chat.HLC(d.uint64()), chat.ChangeKind(d.byte()), d.byte() == 1
		c.OwnerZone, c.Emoji, c.Body = chat.Zone(d.bytes()), string(d.bytes()), d.body()
	}
	return p, !d.bad && len(d.b) == 0
}

// decoder reads what encode wrote; after something that cannot be it gives zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return make([]byte, n)
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte     { return d.take(1)[0] }
func (d *decoder) uint64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }
func (d *decoder) id() [16]byte   { return [16]byte(d.take(16)) }

// rowBytes and changeBytes are what a message and a change take at least.
const (
	rowBytes    = 5*16 + 3
	changeBytes = 4*16 + 8 + 2 + 3
)

// count reads a number of things of at least so many bytes each, which cannot be more than what is left.
func (d *decoder) count(each int) int {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n > uint64((len(d.b)-size)/each) {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[size:]
	return int(n)
}

func (d *decoder) bytes() []byte { return d.take(d.count(1)) }

// body gives bytes of its own, nil for none: the encoded page belongs to the cache.
func (d *decoder) body() []byte {
	v := d.bytes()
	if len(v) == 0 {
		return nil
	}
	return append([]byte(nil), v...)
}
