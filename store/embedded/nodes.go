package embedded

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// The lives of nodes are decided in the committer, so that a lease, its end and an adoption have one order.

func packLife(n *chat.NodeRow) []byte {
	w := newValue(24 + len(n.AdoptedBy))
	w.u64(uint64(n.Until))
	w.u64(uint64(n.Low))
	w.text(string(n.AdoptedBy))
	return w.b
}

func unpackLife(stream chat.StreamID, v []byte) (chat.NodeRow, error) {
	r, err := open("lives", v)
	if err != nil {
		return chat.NodeRow{}, err
	}
	n := chat.NodeRow{Stream: stream, Until: chat.HLC(r.u64()), Low: chat.HLC(r.u64()), AdoptedBy: chat.NodeID(r.text())}
	return n, r.end("lives")
}

// latestLife gives the life of a node with the largest incarnation.
func latestLife(r pebble.Reader, region chat.Region, node chat.NodeID) (life chat.StreamID, ok bool, err error) {
	first := streamKey(tagLife, chat.StreamID{Region: region, Node: node})
	prefix := first[:len(first)-8]
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return life, false, err
	}
	if it.Last() {
		life = chat.StreamID{Region: region, Node: node, Incarnation: chat.Incarnation(binary.BigEndian.Uint64(it.Key()[len(prefix):]))}
		ok = true
	}
	return life, ok, it.Close()
}

// latest is latestLife as the group sees it.
func (g *group) latest(region chat.Region, node chat.NodeID) (life chat.StreamID, ok bool, err error) {
	if life, ok, err = latestLife(g.s.db, region, node); err != nil {
		return life, ok, err
	}
	for k := range g.written {
		if k[0] != tagLife {
			continue
		}
		if of, _, good := parseStream([]byte(k)); good && of.Region == region && of.Node == node && (!ok || of.Incarnation > life.Incarnation) {
			life, ok = of, true
		}
	}
	return life, ok, nil
}

// life gives the row of a life as the group sees it, without what other tables say.
func (g *group) life(stream chat.StreamID) (row chat.NodeRow, ok bool, err error) {
	v, ok, err := g.get(streamKey(tagLife, stream))
	if err != nil || !ok {
		return row, false, err
	}
	row, err = unpackLife(stream, v)
	return row, err == nil, err
}

func (g *group) setLife(row *chat.NodeRow) { g.set(streamKey(tagLife, row.Stream), packLife(row)) }

// begin starts a life above all that any node has reserved.
func (g *group) begin(stream chat.StreamID) error {
	var high chat.HLC
	err := scan(g.s.db, []byte{tagHighWater}, []byte{tagHighWater + 1}, func(_, v []byte) (bool, error) {
		n, err := unpackNumber("high-water marks", v)
		high = max(high, chat.HLC(n))
		return false, err
	})
	if err != nil {
		return err
	}
	for _, to := range g.high {
		high = max(high, to)
	}
	g.setLife(&chat.NodeRow{Stream: stream})
	g.raise(stream, high)
	return nil
}

// highWater gives the high-water mark of a life.
func highWater(r pebble.Reader, life chat.StreamID) (chat.HLC, error) {
	v, ok, err := get(r, streamKey(tagHighWater, life))
	if err != nil || !ok {
		return 0, err
	}
	n, err := unpackNumber("high-water marks", v)
	return chat.HLC(n), err
}

// fill adds to a life what other tables say.
func fill(r pebble.Reader, row *chat.NodeRow) (err error) {
	if row.HighWater, err = highWater(r, row.Stream); err != nil {
		return err
	}
	row.LastSeq, err = lastSeq(r, row.Stream)
	return err
}

// Renew implements chat.Nodes.
func (s *Store) Renew(ctx context.Context, until, low chat.HLC) error {
	const op = "embedded.Renew"
	if err := s.somebody(op); err != nil {
		return err
	}
	life := s.life()
	return s.decide(ctx, op, false, func(g *group) error {
		row, ok, err := g.life(life)
		if err != nil {
			return readError(op, err)
		}
		latest, _, err := g.latest(life.Region, life.Node)
		if err != nil {
			return readError(op, err)
		}
		switch {
		case !ok || latest != life:
			return conflict(op, "this life of the node has ended: there is a later one")
		case row.AdoptedBy != "":
			return conflict(op, "node "+string(row.AdoptedBy)+" has adopted this life")
		}
		row.Until, row.Low = chat.LeaseEnd(row.Until, until), max(row.Low, low)
		g.setLife(&row)
		return nil
	})
}

func conflict(op, message string) error {
	return &chat.Error{Code: chat.CodeVersionConflict, Op: op, Message: message}
}

// Nodes implements chat.Nodes.
func (s *Store) Nodes(ctx context.Context) ([]chat.NodeRow, error) {
	var found []chat.NodeRow
	err := s.read(ctx, "embedded.Nodes", func(r pebble.Reader) error {
		all, err := lives(r)
		if err != nil {
			return err
		}
		for i := range all {
			later := i+1 < len(all) && all[i+1].Stream.Node == all[i].Stream.Node
			if later && all[i].AdoptedBy != "" {
				if left, err := holds(r, streamKey(tagLog, all[i].Stream)); err != nil || !left {
					if err != nil {
						return err
					}
					continue
				}
			}
			if err := fill(r, &all[i]); err != nil {
				return err
			}
			found = append(found, all[i])
		}
		return nil
	})
	return some(found, err)
}

// lives gives all rows of the table, sorted by stream.
func lives(r pebble.Reader) ([]chat.NodeRow, error) {
	var all []chat.NodeRow
	err := scan(r, []byte{tagLife}, []byte{tagLife + 1}, func(k, v []byte) (bool, error) {
		stream, _, ok := parseStream(k)
		if !ok {
			return true, (&reader{bad: true}).end("lives")
		}
		row, err := unpackLife(stream, v)
		all = append(all, row)
		return false, err
	})
	slices.SortFunc(all, func(a, b chat.NodeRow) int { return compareStreams(a.Stream, b.Stream) })
	return all, err
}

func compareStreams(a, b chat.StreamID) int {
	return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Incarnation, b.Incarnation))
}

// holds says whether there is a key with a prefix.
func holds(r pebble.Reader, prefix []byte) (found bool, err error) {
	err = scan(r, prefix, after(prefix), func(_, _ []byte) (bool, error) {
		found = true
		return true, nil
	})
	return found, err
}

// Adopt implements chat.Nodes. The error has CodeInvalid for a life that is not known.
func (s *Store) Adopt(ctx context.Context, life chat.StreamID, now chat.HLC) (chat.NodeRow, error) {
	const op = "embedded.Adopt"
	if err := s.somebody(op); err != nil {
		return chat.NodeRow{}, err
	}
	adopted := make(chan chat.NodeRow, 1)
	err := s.decide(ctx, op, false, func(g *group) error {
		row, ok, err := g.life(life)
		if err != nil {
			return readError(op, err)
		}
		if !ok {
			return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "no such life"}
		}
		if err := g.adoptable(s.node, &row, now); err != nil {
			return err
		}
		if row.AdoptedBy != s.node {
			row.AdoptedBy = s.node
			g.setLife(&row)
		}
		adopted <- row
		return nil
	})
	if err != nil {
		return chat.NodeRow{}, err
	}
	row := <-adopted
	err = s.read(ctx, op, func(r pebble.Reader) error { return fill(r, &row) })
	return row, err
}

// adoptable says whether node may answer for a life.
func (g *group) adoptable(node chat.NodeID, row *chat.NodeRow, now chat.HLC) error {
	const op = "embedded.Adopt"
	own, _, err := g.latest(row.Stream.Region, row.Stream.Node)
	if err != nil {
		return readError(op, err)
	}
	if row.Stream.Node == node && row.Stream == own {
		return conflict(op, "a node does not adopt the life that it leads")
	}
	if row.AdoptedBy == node {
		return nil
	}
	if row.AdoptedBy == "" {
		if row.Until >= now {
			return conflict(op, "the life's lease still runs")
		}
		return nil
	}
	adopter, _, err := g.latest(row.Stream.Region, row.AdoptedBy)
	if err != nil {
		return readError(op, err)
	}
	leads, _, err := g.life(adopter)
	if err != nil {
		return readError(op, err)
	}
	if leads.Until >= now {
		return conflict(op, "node "+string(row.AdoptedBy)+" has adopted the life, and its lease still runs")
	}
	return nil
}
