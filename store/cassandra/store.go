// Package cassandra keeps a region's data in the region's own Cassandra cluster, which no other region shares.
//
// Writing. Commit gathers batches that wait into logged batches of the server: all rows of each become durable, or none. A commit log
// that does not sync before it answers is refused at open. Each statement carries the time of the op that it belongs to, so that
// sending it twice, or late, changes nothing; a write with an unknown outcome is sent again, and only then told as unknown. What is
// too large for one batch is written in steps: op log, rows, positions.
//
// Deciding. Lives of nodes, usernames and data keys are decided by conditional statements (Paxos) in tables that nothing else writes.
//
// Failing. A cluster that cannot be reached is told at once (CodeRegionDegraded with RetryAfter): nothing waits for it.
package cassandra

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// Store is one node's handle of its region's cluster. It implements chat.Store.
type Store struct {
	opts        Options
	session     *gocql.Session
	known       *known
	commits     *committer
	deciding    stripes
	ended       endedLives
	floors      floors
	incarnation atomic.Uint64
	connected   atomic.Bool // from here on nodes come up one by one
	closed      atomic.Bool
	unsafe      atomic.Pointer[chat.Error] // a node that does not sync has joined; nil: none
	// batchBytes is what a batch may hold so that the server takes it.
	batchBytes int
}

var _ chat.Store = (*Store)(nil)

// Open opens the region's store, and begins the node's first life where it has none. The error has CodeInvalid for wrong credentials,
// a keyspace that is missing, that belongs to another region, or whose schema is older or newer than this version's, and for a commit
// log that does not sync; CodeRegionDegraded when the cluster cannot be reached.
func Open(ctx context.Context, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, known: newKnown()}
	session, nodes, err := connect(o, o.Keyspace, s.came)
	if err != nil {
		return nil, whyNot(o, err)
	}
	s.session = session
	s.connected.Store(true)
	if err := s.start(ctx, nodes); err != nil {
		session.Close()
		return nil, err
	}
	s.commits = newCommitter(s)
	return s, nil
}

// batchShare: the server counts what we estimate, and more, so a batch stays below this share of its limit.
const batchShare = 2

func (s *Store) start(ctx context.Context, nodes *nodes) error {
	limit, err := checkNodes(s.opts, nodes.all())
	if err != nil {
		return err
	}
	s.batchBytes = limit / batchShare
	if err := checkSchema(ctx, s.session); err != nil {
		return err
	}
	if err := s.ensureRegion(ctx); err != nil {
		return err
	}
	return s.ensureLife(ctx)
}

// came looks at a node that has come up while the store is open: one that does not sync may have been given a new configuration. One that does
// not answer yet is asked again, as long as it is up.
func (s *Store) came(host *gocql.HostInfo) {
	for host.IsUp() && !s.isClosed() && s.connected.Load() { // those of the start are asked there
		_, err := checkNodes(s.opts, []*gocql.HostInfo{host})
		if err == nil {
			return
		}
		if chat.CodeOf(err) == chat.CodeInvalid {
			s.opts.Log.Error("store: nothing is written any more", "err", err)
			s.unsafe.Store(chat.AsError(degraded("cassandra.Commit", "a node of the cluster does not sync before it answers", err)))
			return
		}
		time.Sleep(reconnectEvery)
	}
}

func (s *Store) life() chat.StreamID {
	return chat.StreamID{Region: s.opts.Region, Node: s.opts.Node, Incarnation: chat.Incarnation(s.incarnation.Load())}
}

func (s *Store) isClosed() bool { return s.closed.Load() }

// ready says whether the handle may be used.
func (s *Store) ready(op string) error {
	if s.isClosed() {
		return degraded(op, "the store is closed", nil)
	}
	if e := s.unsafe.Load(); e != nil {
		return e
	}
	return nil
}

// Close implements chat.Store: what was given to Commit before is written.
func (s *Store) Close() error {
	s.commits.close(degraded("cassandra.Commit", "the store is closed", nil), false)
	s.end()
	return nil
}

// Abandon implements chat.Store: what waits is not written. What is under way may be.
func (s *Store) Abandon() {
	s.closed.Store(true)
	s.commits.close(degraded("cassandra.Commit", "the store was abandoned", nil), true)
	s.end()
}

func (s *Store) end() {
	s.closed.Store(true)
	s.session.Close()
}
