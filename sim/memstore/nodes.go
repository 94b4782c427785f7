package memstore

import (
	"slices"

	"meridian/chat"
)

// life gives the latest life of node, made when it has none.
func (t *Tables) life(node chat.NodeID) chat.NodeRow {
	var latest chat.NodeRow
	for stream, row := range t.lives {
		if stream.Node == node && stream.Incarnation > latest.Stream.Incarnation {
			latest = row
		}
	}
	if latest.Stream.Incarnation == 0 {
		latest.Stream = chat.StreamID{Region: t.region, Node: node, Incarnation: 1}
		latest.HighWater = t.highest()
		t.lives[latest.Stream] = latest
	}
	return latest
}

// highest is the largest high-water mark of all nodes.
func (t *Tables) highest() chat.HLC {
	var high chat.HLC
	for _, row := range t.lives {
		high = max(high, row.HighWater)
	}
	return high
}

// raise moves the high-water mark of a life.
func (t *Tables) raise(life chat.StreamID, high chat.HLC) {
	row := t.lives[life]
	row.HighWater = max(row.HighWater, high)
	t.lives[life] = row
}

// Identity is that of the first node.
func (t *Tables) Identity() chat.Identity { return t.IdentityOf(t.first) }

// IdentityOf is as of chat.Store's Identity.
func (t *Tables) IdentityOf(node chat.NodeID) chat.Identity {
	row := t.life(node)
	return chat.Identity{
		Region: t.region, Node: node, Incarnation: row.Stream.Incarnation, HighWater: row.HighWater, LastSeq: row.LastSeq,
	}
}

// NewIncarnationOf is as of chat.Store's NewIncarnation.
func (t *Tables) NewIncarnationOf(node chat.NodeID, least chat.Incarnation) chat.Identity {
	stream := t.life(node).Stream
	stream.Incarnation = max(least, stream.Incarnation+1)
	t.lives[stream] = chat.NodeRow{Stream: stream, HighWater: t.highest()}
	return t.IdentityOf(node)
}

// Renew is as of chat.Nodes.
func (t *Tables) Renew(node chat.NodeID, until, low chat.HLC) error {
	row := t.life(node)
	if row.AdoptedBy != "" {
		return &chat.Error{Code: chat.CodeVersionConflict, Op: "memstore.Renew", Message: "node " + string(row.AdoptedBy) + " has adopted this life"}
	}
	row.Until, row.Low = chat.LeaseEnd(row.Until, until), max(row.Low, low)
	t.lives[row.Stream] = row
	return nil
}

// Nodes is as of chat.Nodes.
func (t *Tables) Nodes() []chat.NodeRow {
	rows := make([]chat.NodeRow, 0, len(t.lives))
	for _, row := range t.lives {
		if row.Stream == t.life(row.Stream.Node).Stream || row.AdoptedBy == "" || len(t.log[row.Stream]) > 0 {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b chat.NodeRow) int { return compareStream(a.Stream, b.Stream) })
	return rows
}

// Adopt is as of chat.Nodes.
func (t *Tables) Adopt(node chat.NodeID, life chat.StreamID, now chat.HLC) (chat.NodeRow, error) {
	refuse := func(why string) (chat.NodeRow, error) {
		return chat.NodeRow{}, &chat.Error{Code: chat.CodeVersionConflict, Op: "memstore.Adopt", Message: why}
	}
	row, ok := t.lives[life]
	switch {
	case !ok:
		return chat.NodeRow{}, &chat.Error{Code: chat.CodeInvalid, Op: "memstore.Adopt", Message: "no such life"}
	case life.Node == node && row.Stream == t.life(node).Stream:
		return refuse("a node does not adopt its own life")
	case row.AdoptedBy == node:
		return row, nil
	case row.AdoptedBy != "" && t.life(row.AdoptedBy).Until >= now:
		return refuse("another node has adopted it")
	case row.AdoptedBy == "" && row.Until >= now:
		return refuse("its lease still runs")
	}
	row.AdoptedBy = node
	t.lives[life] = row
	return row, nil
}
