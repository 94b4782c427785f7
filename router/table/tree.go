package table

import (
	"math"
	"math/bits"

	"meridian/router/geo/ranges"
)

// tree maps every IPv4 address to a number in at most three steps, of 16, 8 and 8 bits. A /16 or /24 that is all one number is
// known by its step; of any other the 256 parts are kept as runs of equal parts: a bit for where each begins, then what the
// step after it would say. A table of all /24s would take 67 MB and not tell the prefixes; this one stays near the
// processor's cache (docs/decisions/0021-address-tables.md).
type tree struct {
	blocks []uint32 // of each /16
	nodes  []node   // of /16s that are split
	runs   []uint32 // of those nodes, by /24
	leaves []node   // of /24s that are split; each content once
	values []uint32 // of the leaves
}

// An entry of blocks and runs is the number of the node or leaf to go on with, with the bit split, or else a value with,
// above it, one more than the length of the widest prefix around; 0 where that depends on the address.
const (
	split     = 1 << 31
	valueBits = 20
	// maxRankings is how many numbers a tree can tell apart.
	maxRankings = 1 << valueBits
)

// node holds runs of 256 parts.
type node struct {
	begins [4]uint64 // bit i: a run begins at part i; bit 0 always
	before [4]uint8  // bits in the words before
	base   uint32    // of the first run
}

// run gives the place of the run that part i is in.
func (n *node) run(i uint8) uint32 {
	w := i >> 6
	return n.base + uint32(n.before[w]) + uint32(bits.OnesCount64(n.begins[w]<<(63-i&63))) - 1
}

// widest gives the length, below the node's own, of the widest prefix around part i that lies in one run.
func (n *node) widest(i uint8) int {
	first, next := n.extent(i)
	length := 0
	if first > 0 {
		length = bits.LeadingZeros8(i^uint8(first-1)) + 1
	}
	if next < 256 {
		length = max(length, bits.LeadingZeros8(i^uint8(next))+1)
	}
	return length
}

// extent gives the first part of the run that part i is in, and of the next run; 256 when there is none.
func (n *node) extent(i uint8) (first, next int) {
	w := int(i >> 6)
	upTo := uint64(math.MaxUint64) >> (63 - i&63)
	word, at := n.begins[w]&upTo, w
	for word == 0 { // part 0 begins a run
		at--
		word = n.begins[at&3]
	}
	first = at<<6 | 63 - bits.LeadingZeros64(word)
	word = n.begins[w] &^ upTo
	for word == 0 {
		if w++; w == 4 {
			return first, 256
		}
		word = n.begins[w]
	}
	return first, w<<6 | bits.TrailingZeros64(word)
}

// lookup gives x's number and the length of the widest prefix around it that has no other.
func (t *tree) lookup(x uint32) (value uint32, prefixBits int) {
	entry := t.blocks[x>>16]
	if entry&split == 0 {
		return entry % maxRankings, int(entry>>valueBits) - 1
	}
	n := &t.nodes[entry&^split]
	entry = t.runs[n.run(uint8(x>>8))]
	if entry&split == 0 {
		if whole := entry >> valueBits; whole != 0 {
			return entry % maxRankings, int(whole) - 1
		}
		return entry, 16 + n.widest(uint8(x>>8))
	}
	leaf := &t.leaves[entry&^split]
	return t.values[leaf.run(uint8(x))], 24 + leaf.widest(uint8(x))
}

// bytes is the memory that the tree holds.
func (t *tree) bytes() int {
	const nodeBytes = 40
	return nodeBytes*(cap(t.nodes)+cap(t.leaves)) + 4*(cap(t.blocks)+cap(t.runs)+cap(t.values))
}

// treeBuilder fills one block after the other.
type treeBuilder struct {
	tree  tree
	block [256]uint32 // of the block under way: its runs' words, by /24
	leaf  [256]uint32 // of the /24 under way
	known map[string]uint32
	key   []byte
}

// newTree compiles the IPv4 ranges of set, whose numbers must be below maxRankings.
func newTree(set *ranges.Set) *tree {
	b := &treeBuilder{known: map[string]uint32{}}
	b.tree.blocks = make([]uint32, 0, 1<<16)
	set.EachIPv4(b.add)
	t := b.tree
	t.nodes, t.runs, t.leaves, t.values = exact(t.nodes), exact(t.runs), exact(t.leaves), exact(t.values)
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
			b.closeBlock(first, last, uint32(end))
		}
	}
}

// closeLeaf gives the number of the leaf with the content under way.
func (b *treeBuilder) closeLeaf() uint32 {
	n := node{base: uint32(len(b.tree.values))}
	b.key = b.key[:0]
	for i, v := range b.leaf {
		if i == 0 || v != b.leaf[i-1] {
			n.begins[i>>6] |= 1 << (i & 63)
			b.key = append(b.key, byte(i), byte(v>>16), byte(v>>8), byte(v))
		}
	}
	number, ok := b.known[string(b.key)]
	if !ok {
		number = uint32(len(b.tree.leaves))
		b.known[string(b.key)] = number
		n.count()
		b.tree.leaves = append(b.tree.leaves, n)
		for i := 0; i < len(b.key); i += 4 {
			b.tree.values = append(b.tree.values, b.leaf[b.key[i]])
		}
	}
	return number
}

// closeBlock ends a block at its last address, which lies in the range first to last.
func (b *treeBuilder) closeBlock(first, last, end uint32) {
	n := node{base: uint32(len(b.tree.runs))}
	for i, r := range b.block {
		if i == 0 || r != b.block[i-1] {
			n.begins[i>>6] |= 1 << (i & 63)
		}
	}
	if n.begins == [4]uint64{1} && b.block[0]&split == 0 {
		length := ranges.Widest(uint64(end), uint64(first), uint64(last), 32)
		b.tree.blocks = append(b.tree.blocks, uint32(length+1)<<valueBits|b.block[0])
		return
	}
	n.count()
	for i := 0; i < 256; {
		_, next := n.extent(uint8(i))
		entry := b.block[i]
		if size := next - i; entry&split == 0 && size&(size-1) == 0 && i%size == 0 { // it is one prefix
			entry |= uint32(24-bits.TrailingZeros(uint(size))+1) << valueBits
		}
		b.tree.runs = append(b.tree.runs, entry)
		i = next
	}
	b.tree.blocks = append(b.tree.blocks, split|uint32(len(b.tree.nodes)))
	b.tree.nodes = append(b.tree.nodes, n)
}

func (n *node) count() {
	for w := 1; w < 4; w++ {
		n.before[w] = n.before[w-1] + uint8(bits.OnesCount64(n.begins[w-1]))
	}
}

// set gives the ranges back.
func (t *tree) set() *ranges.Set {
	var b ranges.Builder
	for h, entry := range t.blocks {
		base := uint32(h) << 16
		if entry&split == 0 {
			b.AddIPv4(base, base|0xffff, entry%maxRankings)
			continue
		}
		n := &t.nodes[entry&^split]
		for i := 0; i < 256; {
			_, next := n.extent(uint8(i))
			if entry := t.runs[n.run(uint8(i))]; entry&split == 0 {
				b.AddIPv4(base|uint32(i)<<8, base|uint32(next-1)<<8|0xff, entry%maxRankings)
				i = next
				continue
			}
			t.addLeaf(&b, base|uint32(i)<<8, t.runs[n.run(uint8(i))]&^split)
			i++
		}
	}
	return b.Set()
}

// addLeaf adds the ranges of a leaf at base.
func (t *tree) addLeaf(b *ranges.Builder, base, number uint32) {
	leaf := &t.leaves[number]
	for i := 0; i < 256; {
		_, next := leaf.extent(uint8(i))
		b.AddIPv4(base|uint32(i), base|uint32(next-1), t.values[leaf.run(uint8(i))])
		i = next
	}
}
