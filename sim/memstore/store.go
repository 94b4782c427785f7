package memstore

import (
	"context"
	"slices"
	"sync"

	"meridian/chat"
)

// Store makes a chat.Store of Tables. What Commit has not reported is lost by Abandon; what it has reported stays in the
// Tables, which can be opened again.
type Store struct {
	mu      *sync.Mutex // of t, which the handles of other nodes share
	t       *Tables
	node    chat.NodeID
	keep    Retention
	copies  map[string]*Tables
	closed  bool
	pending sync.WaitGroup
	queue   chan struct{} // holds one token: commits become durable in the order of the calls
	commits []commit
}

type commit struct {
	batch *chat.Batch
	done  func(error)
}

var _ chat.Store = (*Store)(nil)

// Open gives the first node's handle of t, whose Sweep keeps things for so long.
func Open(t *Tables, keep Retention) *Store {
	return &Store{mu: &sync.Mutex{}, t: t, node: t.first, keep: keep, copies: map[string]*Tables{}, queue: make(chan struct{}, 1)}
}

// Node gives the handle of another node of the same tables.
func (s *Store) Node(node chat.NodeID) *Store {
	return &Store{mu: s.mu, t: s.t, node: node, keep: s.keep, copies: s.copies, queue: make(chan struct{}, 1)}
}

var errClosed = &chat.Error{Code: chat.CodeRegionDegraded, Op: "memstore", Message: "the store is closed"}

// Commit is as of chat.Store.
func (s *Store) Commit(b *chat.Batch, done func(error)) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.commits = append(s.commits, commit{clone(b), done})
		s.pending.Add(1)
	}
	s.mu.Unlock()
	if closed {
		go done(errClosed)
		return
	}
	go s.sync()
}

// sync makes the oldest commit durable.
func (s *Store) sync() {
	defer s.pending.Done()
	s.queue <- struct{}{}
	s.mu.Lock()
	c := s.commits[0]
	s.commits = s.commits[1:]
	var err error
	if s.closed {
		err = errClosed
	} else if err = c.batch.Check(); err == nil {
		s.t.ApplyOf(s.node, c.batch)
	}
	s.mu.Unlock()
	c.done(err) // before the next one: callbacks come in the order of the commits
	<-s.queue
}

// clone copies what the caller may change after done.
func clone(b *chat.Batch) *chat.Batch {
	c := *b
	c.Log = slices.Clone(b.Log)
	for i := range c.Log {
		c.Log[i].Op.Body = slices.Clone(c.Log[i].Op.Body)
	}
	c.Messages = slices.Clone(b.Messages)
	for i := range c.Messages {
		c.Messages[i].Body = slices.Clone(c.Messages[i].Body)
	}
	return &c
}

// read runs f over the tables.
func read[V any](ctx context.Context, s *Store, f func(t *Tables) V) (V, error) {
	var none V
	if err := ctx.Err(); err != nil {
		return none, &chat.Error{Code: chat.CodeRegionDegraded, Op: "memstore", Message: "the request ended", Cause: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return none, errClosed
	}
	return f(s.t), nil
}

// found carries a row and whether it is there.
type found[V any] struct {
	row V
	ok  bool
}

func get[V any](ctx context.Context, s *Store, f func(t *Tables) (V, bool)) (V, bool, error) {
	r, err := read(ctx, s, func(t *Tables) found[V] {
		row, ok := f(t)
		return found[V]{row, ok}
	})
	return r.row, r.ok, err
}

// Identity is as of chat.Store.
func (s *Store) Identity(ctx context.Context) (chat.Identity, error) {
	return read(ctx, s, func(t *Tables) chat.Identity { return t.IdentityOf(s.node) })
}

// NewIncarnation is as of chat.Store.
func (s *Store) NewIncarnation(ctx context.Context, least chat.Incarnation) (chat.Identity, error) {
	return read(ctx, s, func(t *Tables) chat.Identity { return t.NewIncarnationOf(s.node, least) })
}

// Renew is as of chat.Nodes.
func (s *Store) Renew(ctx context.Context, until, low chat.HLC) error {
	refused, err := read(ctx, s, func(t *Tables) error { return t.Renew(s.node, until, low) })
	if err != nil {
		return err
	}
	return refused
}

// Nodes is as of chat.Nodes.
func (s *Store) Nodes(ctx context.Context) ([]chat.NodeRow, error) {
	return read(ctx, s, (*Tables).Nodes)
}

// Adopt is as of chat.Nodes.
func (s *Store) Adopt(ctx context.Context, life chat.StreamID, now chat.HLC) (chat.NodeRow, error) {
	var refused error
	row, err := read(ctx, s, func(t *Tables) chat.NodeRow {
		var row chat.NodeRow
		row, refused = t.Adopt(s.node, life, now)
		return row
	})
	if err != nil {
		return row, err
	}
	return row, refused
}

// Sweep is as of chat.Store; it counts rows.
func (s *Store) Sweep(ctx context.Context, now chat.HLC) (int, error) {
	return read(ctx, s, func(t *Tables) int { return t.Sweep(now, s.keep) })
}

// Checkpoint keeps a copy under the name dir; Copy gives it.
func (s *Store) Checkpoint(ctx context.Context, dir string) error {
	made, err := read(ctx, s, func(t *Tables) bool {
		if _, ok := s.copies[dir]; ok {
			return false
		}
		s.copies[dir] = t.Clone()
		return true
	})
	if err == nil && !made {
		err = &chat.Error{Code: chat.CodeInvalid, Op: "memstore.Checkpoint", Message: dir + " exists"}
	}
	return err
}

// Copy gives what Checkpoint kept under dir, or nil.
func (s *Store) Copy(dir string) *Tables {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copies[dir]
}

// Close waits for commits under way.
func (s *Store) Close() error {
	s.pending.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Abandon drops the commits that were not reported.
func (s *Store) Abandon() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}

// ReadLog is as of chat.Log.
func (s *Store) ReadLog(ctx context.Context, stream chat.StreamID, after, upTo uint64, to chat.Region, limit int) ([]chat.Op, error) {
	return read(ctx, s, func(t *Tables) []chat.Op { return t.ReadLog(stream, after, upTo, to, limit) })
}

// Positions is as of chat.Log.
func (s *Store) Positions(ctx context.Context, stream chat.StreamID) (map[chat.Region]uint64, error) {
	return read(ctx, s, func(t *Tables) map[chat.Region]uint64 { return t.Positions(stream) })
}

// Applied is as of chat.Log.
func (s *Store) Applied(ctx context.Context) ([]chat.AppliedRow, error) {
	return read(ctx, s, (*Tables).Applied)
}

// Refusals is as of chat.Log.
func (s *Store) Refusals(ctx context.Context, ops []chat.MessageID) ([]chat.RefusalRow, error) {
	return read(ctx, s, func(t *Tables) []chat.RefusalRow { return t.Refusals(ops) })
}

// DeadLetters is as of chat.Log.
func (s *Store) DeadLetters(ctx context.Context, limit int) ([]chat.DeadLetterRow, error) {
	return read(ctx, s, func(t *Tables) []chat.DeadLetterRow { return t.DeadLetters(limit) })
}

// Messages is as of chat.Mailboxes.
func (s *Store) Messages(ctx context.Context, owner chat.UserID, conversation chat.ConversationID, before chat.MessageID, limit int) ([]chat.MessageRow, error) {
	if limit < 1 || limit > 1000 {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "memstore.Messages", Message: "the limit is 1 to 1000"}
	}
	return read(ctx, s, func(t *Tables) []chat.MessageRow { return t.Messages(owner, conversation, before, limit) })
}

// Message is as of chat.Mailboxes.
func (s *Store) Message(ctx context.Context, owner chat.UserID, conversation chat.ConversationID, id chat.MessageID) (chat.MessageRow, bool, error) {
	return get(ctx, s, func(t *Tables) (chat.MessageRow, bool) { return t.Message(owner, conversation, id) })
}

// Inbox is as of chat.Mailboxes.
func (s *Store) Inbox(ctx context.Context, owner chat.UserID, after, upTo chat.HLC, limit int) ([]chat.InboxRow, error) {
	return read(ctx, s, func(t *Tables) []chat.InboxRow { return t.Inbox(owner, after, upTo, limit) })
}

// InboxFloor is 0: nothing expires.
func (s *Store) InboxFloor(ctx context.Context) (chat.HLC, error) {
	return read(ctx, s, func(t *Tables) chat.HLC { return t.floor })
}

// Retries is as of chat.Mailboxes.
func (s *Store) Retries(ctx context.Context, sender chat.UserID, client chat.ClientID) ([]chat.RetryRow, error) {
	return read(ctx, s, func(t *Tables) []chat.RetryRow { return t.Retries(sender, client) })
}

// Marks is as of chat.Mailboxes.
func (s *Store) Marks(ctx context.Context, owner chat.UserID, conversation chat.ConversationID) ([]chat.MarkRow, error) {
	return read(ctx, s, func(t *Tables) []chat.MarkRow { return t.Marks(owner, conversation) })
}

// Conversations is as of chat.Mailboxes.
func (s *Store) Conversations(ctx context.Context, owner chat.UserID, before chat.MessageID, limit int) ([]chat.ConversationRow, error) {
	return read(ctx, s, func(t *Tables) []chat.ConversationRow { return t.Conversations(owner, before, limit) })
}

// Activities is as of chat.Mailboxes.
func (s *Store) Activities(ctx context.Context, owner chat.UserID, before chat.MessageID, limit int) ([]chat.ActivityRow, error) {
	return read(ctx, s, func(t *Tables) []chat.ActivityRow { return t.Activities(owner, before, limit) })
}

// Conversation is as of chat.Mailboxes.
func (s *Store) Conversation(ctx context.Context, owner chat.UserID, id chat.ConversationID) (chat.ConversationRow, bool, error) {
	return get(ctx, s, func(t *Tables) (chat.ConversationRow, bool) { return t.Conversation(owner, id) })
}

// Contacts is as of chat.Mailboxes.
func (s *Store) Contacts(ctx context.Context, owner, after chat.UserID, limit int) ([]chat.ContactRow, error) {
	return read(ctx, s, func(t *Tables) []chat.ContactRow { return t.Contacts(owner, after, limit) })
}

// Contact is as of chat.Mailboxes.
func (s *Store) Contact(ctx context.Context, owner, other chat.UserID) ([]chat.ContactRow, error) {
	return read(ctx, s, func(t *Tables) []chat.ContactRow { return t.Contact(owner, other) })
}

// Blocks is as of chat.Mailboxes.
func (s *Store) Blocks(ctx context.Context, owner chat.UserID) ([]chat.BlockRow, error) {
	return read(ctx, s, func(t *Tables) []chat.BlockRow { return t.Blocks(owner) })
}

// Changes is as of chat.Mailboxes.
func (s *Store) Changes(ctx context.Context, owner chat.UserID, conversation chat.ConversationID, from, to chat.MessageID, limit int) ([]chat.ChangeRow, error) {
	return read(ctx, s, func(t *Tables) []chat.ChangeRow { return t.Changes(owner, conversation, from, to, limit) })
}

// GroupNames is as of chat.Mailboxes.
func (s *Store) GroupNames(ctx context.Context, owner chat.UserID, conversation chat.ConversationID) ([]chat.GroupRow, error) {
	return read(ctx, s, func(t *Tables) []chat.GroupRow { return t.GroupNames(owner, conversation) })
}

// Members is as of chat.Mailboxes.
func (s *Store) Members(ctx context.Context, owner chat.UserID, conversation chat.ConversationID, user chat.UserID) ([]chat.MemberRow, error) {
	return read(ctx, s, func(t *Tables) []chat.MemberRow { return t.Members(owner, conversation, user) })
}

// GroupZones is as of chat.Mailboxes.
func (s *Store) GroupZones(ctx context.Context, conversation chat.ConversationID) ([]chat.GroupZoneRow, error) {
	return read(ctx, s, func(t *Tables) []chat.GroupZoneRow { return t.GroupZones(conversation) })
}

// Owners is as of chat.Mailboxes.
func (s *Store) Owners(ctx context.Context, after chat.UserID, limit int) ([]chat.OwnerRow, error) {
	if limit < 1 {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "memstore.Owners", Message: "the limit is 1 or more"}
	}
	return read(ctx, s, func(t *Tables) []chat.OwnerRow { return t.Owners(after, limit) })
}

// Parked is as of chat.Log.
func (s *Store) Parked(ctx context.Context) ([]chat.ParkedRow, error) {
	return read(ctx, s, (*Tables).Parked)
}

// Streams is as of chat.Log.
func (s *Store) Streams(ctx context.Context) ([]chat.StreamEnd, error) {
	return read(ctx, s, (*Tables).Streams)
}
