package embedded

import (
	"context"
	"sync/atomic"

	"meridian/chat"
)

// Store is one node's handle of the store in a directory. The handle that Open gives keeps the directory: closing it closes
// all. Closing one that Node gives ends that handle only.
type Store struct {
	*engine
	region      chat.Region
	node        chat.NodeID // "": nobody's
	incarnation atomic.Uint64
	keeps       bool
	closed      atomic.Bool
}

var _ chat.Store = (*Store)(nil)

func newHandle(e *engine, life chat.StreamID, keeps bool) *Store {
	s := &Store{engine: e, region: e.opts.Region, node: life.Node, keeps: keeps}
	s.incarnation.Store(uint64(life.Incarnation))
	return s
}

// Node gives the handle of a node in its latest life. A node that was not here before begins its first one: its HighWater is
// the largest of all nodes, so that it stamps nothing below what others have shown already. The error has CodeInvalid for a
// name that cannot be, and the codes of chat.Store.
func (s *Store) Node(ctx context.Context, node chat.NodeID) (*Store, error) {
	const op = "embedded.Node"
	if node == "" || len(node) > chat.MaxNameBytes {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "a node's name has 1 to 255 bytes"}
	}
	life := make(chan chat.StreamID, 1)
	err := s.decide(ctx, op, false, func(g *group) error {
		at, ok, err := g.latest(s.region, node)
		if err != nil {
			return readError(op, err)
		}
		if !ok {
			at = chat.StreamID{Region: s.region, Node: node, Incarnation: 1}
			if err := g.begin(at); err != nil {
				return readError(op, err)
			}
		}
		life <- at
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newHandle(s.engine, <-life, false), nil
}

// NodeLife gives the handle of a node in a life that it has been in; of one that is over, or not here, nothing can be prolonged.
func (s *Store) NodeLife(ctx context.Context, node chat.NodeID, life chat.Incarnation) (*Store, error) {
	const op = "embedded.NodeLife"
	if err := s.ready(ctx, op); err != nil {
		return nil, err
	}
	if node == "" || len(node) > chat.MaxNameBytes || life == 0 {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "a node's name has 1 to 255 bytes; lives count from 1"}
	}
	return newHandle(s.engine, chat.StreamID{Region: s.region, Node: node, Incarnation: life}, false), nil
}

// life is the life that the handle works in.
func (s *Store) life() chat.StreamID {
	return chat.StreamID{Region: s.region, Node: s.node, Incarnation: chat.Incarnation(s.incarnation.Load())}
}

// ready says that the handle may be used.
func (s *Store) ready(ctx context.Context, op string) error {
	if err := ctxError(ctx, op); err != nil {
		return err
	}
	if s.closed.Load() {
		return closedError(op)
	}
	return nil
}

// somebody refuses what needs a node on a handle that has none.
func (s *Store) somebody(op string) error {
	if s.node == "" {
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "the store was opened for no node"}
	}
	return nil
}

// Close implements chat.Store.
func (s *Store) Close() error {
	if s.keeps {
		s.closed.Store(true)
		return s.engine.close()
	}
	if !s.closed.Swap(true) {
		answered := make(chan struct{}) // callbacks come in order: when this one comes, all before it have come
		s.enqueue(&request{decide: func(*group) error { return nil }, done: func(error) { close(answered) }})
		<-answered
	}
	return nil
}

// Abandon implements chat.Store: from its start on nothing reaches the files, and after it the directory can be opened
// again, in this process too. Batches under way get CodeUnknownOutcome, those that wait CodeRegionDegraded. On a handle that
// Node gave it only ends the handle.
func (s *Store) Abandon() {
	s.closed.Store(true)
	if s.keeps {
		s.gate.shut(errAbandoned)
		_ = s.engine.close()
	}
}
