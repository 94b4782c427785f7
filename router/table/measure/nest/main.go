// Command nest writes two flat city databases, one of IPv4 and one of IPv6, as one database of MaxMind's nested schema, for measuring what such
// a file costs: no full one may be had without a contract.
//
//	nest IPV4 IPV6 NESTED
//
// The search trees are kept as they are, with 32-bit records; every record is written anew, with the maps that records share kept once, as
// MaxMind does.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/maxminddb-golang/v2"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: nest IPV4 IPV6 NESTED")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "nest:", err)
		os.Exit(1)
	}
}

func run(v4, v6, to string) error {
	data := newSection()
	a, err := open(v4, data)
	if err != nil {
		return err
	}
	b, err := open(v6, data)
	if err != nil {
		return err
	}
	nodes, err := graft(b, a)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	tree := make([]byte, 0, 8*len(nodes))
	for _, n := range nodes {
		for _, r := range n {
			tree = binary.BigEndian.AppendUint32(tree, r.value(uint32(len(nodes))))
		}
	}
	meta, err := metadata(len(nodes))
	if err != nil {
		return err
	}
	for _, part := range [][]byte{tree, make([]byte, separator), data.raw.Bytes(), meta} {
		if _, err := out.Write(part); err != nil {
			return errors.Join(err, out.Close())
		}
	}
	return out.Close()
}

// separator is how many zero bytes lie between the tree and the data.
const separator = 16

// kind says what a record of the tree is.
type kind uint8

const (
	none kind = iota
	toNode
	toData
)

// record is one of a node's two.
type record struct {
	kind kind
	at   uint32 // the node, or the place in the data
}

func (r record) value(nodes uint32) uint32 {
	switch r.kind {
	case toNode:
		return r.at
	case toData:
		return nodes + separator + r.at
	case none:
	}
	return nodes
}

// open reads a file's tree, with its records written anew to data.
func open(file string, data *section) ([][2]record, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r, err := maxminddb.OpenBytes(raw)
	if err != nil {
		return nil, err
	}
	count, size := uint32(r.Metadata.NodeCount), int(r.Metadata.RecordSize)
	nodes := make([][2]record, count)
	known := map[uint32]uint32{}
	for i := range nodes {
		for side, v := range split(raw[i*size/4:], size) {
			switch {
			case v < count:
				nodes[i][side] = record{toNode, v}
			case v > count:
				from := v - count - separator
				at, ok := known[from]
				if !ok {
					if at, err = data.nest(r, uintptr(from)); err != nil {
						return nil, fmt.Errorf("%s: %w", file, err)
					}
					known[from] = at
				}
				nodes[i][side] = record{toData, at}
			}
		}
	}
	return nodes, nil
}

// split gives the two records of a node.
func split(b []byte, size int) [2]uint32 {
	switch size {
	case 24:
		return [2]uint32{uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), uint32(b[3])<<16 | uint32(b[4])<<8 | uint32(b[5])}
	case 28:
		return [2]uint32{uint32(b[3]>>4)<<24 | uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), uint32(b[3]&15)<<24 | uint32(b[4])<<16 | uint32(b[5])<<8 | uint32(b[6])}
	}
	return [2]uint32{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// graft puts the tree of IPv4 into that of IPv6, at ::/96.
func graft(v6, v4 [][2]record) ([][2]record, error) {
	const depth = 96
	at := 0
	for range depth - 1 {
		switch next := v6[at][0]; next.kind {
		case toNode:
			at = int(next.at)
		case none:
			v6[at][0] = record{toNode, uint32(len(v6))}
			at = len(v6)
			v6 = append(v6, [2]record{})
		case toData:
			return nil, errors.New("the file of IPv6 has a record around ::/96")
		}
	}
	offset := uint32(len(v6))
	v6[at][0] = record{toNode, offset}
	for _, n := range v4 {
		for side := range n {
			if n[side].kind == toNode {
				n[side].at += offset
			}
		}
		v6 = append(v6, n)
	}
	return v6, nil
}

// section is the data section under way.
type section struct {
	raw    bytes.Buffer
	shared map[string]mmdbtype.Pointer // by what was written
}

func newSection() *section { return &section{shared: map[string]mmdbtype.Pointer{}} }

// nest writes a record in the nested shape, and gives where it lies.
func (s *section) nest(r *maxminddb.Reader, from uintptr) (uint32, error) {
	var flat struct {
		City     string  `maxminddb:"city"`
		Country  string  `maxminddb:"country_code"`
		Lat      float32 `maxminddb:"latitude"`
		Lon      float32 `maxminddb:"longitude"`
		Postcode string  `maxminddb:"postcode"`
		State    string  `maxminddb:"state1"`
		Timezone string  `maxminddb:"timezone"`
	}
	if err := r.LookupOffset(from).Decode(&flat); err != nil {
		return 0, err
	}
	named := func(name string) mmdbtype.Map {
		return mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(name)}, "geoname_id": mmdbtype.Uint32(len(name))}
	}
	country := mmdbtype.Map{"iso_code": mmdbtype.String(flat.Country), "names": mmdbtype.Map{"en": mmdbtype.String(flat.Country)}}
	all := mmdbtype.Map{"country": country, "registered_country": country, "location": mmdbtype.Map{
		"latitude": mmdbtype.Float64(flat.Lat), "longitude": mmdbtype.Float64(flat.Lon), "time_zone": mmdbtype.String(flat.Timezone),
	}}
	if flat.City != "" {
		all["city"] = named(flat.City)
	}
	if flat.State != "" {
		all["subdivisions"] = mmdbtype.Slice{named(flat.State)}
	}
	if flat.Postcode != "" {
		all["postal"] = mmdbtype.Map{"code": mmdbtype.String(flat.Postcode)}
	}
	e := encoder{section: s}
	if _, err := all.WriteTo(&e); err != nil {
		return 0, err
	}
	at := uint32(s.raw.Len())
	_, err := s.raw.Write(e.Bytes())
	return at, err
}

// encoder writes one value; what stands in it goes to the section by itself when it is first met, and is pointed to.
type encoder struct {
	bytes.Buffer
	section *section
}

// WriteOrWritePointer is what mmdbtype asks for.
func (e *encoder) WriteOrWritePointer(v mmdbtype.DataType) (int64, error) {
	part := encoder{section: e.section}
	if _, err := v.WriteTo(&part); err != nil {
		return 0, err
	}
	const pointerMax = 5
	if part.Len() <= pointerMax {
		n, err := e.Write(part.Bytes())
		return int64(n), err
	}
	at, ok := e.section.shared[part.String()]
	if !ok {
		at = mmdbtype.Pointer(e.section.raw.Len())
		e.section.shared[part.String()] = at
		if _, err := e.section.raw.Write(part.Bytes()); err != nil {
			return 0, err
		}
	}
	return at.WriteTo(e)
}

// metadata gives the end of the file.
func metadata(nodes int) ([]byte, error) {
	const made = 1780617600 // 2026-06-05, that of the pinned files
	e := encoder{section: newSection()}
	e.WriteString("\xab\xcd\xefMaxMind.com")
	plain := plainEncoder{&e.Buffer}
	_, err := mmdbtype.Map{
		"binary_format_major_version": mmdbtype.Uint16(2), "binary_format_minor_version": mmdbtype.Uint16(0), "build_epoch": mmdbtype.Uint64(made),
		"database_type": mmdbtype.String("DBIP-City-Lite"), "description": mmdbtype.Map{"en": mmdbtype.String("DB-IP City Lite in the nested schema, for a benchmark")},
		"ip_version": mmdbtype.Uint16(6), "languages": mmdbtype.Slice{mmdbtype.String("en")}, "node_count": mmdbtype.Uint32(nodes), "record_size": mmdbtype.Uint16(32),
	}.WriteTo(plain)
	return e.Bytes(), err
}

// plainEncoder points to nothing.
type plainEncoder struct{ *bytes.Buffer }

// WriteOrWritePointer is what mmdbtype asks for.
func (e plainEncoder) WriteOrWritePointer(v mmdbtype.DataType) (int64, error) { return v.WriteTo(e) }
