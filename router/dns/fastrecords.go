package dns

import (
	"encoding/binary"

	"meridian/chat"
)

// fastRecords are the records that answer a query: those of some regions, best first, or those that the name has for everybody,
// with their signatures; or the denial.
type fastRecords struct {
	parts   [chat.MaxRegions]*packed
	used    int
	targets [chat.MaxRegions]int    // where the target of each SRV record stands
	signed  *piece                  // the signatures of the parts; nil for none
	beside  [chat.MaxRegions]*piece // those of each part's extra records; nil for none
	denial  *piece                  // nil where there is something
	scope   int
	size    int // of all but the extra records
	extra   int // of these; 0 leaves them out
}

// pick chooses the records; false where one is not at hand, or the answer is an error, which are the slow path's. wire is the name
// of ours as it was asked.
func (f *fast) pick(q *fastQuery, wire []byte) bool {
	r, id := &q.records, &q.piece
	r.clear()
	r.scope = 0
	*id = pieceID{name: q.name, kind: uint8(q.kind)}
	geo := q.name.geo&(1<<q.kind) != 0
	switch {
	case q.missing:
		id.part, id.kind = partMissing, 0
	case !geo:
		r.take(&q.name.fixed[q.kind])
	case !f.pickRegions(q):
		return false
	}
	if r.size > 0 {
		return !q.dnssec || q.sign()
	}
	id.signed = q.dnssec && q.pieces.signed[q.name.zone]
	switch {
	case !q.missing:
		id.part = partDenial
	case id.signed:
		id.gap = uint16(q.gap)
	}
	id.variant, id.count, id.regions = uint8(q.name.lowerFrom(wire)), 0, [chat.MaxRegions]uint8{}
	if r.denial = q.pieces.get(id, q); r.denial == nil {
		return false
	}
	r.size = r.denial.size
	return true
}

// pickRegions takes the records of the regions that the table names; false where it names none.
func (f *fast) pickRegions(q *fastQuery) bool {
	r, id, host := &q.records, &q.piece, q.name.node.host
	var room [chat.MaxRegions]uint8
	regions, scope := f.server.opts.Table.Answer(room[:0], host, q.client)
	r.scope = scope
	if f.server.opts.Table.Unsettled(host) {
		id.life = 1
	}
	of := f.regions[id.life][q.kind]
	for i, number := range regions[:min(len(regions), f.count)] {
		r.take(&of[number])
		id.regions[i] = number
		id.count++
	}
	return len(regions) > 0
}

// sign adds the signatures, where the zones are signed; false where one is not at hand.
func (q *fastQuery) sign() bool {
	r, id := &q.records, &q.piece
	if q.pieces.signed[q.name.zone] {
		id.part, id.signed = partSignatures, true
		if r.signed = q.pieces.get(id, q); r.signed == nil {
			return false
		}
		r.size += r.signed.size
	}
	if q.kind != fastSRV || !q.pieces.signed[targetZone] {
		return true
	}
	for i := range r.used {
		one := pieceID{part: partTarget, signed: true, count: 1}
		one.regions[0] = id.regions[i]
		if r.beside[i] = q.pieces.get(&one, q); r.beside[i] == nil {
			return false
		}
		r.extra += r.beside[i].size
	}
	return true
}

func (r *fastRecords) take(p *packed) {
	r.parts[r.used], r.beside[r.used] = p, nil
	r.used++
	r.size += len(p.answer)
	r.extra += len(p.extra)
}

// clear takes out all records.
func (r *fastRecords) clear() {
	r.used, r.size, r.extra, r.signed, r.denial = 0, 0, 0, nil, nil
}

// fit leaves out what there is no room for: the extra records first, and if that is not enough all of it; then it gives false.
func (r *fastRecords) fit(room int) bool {
	if r.size+r.extra > room {
		r.extra = 0
	}
	if r.size > room {
		r.clear()
		return false
	}
	return true
}

// write writes the records behind the question, and how many they are into the header, but for the extra ones'. It gives where they
// end.
func (r *fastRecords) write(buf []byte, q *fastQuery) (end int, extras uint16) {
	at := q.end
	var answers, denials uint16
	for i, p := range r.parts[:r.used] {
		copy(buf[at:], p.answer)
		if q.kind == fastHTTPS || q.kind == fastSRV { // one record or none
			if len(p.answer) > 0 {
				binary.BigEndian.PutUint16(buf[at+recordBytes:], uint16(i+1)) // its rank is its priority
			}
			r.targets[i] = at + srvTargetAt
		}
		at += len(p.answer)
		answers += p.answers
	}
	if r.signed != nil {
		at += copy(buf[at:], r.signed.wire)
		answers += r.signed.records
	}
	if r.denial != nil {
		for _, pointer := range r.denial.copyTo(buf[at:]) {
			shifted := binary.BigEndian.Uint16(buf[at+int(pointer):]) + uint16(q.prefix-r.denial.prefix)
			binary.BigEndian.PutUint16(buf[at+int(pointer):], shifted)
		}
		at += r.denial.size
		denials = r.denial.records
	}
	binary.BigEndian.PutUint16(buf[6:], answers)
	binary.BigEndian.PutUint16(buf[8:], denials)
	if r.extra == 0 {
		return at, 0
	}
	for i, p := range r.parts[:r.used] {
		at = r.writeBeside(buf, at, i, p.extra)
		extras += p.extras
	}
	for i, p := range r.beside[:r.used] {
		if p != nil {
			at = r.writeBeside(buf, at, i, p.wire)
			extras += p.records
		}
	}
	return at, extras
}

// writeBeside writes records whose owner is the target of the i-th SRV record, and gives where they end.
func (r *fastRecords) writeBeside(buf []byte, at, i int, records []byte) int {
	end := at + copy(buf[at:], records)
	for at < end {
		binary.BigEndian.PutUint16(buf[at:], pointerMark|uint16(r.targets[i]))
		at += recordBytes + int(binary.BigEndian.Uint16(buf[at+lengthAt:]))
	}
	return end
}
