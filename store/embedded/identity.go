package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// Names of what the store knows of itself.
const (
	selfIdentity   = "identity"
	selfInboxFloor = "inbox-floor"
	// selfHighWater was the one node's mark in layout 1.
	selfHighWater = "high-water"
)

// storeSchema numbers the layout of keys and values, one line per step; a store with a larger one was written by a newer
// version.
//
//	1  one node per store
//	2  lives of several nodes (v, y); changes, groups, members, their zones, parked ops; flags in conversations
//	3  a group's names are rows of their own; names and members say for which zone and client id they are
const storeSchema = 3

// self is how the identity is stored.
type self struct {
	Schema int         `json:"schema"`
	Region chat.Region `json:"region"`
	// Node and Incarnation: layout 1 only.
	Node        chat.NodeID      `json:"node,omitempty"`
	Incarnation chat.Incarnation `json:"incarnation,omitempty"`
}

// ensureIdentity checks that the store belongs to this region. A new store gets its identity here, with the first life of
// Options.Node; one of an older layout is brought to this one.
func (s *engine) ensureIdentity() error {
	id, ok, err := readSelf(s.db)
	if err != nil {
		return err
	}
	b := s.db.NewBatch()
	switch {
	case !ok:
		err = s.firstIdentity(b)
	case id.Region != s.opts.Region:
		err = &chat.Error{Code: chat.CodeInvalid, Op: "embedded.Open", Message: fmt.Sprintf(
			"%s belongs to region %s; this is region %s", s.opts.Dir, id.Region, s.opts.Region)}
	case id.Schema == 1:
		err = s.fromLayout1(b, id)
	case id.Schema == 2:
		err = s.fromLayout2(b, id)
	}
	if err != nil {
		return err
	}
	if b.Empty() {
		return b.Close()
	}
	if err := s.apply(b); err != nil {
		return openError(s.opts.Dir, err)
	}
	return b.Close()
}

func (s *engine) firstIdentity(b *pebble.Batch) error {
	some, err := holds(s.db, nil)
	if err == nil && some {
		err = errors.New("there are rows but no identity")
	}
	if err != nil {
		return openError(s.opts.Dir, err)
	}
	if s.opts.Node != "" {
		first := chat.NodeRow{Stream: chat.StreamID{Region: s.opts.Region, Node: s.opts.Node, Incarnation: 1}}
		_ = b.Set(streamKey(tagLife, first.Stream), packLife(&first), nil)
	}
	return setSelf(b, self{Schema: storeSchema, Region: s.opts.Region})
}

// fromLayout1 makes the one node's identity its life, with the earlier ones whose op logs are still here.
func (s *engine) fromLayout1(b *pebble.Batch, id self) error {
	high, err := number(s.db, selfHighWater)
	if err != nil {
		return openError(s.opts.Dir, err)
	}
	ends, err := streamEnds(s.db)
	if err != nil {
		return openError(s.opts.Dir, err)
	}
	streams := []chat.StreamID{{Region: id.Region, Node: id.Node, Incarnation: id.Incarnation}}
	for _, end := range ends {
		if of := end.Stream; of.Region == id.Region && of.Node == id.Node && of.Incarnation < id.Incarnation {
			streams = append(streams, of)
		}
	}
	for _, stream := range streams {
		_ = b.Set(streamKey(tagLife, stream), packLife(&chat.NodeRow{Stream: stream}), nil)
		_ = b.Merge(streamKey(tagHighWater, stream), packNumber(high), nil)
	}
	_ = b.Delete(selfKey(selfHighWater), nil)
	s.opts.Log.Info("store: brought to a newer layout", "dir", s.opts.Dir, "from", id.Schema, "to", storeSchema)
	return setSelf(b, self{Schema: storeSchema, Region: id.Region})
}

// fromLayout2 takes a store without groups over. Groups of layout 2, which no release wrote, do not say what is needed to tell
// a forged step from a real one.
func (s *engine) fromLayout2(b *pebble.Batch, id self) error {
	for _, table := range []byte{tagGroup, tagMember} {
		some, err := holds(s.db, key(table))
		if err != nil {
			return openError(s.opts.Dir, err)
		}
		if some {
			return &chat.Error{Code: chat.CodeInvalid, Op: "embedded.Open", Message: fmt.Sprintf(
				"%s has groups of layout 2, which only builds before the first release wrote; this version cannot take them over: start with an empty directory", s.opts.Dir)}
		}
	}
	s.opts.Log.Info("store: brought to a newer layout", "dir", s.opts.Dir, "from", id.Schema, "to", storeSchema)
	id.Schema = storeSchema
	return setSelf(b, id)
}

func readSelf(r pebble.Reader) (id self, ok bool, err error) {
	v, ok, err := get(r, selfKey(selfIdentity))
	if err != nil || !ok {
		return id, false, err
	}
	if err := json.Unmarshal(v, &id); err != nil || id.Schema < 1 {
		return id, false, (&reader{bad: true}).end("identity")
	}
	if id.Schema > storeSchema {
		return id, false, &chat.Error{Code: chat.CodeInvalid, Op: "embedded.Open", Message: fmt.Sprintf(
			"the store has layout %d, this version knows %d: it was written by a newer version", id.Schema, storeSchema)}
	}
	return id, true, nil
}

func setSelf(b *pebble.Batch, id self) error {
	v, err := json.Marshal(id)
	if err != nil {
		return invalid("the identity cannot be encoded")
	}
	return b.Set(selfKey(selfIdentity), v, nil)
}

// number reads a number that the store keeps of itself; 0 when it is not there.
func number(r pebble.Reader, name string) (uint64, error) {
	v, ok, err := get(r, selfKey(name))
	if err != nil || !ok {
		return 0, err
	}
	return unpackNumber(name, v)
}

// Identity implements chat.Store: of the life that the handle works in.
func (s *Store) Identity(ctx context.Context) (chat.Identity, error) {
	const op = "embedded.Identity"
	if err := s.somebody(op); err != nil {
		return chat.Identity{}, err
	}
	row := chat.NodeRow{Stream: s.life()}
	err := s.read(ctx, op, func(r pebble.Reader) error { return fill(r, &row) })
	if err != nil {
		return chat.Identity{}, err
	}
	return chat.Identity{
		Region: s.region, Node: s.node, Incarnation: row.Stream.Incarnation, HighWater: row.HighWater, LastSeq: row.LastSeq,
	}, nil
}

// NewIncarnation implements chat.Store. The handle works in the new life from then on. It takes a few bytes of the disk's reserve: a
// node starts on a full disk too, to be read from.
func (s *Store) NewIncarnation(ctx context.Context, least chat.Incarnation) (chat.Identity, error) {
	const op = "embedded.NewIncarnation"
	if err := s.somebody(op); err != nil {
		return chat.Identity{}, err
	}
	began := make(chan chat.Incarnation, 1)
	err := s.decide(ctx, op, true, func(g *group) error {
		life, _, err := g.latest(s.region, s.node)
		if err != nil {
			return readError(op, err)
		}
		life.Incarnation = max(least, life.Incarnation+1)
		if err := g.begin(life); err != nil {
			return readError(op, err)
		}
		began <- life.Incarnation
		return nil
	})
	if err != nil {
		return chat.Identity{}, err
	}
	s.incarnation.Store(uint64(<-began))
	return s.Identity(ctx)
}
