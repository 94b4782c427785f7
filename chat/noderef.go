package chat

import "cmp"

// Compare orders nodes by region, then by name.
func (n NodeRef) Compare(o NodeRef) int {
	return cmp.Or(cmp.Compare(n.Region, o.Region), cmp.Compare(n.Node, o.Node))
}
