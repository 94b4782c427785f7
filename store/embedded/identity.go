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
	selfHighWater  = "high-water"
	selfInboxFloor = "inbox-floor"
)

// storeSchema numbers the layout of keys and values; a store with a larger one was written by a newer version.
const storeSchema = 1

// self is how the identity is stored.
type self struct {
	Schema      int              `json:"schema"`
	Region      chat.Region      `json:"region"`
	Node        chat.NodeID      `json:"node"`
	Incarnation chat.Incarnation `json:"incarnation"`
}

// ensureIdentity reads who the store belongs to; a new store gets its identity here.
func (s *Store) ensureIdentity() (self, error) {
	id, ok, err := readSelf(s.db)
	if err != nil || ok {
		return id, err
	}
	some := false
	err = scan(s.db, []byte{0}, []byte{0xff}, func(_, _ []byte) (bool, error) {
		some = true
		return true, nil
	})
	if err == nil && some {
		err = errors.New("there are rows but no identity")
	}
	if err != nil {
		return self{}, openError(s.opts.Dir, err)
	}
	id = self{Schema: storeSchema, Region: s.opts.Region, Node: s.opts.Node, Incarnation: 1}
	b := s.db.NewBatch()
	if err := setSelf(b, id); err != nil {
		return self{}, err
	}
	if err := s.apply(b); err != nil {
		return self{}, openError(s.opts.Dir, err)
	}
	return id, b.Close()
}

func readSelf(r pebble.Reader) (id self, ok bool, err error) {
	v, ok, err := get(r, selfKey(selfIdentity))
	if err != nil || !ok {
		return id, false, err
	}
	if err := json.Unmarshal(v, &id); err != nil {
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

// Identity implements chat.Store.
func (s *Store) Identity(ctx context.Context) (chat.Identity, error) {
	var out chat.Identity
	err := s.read(ctx, "embedded.Identity", func(r pebble.Reader) error {
		id, _, err := readSelf(r)
		if err != nil {
			return err
		}
		high, err := number(r, selfHighWater)
		if err != nil {
			return err
		}
		last, err := lastSeq(r, chat.StreamID{Region: id.Region, Node: id.Node, Incarnation: id.Incarnation})
		out = chat.Identity{Region: id.Region, Node: id.Node, Incarnation: id.Incarnation, HighWater: chat.HLC(high), LastSeq: last}
		return err
	})
	return out, err
}

// NewIncarnation implements chat.Store.
func (s *Store) NewIncarnation(ctx context.Context) (chat.Identity, error) {
	err := s.decide(ctx, "embedded.NewIncarnation", false, func(g *group) error {
		v, _, err := g.get(selfKey(selfIdentity))
		if err != nil {
			return readError("embedded.NewIncarnation", err)
		}
		var id self
		if err := json.Unmarshal(v, &id); err != nil {
			return (&reader{bad: true}).end("identity")
		}
		id.Incarnation++
		if v, err = json.Marshal(id); err != nil {
			return invalid("the identity cannot be encoded")
		}
		g.set(selfKey(selfIdentity), v)
		return nil
	})
	if err != nil {
		return chat.Identity{}, err
	}
	return s.Identity(ctx)
}
