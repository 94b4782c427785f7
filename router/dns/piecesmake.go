package dns

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// pieces are looked at every pieceWatchEvery, and made anew pieceAhead before they end.
const (
	pieceWatchEvery = time.Minute
	pieceAhead      = 10 * time.Minute
)

// newPieces makes ahead, for the zones that a signer signs, all that is asked when an answer holds one region. Where it holds
// more, their orders are many and few of them are asked; those are signed when they are first.
func (f *fast) newPieces(signer *signer) *pieces {
	b := &pieces{fast: f, signer: signer}
	for _, apex := range f.server.apexes {
		b.signed = append(b.signed, signer.signs(apex))
	}
	now := f.server.opts.Now()
	for number := range f.server.regions {
		b.ahead(pieceID{part: partTarget, count: 1}, targetZone, number, now)
	}
	for _, slot := range f.names.slots {
		if name := slot.name; name != nil {
			for gap := range len(name.below) + 1 {
				if name.hasBetween(gap) {
					b.ahead(pieceID{name: name, part: partMissing, gap: uint16(gap)}, name.zone, -1, now)
				}
			}
			for kind := range uint8(fastKinds) {
				b.aheadOf(name, kind, now)
			}
		}
	}
	return b
}

// aheadOf makes what may be asked of a name and a type.
func (b *pieces) aheadOf(name *fastName, kind uint8, now time.Time) {
	id := pieceID{name: name, kind: kind, part: partDenial}
	if name.geo&(1<<kind) == 0 {
		if name.fixed[kind].answers > 0 {
			id.part = partSignatures
		}
		b.ahead(id, name.zone, -1, now)
		return
	}
	for life, of := range b.fast.regions {
		id.life = uint8(life)
		one, nothing := id, false
		one.part, one.count = partSignatures, 1
		for number, p := range of[kind] {
			if p.answers > 0 {
				b.ahead(one, name.zone, number, now)
			} else {
				nothing = true
			}
		}
		if nothing {
			b.ahead(id, name.zone, -1, now)
		}
	}
}

// ahead makes one piece, if its zone is signed; number is the region in it, -1 for none.
func (b *pieces) ahead(id pieceID, zone, number int, now time.Time) {
	if !b.signed[zone] {
		return
	}
	id.signed = true
	if number >= 0 {
		id.regions[0] = uint8(number)
	}
	b.add(id, now)
}

// add makes a piece and keeps it; nil when it cannot be made.
func (b *pieces) add(id pieceID, now time.Time) *piece {
	p, err := b.make(id, now)
	if err != nil {
		b.failed(err)
		return nil
	}
	b.put(p, now.UnixNano())
	return p
}

func (b *pieces) failed(err error) {
	b.fast.server.opts.Log.Error("an answer cannot be signed", "error", err)
}

// make makes a piece as it is at a time, by the functions that Respond uses.
func (b *pieces) make(id pieceID, now time.Time) (*piece, error) {
	p := &piece{id: id}
	var err error
	switch id.part {
	case partDenial, partMissing:
		err = b.makeDenial(p, now)
	case partSignatures:
		var sigs []dns.RR
		if sigs, p.span, err = b.signatures(b.answer(&id), now); err != nil {
			return nil, err
		}
		var packed packed
		packed, err = pack(sigs, nil)
		p.wire, p.records = packed.answer, packed.answers
	case partTarget:
		e := b.fast.server.regions[id.regions[0]]
		var sigs []dns.RR
		if sigs, p.span, err = b.signatures(b.fast.server.addresses(e.target, e.Addresses, 0), now); err != nil {
			return nil, err
		}
		var packed packed
		packed, err = pack(nil, sigs)
		p.wire, p.records = packed.extra, packed.extras
	}
	if p.size = len(p.wire); p.size > udpBytes {
		p.wire = nil
	}
	return p, err
}

// answer gives the RRset that a piece signs.
func (b *pieces) answer(id *pieceID) (out []dns.RR) {
	s, name, code := b.fast.server, id.name, fastTypes[id.kind]
	if id.count == 0 {
		return s.addresses(name.text, name.node.addrs, code)
	}
	for rank, number := range id.regions[:id.count] {
		records, _ := s.recordsOf(s.regions[number], rank, name.text, code, b.fast.lives[id.life])
		out = append(out, records...)
	}
	return out
}

// signatures gives the signatures of all RRsets.
func (b *pieces) signatures(rrs []dns.RR, now time.Time) ([]dns.RR, span, error) {
	out, span, err := b.signer.section(rrs, b.fast.server.apexOf, now)
	return slices.Clone(out[len(rrs):]), span, err
}

// makeDenial makes an authority section behind a question that is written as the piece says.
func (b *pieces) makeDenial(p *piece, now time.Time) error {
	s, name, code := b.fast.server, p.id.name, fastTypes[p.id.kind]
	text, err := name.written(int(p.id.variant))
	if err != nil {
		return err
	}
	var proof []dns.RR
	var ttl uint32
	chain := s.chains[name.node.apex]
	if p.id.part == partMissing {
		label := name.between(int(p.id.gap))
		p.prefix = 1 + len(label)
		text = presented(label) + "." + text
		proof = chain.noName(text, name.text)
	} else {
		proof = chain.noData(name.text, code)
	}
	if !p.id.signed {
		proof = nil
	}
	if p.id.part == partDenial && name.geo&(1<<p.id.kind) != 0 {
		ttl = b.fast.lives[p.id.life]
	}
	section, span := s.denial(name.node.apex, proof, ttl), always
	if p.id.signed {
		if section, span, err = b.signer.section(section, s.apexOf, now); err != nil {
			return err
		}
	}
	msg := &dns.Msg{Compress: true, Question: []dns.Question{{Name: text, Qtype: code, Qclass: dns.ClassINET}}, Ns: section}
	raw, err := msg.Pack()
	if err != nil {
		return err
	}
	p.wire, p.records, p.span = slices.Clone(raw[headerBytes+p.prefix+len(name.wire)+wireEntryBytes:]), uint16(len(section)), span
	if p.id.part == partMissing {
		p.pointers = pointersOf(p.wire, len(section))
	}
	return nil
}

// presented gives a label as the library writes it.
func presented(label []byte) string {
	wire := append(append([]byte{byte(len(label))}, label...), 0)
	text, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(text, ".")
}

// pointersOf gives where the compression pointers of packed records are: in their owners, and in SOA records.
func pointersOf(wire []byte, records int) (out []uint16) {
	skip := func(at int) int {
		for wire[at] != 0 {
			if wire[at] >= pointerMark>>8 {
				out = append(out, uint16(at))
				return at + pointerBytes
			}
			at += 1 + int(wire[at])
		}
		return at + 1
	}
	at := 0
	for range records {
		at = skip(at)
		kind := binary.BigEndian.Uint16(wire[at:])
		data := at + recordBytes - pointerBytes
		at = data + int(binary.BigEndian.Uint16(wire[data-2:]))
		if kind == dns.TypeSOA {
			skip(skip(data))
		}
	}
	return out
}

// watchPieces makes signatures anew before they end, until ctx ends.
func (s *Server) watchPieces(ctx context.Context) {
	tick := time.NewTicker(pieceWatchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.shows.Load().fast.pieces.Load().renew(s.opts.Now(), pieceAhead)
		}
	}
}
