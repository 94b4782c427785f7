package dns

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
)

const (
	// pieceSlots bounds the pieces that are kept: 200 to 600 bytes each, 1.4 kB at most. A power of two.
	pieceSlots = 1 << 13
	// pieceProbes is how many slots, one behind the other, a piece may stand in.
	pieceProbes = 8
)

// piecePart says which part of an answer a piece is.
type piecePart uint8

const (
	partSignatures piecePart = iota // of the answer's records
	partTarget                      // the signatures of one region's addresses, beside an SRV record
	partDenial                      // all of the authority section, where the name has nothing of the type
	partMissing                     // the same, where the name does not exist
)

// targetZone is the zone of the names of regions: the domain is the first.
const targetZone = 0

// pieceID says what a piece is.
type pieceID struct {
	name    *fastName // nil for partTarget
	part    piecePart
	kind    uint8  // index into fastTypes
	life    uint8  // index into the lives of answers
	variant uint8  // of a denial: what lowerFrom gives
	gap     uint16 // of a signed partMissing
	signed  bool
	count   uint8                  // of regions
	regions [chat.MaxRegions]uint8 // in the answer, best first; zeros behind them
}

func (id *pieceID) hash() uint64 {
	const odd = 0x9e3779b97f4a7c15
	h := uint64(id.part)<<8 | uint64(id.kind)<<16 | uint64(id.life)<<24 | uint64(id.variant)<<32 | uint64(id.count)<<40 | uint64(id.gap)<<48
	if id.signed {
		h |= 1
	}
	if id.name != nil {
		h ^= id.name.seed
	}
	h *= odd
	for at := 0; at < int(id.count); at += wordBytes {
		h = bits.RotateLeft64(h^binary.LittleEndian.Uint64(id.regions[at:]), 29) * odd
	}
	return h ^ h>>32
}

// piece is a part of an answer that is made when it is first needed, or ahead: signatures, and what depends on how a name is
// written. It never changes.
type piece struct {
	id      pieceID
	span    span   // when it is what the slow path gives
	wire    []byte // nil when it is larger than any answer
	size    int
	records uint16
	// Of a partMissing: where its compression pointers are, for a question with so many bytes before the name.
	pointers []uint16
	prefix   int
	next     atomic.Pointer[piece] // the same for the time after span, once it is made
}

// pieces are the pieces that one signer makes. Who reads them never waits. When keys change there are new ones.
type pieces struct {
	fast   *fast
	signer *signer
	signed []bool // by zone
	slots  [pieceSlots]atomic.Pointer[piece]
	write  sync.Mutex
}

// get gives a piece as it is at the query's time; nil when there is none and the query may not make it, or it cannot be made.
func (b *pieces) get(id *pieceID, q *fastQuery) *piece {
	if p := b.find(id, q.now.UnixNano()); p != nil || !q.making {
		return p
	}
	return b.add(*id, q.now)
}

func (b *pieces) find(id *pieceID, now int64) *piece {
	hash := id.hash()
	for i := range uint64(pieceProbes) {
		p := b.slots[(hash+i)%pieceSlots].Load()
		if p == nil {
			return nil
		}
		if p.id != *id {
			continue
		}
		return p.at(now)
	}
	return nil
}

// copyTo copies the piece to b and gives where in it there are pointers that depend on the question.
func (p *piece) copyTo(b []byte) []uint16 {
	copy(b, p.wire)
	return p.pointers
}

// at gives the piece, or one that is made for later, that holds at a time; nil for none.
func (p *piece) at(now int64) *piece {
	for p != nil && !p.span.holds(now) {
		p = p.next.Load()
	}
	return p
}

// put puts a piece into the slot of the one that it replaces, or an empty one, or that of one which does not hold any more, or of any.
func (b *pieces) put(p *piece, now int64) {
	b.write.Lock()
	defer b.write.Unlock()
	hash := p.id.hash()
	at := hash + uint64(now)/uint64(time.Second)%pieceProbes // any
	old := false
	for i := range uint64(pieceProbes) {
		other := b.slots[(hash+i)%pieceSlots].Load()
		if other == nil || other.id == p.id {
			at = hash + i
			break
		}
		if !old && other.span.until <= now {
			at, old = hash+i, true
		}
	}
	b.slots[at%pieceSlots].Store(p)
}

// renew makes ahead what will be needed within a time, and puts in its place what is needed now.
func (b *pieces) renew(now time.Time, ahead time.Duration) {
	for i := range b.slots {
		first := b.slots[i].Load()
		for p := first; p != nil && p.span.until <= now.Add(ahead).UnixNano(); {
			next := p.next.Load()
			if next == nil {
				var err error
				if next, err = b.make(p.id, time.Unix(0, max(p.span.until, now.UnixNano()))); err != nil {
					b.failed(err)
					break
				}
				p.next.Store(next)
			}
			p = next
		}
		if p := first.at(now.UnixNano()); p != nil && p != first {
			b.put(p, now.UnixNano())
		}
	}
}
