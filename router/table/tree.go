package table

import (
	"math"
	"math/bits"

	"meridian/router/geo/ranges"
)

// tree maps every IPv4 address to a number in at most three steps, of 16, 8 and 8 bits, and gives the widest prefix of one
// number on the way. The 256 parts of a step are kept as runs of equal parts: a bit for where each begins, then its number
// or, from the second step, a leaf. A table of all /24s would take 67 MB and not tell the prefixes; this one stays near the
// processor's cache (docs/decisions/0021-address-tables.md).
type tree struct {
	blocks []node   // of each /16: its /24s
	runs   []uint32 // of the blocks; see the constants
	leaves []node   // of /24s that are not all one: their addresses; each content once
	values []uint32 // of the leaves
}

// A run of a block is the number of a leaf, with the bit leafRun, or else a number with, where the block is one run, one
// more than the length of its widest prefix above.
const (
	leafRun      = 1 << 31
	runValueBits = 20
	// maxRankings is how many numbers a tree can tell apart.
	maxRankings = 1 << runValueBits
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

// widest gives the length, below the node's own, of the widest prefix around part i that lies in one run. A node has two
// runs at least, so it is 1 or more.
func (n *node) widest(i uint8) int {
	first, last := n.extent(i)
	return ranges.Widest(uint64(i), uint64(first), uint64(last), 8)
}

// extent gives the first and the last part of the run that part i is in.
func (n *node) extent(i uint8) (first, last int) {
	w := int(i >> 6)
	for first = -1; first < 0; w-- {
		word := n.begins[w]
		if w == int(i>>6) {
			word &= math.MaxUint64 >> (63 - i&63)
		}
		if word != 0 {
			first = w<<6 + 63 - bits.LeadingZeros64(word)
		}
	}
	for w = int(i >> 6); w < 4; w++ {
		word := n.begins[w]
		if w == int(i>>6) {
			word &= math.MaxUint64 << (i & 63) << 1
		}
		if word != 0 {
			return first, w<<6 + bits.TrailingZeros64(word) - 1
		}
	}
	return first, 255
}

// lookup gives x's number and the length of the widest prefix around it that has no other.
func (t *tree) lookup(x uint32) (value uint32, prefixBits int) {
	block := &t.blocks[x>>16]
	run := t.runs[block.run(uint8(x>>8))]
	if run&leafRun != 0 {
		leaf := &t.leaves[run&^leafRun]
		return t.values[leaf.run(uint8(x))], 24 + leaf.widest(uint8(x))
	}
	if whole := run >> runValueBits; whole != 0 {
		return run % maxRankings, int(whole) - 1
	}
	return run, 16 + block.widest(uint8(x>>8))
}

// bytes is the memory that the tree holds.
func (t *tree) bytes() int {
	const nodeBytes = 40
	return nodeBytes*(cap(t.blocks)+cap(t.leaves)) + 4*(cap(t.runs)+cap(t.values))
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
	b.tree.blocks = make([]node, 0, 1<<16)
	set.EachIPv4(b.add)
	t := b.tree
	t.runs, t.leaves, t.values = exact(t.runs), exact(t.leaves), exact(t.values)
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
				b.block[at] = leafRun | b.closeLeaf()
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
			b.tree.runs = append(b.tree.runs, r)
		}
	}
	n.count()
	if one := len(b.tree.runs) == int(n.base)+1; one && b.block[0]&leafRun == 0 {
		length := ranges.Widest(uint64(end), uint64(first), uint64(last), 32)
		b.tree.runs[n.base] |= uint32(length+1) << runValueBits
	}
	b.tree.blocks = append(b.tree.blocks, n)
}

func (n *node) count() {
	for w := 1; w < 4; w++ {
		n.before[w] = n.before[w-1] + uint8(bits.OnesCount64(n.begins[w-1]))
	}
}

// set gives the ranges back.
func (t *tree) set() *ranges.Set {
	var b ranges.Builder
	for h := range t.blocks {
		block := &t.blocks[h]
		for i := 0; i < 256; {
			_, last := block.extent(uint8(i))
			base := uint32(h)<<16 | uint32(i)<<8
			if run := t.runs[block.run(uint8(i))]; run&leafRun == 0 {
				b.AddIPv4(base, uint32(h)<<16|uint32(last)<<8|0xff, run%maxRankings)
				i = last + 1
				continue
			}
			leaf := &t.leaves[t.runs[block.run(uint8(i))]&^leafRun]
			for j := 0; j < 256; {
				_, end := leaf.extent(uint8(j))
				b.AddIPv4(base|uint32(j), base|uint32(end), t.values[leaf.run(uint8(j))])
				j = end + 1
			}
			i++
		}
	}
	return b.Set()
}
