package table

import (
	"encoding/binary"
	"math"
	"math/bits"

	"meridian/router/geo/ranges"
)

// tree maps every IPv4 address to a number, and tells the widest prefix around it that has no other, in steps of 16, 8 and 8 bits. What
// a look-up costs is waiting for memory, so the first two steps are arrays: each /16 has a page of 256 entries, two bytes for each /24; equal
// pages of /16s that are not split are kept once. An entry stands for a number and a prefix, or for a leaf, in which a /24 that is split
// has runs of equal addresses. A table of all /24s would take 67 MB and not tell the prefixes (docs/decisions/0021-address-tables.md).
type tree struct {
	blocks *[1 << 16]uint32 // the page of each /16
	pages  []uint16         // 256 for each page: places in entries
	// wide takes the place of pages, and holds the entries themselves, where there are more of them than two bytes can tell apart.
	wide    []uint32
	entries []uint32
	words   []word // four for each leaf; each content once
	runs    []uint32
}

// An entry is the leaf to go on with, with the bit split, or else a value with, above it, the length of the widest prefix around that has
// no other. Runs of leaves are such entries without split.
const (
	split     = 1 << 31
	valueBits = 20
	// maxRankings is how many numbers a tree can tell apart.
	maxRankings = 1 << valueBits
	// maxEntries is how many entries pages can tell apart.
	maxEntries = math.MaxUint16 + 1
)

func entry(value uint32, prefixBits int) uint32 { return uint32(prefixBits)<<valueBits | value }

// word is a quarter of a leaf: 64 addresses.
type word struct {
	begins uint64 // bit i: a run begins at address i; of the first word bit 0 always
	before uint32 // the run before the first that begins here
}

// lookup gives x's number and the length of the widest prefix around it that has no other.
func (t *tree) lookup(x uint32) (value uint32, prefixBits int) {
	e := t.at(t.blocks[x>>16], x>>8&0xff)
	if e&split != 0 {
		e = t.inLeaf(e&^split, uint8(x))
	}
	return e % maxRankings, int(e >> valueBits)
}

// at gives the entry of a page for its /24 number i.
func (t *tree) at(page, i uint32) uint32 {
	if t.wide != nil {
		return t.wide[page<<8|i]
	}
	return t.entries[t.pages[page<<8|i]]
}

func (t *tree) inLeaf(leaf uint32, i uint8) uint32 {
	w := &t.words[leaf<<2|uint32(i>>6)]
	return t.runs[w.before+uint32(bits.OnesCount64(w.begins<<(63-i&63)))]
}

// bytes is the memory that the tree holds.
func (t *tree) bytes() int {
	return 4*len(t.blocks) + 2*cap(t.pages) + 4*(cap(t.wide)+cap(t.entries)+cap(t.runs)) + 16*cap(t.words)
}

// treeBuilder fills one block after the other.
type treeBuilder struct {
	tree  tree
	block [256]uint32       // of the block under way, by /24: its number, or with split its leaf
	leaf  [256]uint32       // of the /24 under way, by address
	whole map[uint32]uint32 // pages of blocks that are not split, by their one entry
	index map[uint32]uint16 // of entries
	known map[string]uint32 // leaves
	key   []byte
}

// newTree compiles the IPv4 ranges of set, whose numbers must be below maxRankings.
func newTree(set *ranges.Set) *tree {
	b := &treeBuilder{whole: map[uint32]uint32{}, index: map[uint32]uint16{}, known: map[string]uint32{}}
	b.tree.blocks = new([1 << 16]uint32)
	b.tree.runs = make([]uint32, 1) // what lies before the first
	set.EachIPv4(b.add)
	t := b.tree
	t.pages, t.entries, t.words, t.runs = exact(t.pages), exact(t.entries), exact(t.words), exact(t.runs)
	return &t
}

func exact[T any](s []T) []T { return append(make([]T, 0, len(s)), s...) }

// add takes the next range.
func (b *treeBuilder) add(first, last, value uint32) {
	for x := uint64(first); x <= uint64(last); x = x | 0xff + 1 {
		end := min(uint64(last), x|0xff)
		at := uint8(x >> 8)
		if x&0xff == 0 && end&0xff == 0xff {
			b.block[at] = value
		} else {
			for i := x & 0xff; i <= end&0xff; i++ {
				b.leaf[i] = value
			}
			if end&0xff == 0xff {
				b.block[at] = split | b.closeLeaf()
			}
		}
		if end&0xffff == 0xffff {
			b.tree.blocks[end>>16] = b.closeBlock(first, last, uint32(end))
		}
	}
}

// closeBlock gives the page of the block under way, whose last address lies in the range first to last.
func (b *treeBuilder) closeBlock(first, last, end uint32) (page uint32) {
	if b.block[0]&split != 0 || end-first < 1<<16-1 {
		entries := widths(&b.block, 16)
		return b.page(&entries)
	}
	all := entry(b.block[0], ranges.Widest(uint64(end), uint64(first), uint64(last), 32)) // maybe wider than the block
	page, ok := b.whole[all]
	if !ok {
		for i := range b.block {
			b.block[i] = all
		}
		page = b.page(&b.block)
		b.whole[all] = page
	}
	return page
}

// widths gives the entries of 256 parts of a network of that many bits, by their values.
func widths(values *[256]uint32, above int) (entries [256]uint32) {
	for first := 0; first < 256; {
		next := first + 1
		for next < 256 && values[next] == values[first] {
			next++
		}
		for i := first; i < next; i++ {
			if entries[i] = values[i]; values[i]&split == 0 {
				entries[i] = entry(values[i], above+ranges.Widest(uint64(i), uint64(first), uint64(next-1), 8))
			}
		}
		first = next
	}
	return entries
}

// page adds a page and gives its number.
func (b *treeBuilder) page(entries *[256]uint32) uint32 {
	number := uint32(max(len(b.tree.pages), len(b.tree.wide)) >> 8)
	var last uint16
	for i, e := range entries {
		if b.tree.wide == nil && (i == 0 || e != entries[i-1]) {
			last = b.indexOf(e)
		}
		if b.tree.wide != nil {
			b.tree.wide = append(b.tree.wide, e)
		} else {
			b.tree.pages = append(b.tree.pages, last)
		}
	}
	return number
}

// indexOf gives the place of an entry. When there is no room for another, pages become wide.
func (b *treeBuilder) indexOf(e uint32) uint16 {
	i, ok := b.index[e]
	switch {
	case ok:
	case len(b.tree.entries) < maxEntries:
		i = uint16(len(b.tree.entries))
		b.index[e], b.tree.entries = i, append(b.tree.entries, e)
	default:
		b.tree.wide = make([]uint32, len(b.tree.pages), 256*len(b.tree.blocks))
		for at, i := range b.tree.pages {
			b.tree.wide[at] = b.tree.entries[i]
		}
		b.tree.pages, b.tree.entries, b.index = nil, nil, nil
	}
	return i
}

// closeLeaf gives the number of the leaf with the content under way.
func (b *treeBuilder) closeLeaf() uint32 {
	b.key = b.key[:0]
	for i, v := range b.leaf {
		if i == 0 || v != b.leaf[i-1] {
			b.key = binary.LittleEndian.AppendUint32(append(b.key, byte(i)), v)
		}
	}
	number, ok := b.known[string(b.key)]
	if ok {
		return number
	}
	number = uint32(len(b.tree.words) >> 2)
	b.known[string(b.key)] = number
	entries := widths(&b.leaf, 24)
	for w := range 4 {
		one := word{before: uint32(len(b.tree.runs)) - 1}
		for i := w << 6; i < (w+1)<<6; i++ {
			if i == 0 || entries[i] != entries[i-1] {
				one.begins |= 1 << (i & 63)
				b.tree.runs = append(b.tree.runs, entries[i])
			}
		}
		b.tree.words = append(b.tree.words, one)
	}
	return number
}

// set gives the ranges back.
func (t *tree) set() *ranges.Set {
	var b ranges.Builder
	for h, page := range t.blocks {
		for i := uint32(0); i < 256; {
			e, first := t.at(page, i), uint32(h)<<16|i<<8
			for i++; i < 256 && t.at(page, i) == e && e&split == 0; {
				i++
			}
			if e&split == 0 {
				b.AddIPv4(first, uint32(h)<<16|(i-1)<<8|0xff, e%maxRankings)
				continue
			}
			for j := range uint32(256) {
				b.AddIPv4(first|j, first|j, t.inLeaf(e&^split, uint8(j))%maxRankings)
			}
		}
	}
	return b.Set()
}
