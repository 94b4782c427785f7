package people

import (
	"cmp"
	"slices"

	"meridian/chat"
)

// Blocks is whom a person blocks, and blocked when. It never changes; the zero Blocks blocks nobody.
type Blocks struct {
	steps map[chat.UserID][]chat.BlockRow // ascending by Time
}

// NewBlocks makes Blocks of the person's steps, in any order.
func NewBlocks(rows []chat.BlockRow) *Blocks {
	b := &Blocks{steps: make(map[chat.UserID][]chat.BlockRow)}
	for _, row := range rows {
		b.steps[row.Other.ID] = append(b.steps[row.Other.ID], row)
	}
	for _, steps := range b.steps {
		slices.SortFunc(steps, func(x, y chat.BlockRow) int { return cmp.Compare(x.Time, y.Time) })
	}
	return b
}

// Hidden says whether what from did at t is hidden: the newest step at or before t blocks. The answer depends on times
// alone, never on the order in which a region learnt of things.
func (b *Blocks) Hidden(from chat.UserID, t chat.HLC) bool {
	row, ok := b.at(from, t)
	return ok && row.On
}

// Now says whether user is blocked as of the newest step known.
func (b *Blocks) Now(user chat.UserID) bool { return b.Hidden(user, ^chat.HLC(0)) }

func (b *Blocks) at(user chat.UserID, t chat.HLC) (chat.BlockRow, bool) {
	if b == nil {
		return chat.BlockRow{}, false
	}
	steps := b.steps[user]
	after, _ := slices.BinarySearchFunc(steps, t, func(row chat.BlockRow, t chat.HLC) int {
		if row.Time <= t {
			return -1
		}
		return 1
	})
	if after == 0 {
		return chat.BlockRow{}, false
	}
	return steps[after-1], true
}

// count is the number of steps.
func (b *Blocks) count() int {
	n := 0
	for _, steps := range b.steps {
		n += len(steps)
	}
	return n
}

// Block is one person who is blocked.
type Block struct {
	User  chat.Owner
	Since chat.HLC
}

// List gives those who are blocked as of the newest step, latest first.
func (b *Blocks) List() []Block {
	var list []Block
	for user := range b.steps {
		if row, ok := b.at(user, ^chat.HLC(0)); ok && row.On {
			list = append(list, Block{User: row.Other, Since: row.Time})
		}
	}
	slices.SortFunc(list, func(x, y Block) int {
		return cmp.Or(cmp.Compare(y.Since, x.Since), slices.Compare(x.User.ID[:], y.User.ID[:]))
	})
	return list
}
