package dns

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

const (
	nameBytesMax  = 255
	labelBytesMax = 63
	wordBytes     = 8
	// nameRoom is what must follow a name in memory, of whatever content, for it to be read by words.
	nameRoom = wordBytes
	// encloserLabels is how deep below a name of ours a name may lie that does not exist, for the fast path to say so.
	encloserLabels = 4
)

// nameWords is a name in wire form and lower case, as words that end in zeros.
type nameWords [(nameBytesMax + wordBytes) / wordBytes]uint64

// nameTable finds names by their wire form, in any case of letters. It never changes once names have been added.
type nameTable struct {
	slots []nameSlot // a power of two, half of it empty at least
}

type nameSlot struct {
	words []uint64
	name  *fastName // nil: an empty slot
}

// newNameTable makes a table of names by their wire form in lower case.
func newNameTable(names map[string]*fastName) nameTable {
	t := nameTable{slots: make([]nameSlot, 1<<bits.Len(uint(2*len(names))))}
	for wire, name := range names {
		var words nameWords
		b := append([]byte(wire), make([]byte, nameRoom)...)
		_, count, hash := readName(&words, b)
		name.seed = hash
		at := hash & uint64(len(t.slots)-1)
		for t.slots[at].name != nil {
			at = (at + 1) & uint64(len(t.slots)-1)
		}
		t.slots[at] = nameSlot{slices.Clone(words[:count]), name}
	}
	return t
}

// find gives the name at the beginning of b and its length there; nil for one that is not in the table, 0 for what is no name. b goes
// on for nameRoom bytes behind the name.
func (t *nameTable) find(words *nameWords, b []byte) (*fastName, int) {
	size, count, hash := readName(words, b)
	if size == 0 {
		return nil, 0
	}
	for at := hash & uint64(len(t.slots)-1); t.slots[at].name != nil; at = (at + 1) & uint64(len(t.slots)-1) {
		if slices.Equal(t.slots[at].words, words[:count]) {
			return t.slots[at].name, size
		}
	}
	return nil, size
}

// encloser gives the longest end of the name at the beginning of b that is in the table, where it begins, and the label before
// it. It looks at no more than encloserLabels labels; nil when there is none.
func (t *nameTable) encloser(words *nameWords, b []byte) (name *fastName, at int, label []byte) {
	for range encloserLabels {
		if b[at] == 0 {
			break
		}
		label = b[at+1 : at+1+int(b[at])]
		at += 1 + len(label)
		if name, _ = t.find(words, b[at:]); name != nil {
			return name, at, label
		}
	}
	return nil, 0, nil
}

// readName reads the name at the beginning of b into words and gives its length and hash; 0 for one that is compressed, too
// long, or does not end with nameRoom bytes behind it.
func readName(words *nameWords, b []byte) (size, count int, hash uint64) {
	for {
		if size >= nameBytesMax || size+nameRoom >= len(b) {
			return 0, 0, 0
		}
		label := int(b[size])
		size++
		if label == 0 {
			break
		}
		if label > labelBytesMax {
			return 0, 0, 0
		}
		size += label
	}
	for at := 0; at < size; at += wordBytes {
		w := binary.LittleEndian.Uint64(b[at:])
		if left := size - at; left < wordBytes {
			w &= 1<<(8*left) - 1
		}
		w = lower(w)
		words[count] = w
		count++
		hash = bits.RotateLeft64(hash^w, 29) * 0x9e3779b97f4a7c15
	}
	return size, count, hash ^ hash>>32
}

// lower changes the letters A to Z among the eight bytes of w. The lengths of labels are less than any letter.
func lower(w uint64) uint64 {
	const each = 0x0101010101010101
	low := w &^ (0x80 * each)
	fromA, beyondZ := low+(0x80-'A')*each, low+(0x80-'Z'-1)*each // the top bit of a byte says so
	return w | (fromA&^beyondZ&^w&(0x80*each))>>2
}
