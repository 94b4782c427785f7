package seal

import (
	"context"
	"errors"
	"slices"
	"sync"

	"meridian/chat"
)

// Wrap gives a store that keeps bodies sealed: a message's under the key of (Sender, OwnerZone), a change's under that of
// (User, OwnerZone), those in ops as ops.go says. The caller's rows stay as they are, in the clear. A body whose key is
// destroyed reads as nil, so that the rest of a page can be read and a relay can see that there is nothing to deliver.
//
// An author's first text in a zone needs a data key, which must be durable before the text. Commit does not wait for that:
// such a batch and those behind it queue, in order, while the keys that they lack are made together.
func Wrap(s chat.Store, sealer *Sealer) chat.Store { return &store{Store: s, sealer: sealer} }

type store struct {
	chat.Store
	sealer *Sealer

	mu      sync.Mutex // also keeps the order of commits
	queue   []commit
	working bool
}

type commit struct {
	batch *chat.Batch
	done  func(error)
}

// Commit implements chat.Store.
func (s *store) Commit(b *chat.Batch, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.working && len(s.lacking([]commit{{batch: b}})) == 0 {
		s.commit(commit{b, done})
		return
	}
	s.queue = append(s.queue, commit{b, done})
	if !s.working {
		s.working = true
		go s.work()
	}
}

// work commits what is queued, until nothing is.
func (s *store) work() {
	for {
		s.mu.Lock()
		queue := s.queue
		s.queue = nil
		s.working = len(queue) > 0
		s.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		s.makeKeys(s.lacking(queue))
		for _, c := range queue {
			s.commit(c)
		}
	}
}

func (s *store) commit(c commit) {
	sealed, err := s.sealed(context.Background(), c.batch)
	if err != nil {
		go c.done(err)
		return
	}
	s.Store.Commit(sealed, c.done)
}

// lacking gives the data keys that these commits need and that are not in memory, each once.
func (s *store) lacking(queue []commit) []keyName {
	var names []keyName
	need := func(author chat.UserID, zone chat.Zone, body []byte) {
		name := keyName{author, zone}
		if len(body) > 0 && s.sealer.cached(name) == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	ofOp := func(b body) { need(b.author, s.sealer.under(b), *b.text) }
	for _, c := range queue {
		for i := range c.batch.Messages {
			m := &c.batch.Messages[i]
			need(m.Sender, m.OwnerZone, m.Body)
		}
		for i := range c.batch.Changes {
			m := &c.batch.Changes[i]
			need(m.User, m.OwnerZone, m.Body)
		}
		for i := range c.batch.Log {
			eachBody(&c.batch.Log[i].Op, ofOp)
		}
		for i := range c.batch.Parked {
			eachBody(&c.batch.Parked[i].Op, ofOp)
		}
	}
	return names
}

// makersAtOnce bounds the keys that are made side by side; the store syncs them together.
const makersAtOnce = 64

// makeKeys loads or makes keys. What fails here fails again, and is told, when a text is sealed.
func (s *store) makeKeys(names []keyName) {
	var group sync.WaitGroup
	slots := make(chan struct{}, makersAtOnce)
	for _, name := range names {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			_, _ = s.sealer.dataKey(context.Background(), name.author, name.zone, true)
		})
	}
	group.Wait()
}

// sealed gives a copy of b with its bodies sealed; b itself when it has none.
func (s *store) sealed(ctx context.Context, b *chat.Batch) (*chat.Batch, error) {
	if len(b.Messages)+len(b.Changes)+len(b.Log)+len(b.Parked) == 0 {
		return b, nil
	}
	out := *b
	out.Messages, out.Changes = slices.Clone(b.Messages), slices.Clone(b.Changes)
	out.Log, out.Parked = slices.Clone(b.Log), slices.Clone(b.Parked)
	var err error
	for i := range out.Messages {
		m := &out.Messages[i]
		if m.Body, err = s.sealer.Seal(ctx, m.ID, m.Sender, m.OwnerZone, m.Body); err != nil {
			return nil, err
		}
	}
	for i := range out.Changes {
		c := &out.Changes[i]
		if c.Body, err = s.sealer.Seal(ctx, c.Op, c.User, c.OwnerZone, c.Body); err != nil {
			return nil, err
		}
	}
	for i := range out.Log {
		if err := s.sealer.sealOp(ctx, &out.Log[i].Op); err != nil {
			return nil, err
		}
	}
	for i := range out.Parked {
		if err := s.sealer.sealOp(ctx, &out.Parked[i].Op); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

// opened gives body in the clear, nil when its key is destroyed.
func (s *Sealer) opened(ctx context.Context, id chat.MessageID, author chat.UserID, zone chat.Zone, body []byte) ([]byte, error) {
	plain, err := s.Open(ctx, id, author, zone, body)
	if errors.Is(err, ErrKeyGone) {
		return nil, nil
	}
	return plain, err
}

// Messages implements chat.Mailboxes.
func (s *store) Messages(ctx context.Context, owner chat.UserID, conversation chat.ConversationID, before chat.MessageID, limit int) ([]chat.MessageRow, error) {
	rows, err := s.Store.Messages(ctx, owner, conversation, before, limit)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].Body, err = s.sealer.opened(ctx, rows[i].ID, rows[i].Sender, rows[i].OwnerZone, rows[i].Body); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// Message implements chat.Mailboxes.
func (s *store) Message(ctx context.Context, owner chat.UserID, conversation chat.ConversationID, id chat.MessageID) (chat.MessageRow, bool, error) {
	row, ok, err := s.Store.Message(ctx, owner, conversation, id)
	if err != nil || !ok {
		return chat.MessageRow{}, false, err
	}
	if row.Body, err = s.sealer.opened(ctx, id, row.Sender, row.OwnerZone, row.Body); err != nil {
		return chat.MessageRow{}, false, err
	}
	return row, true, nil
}

// Changes implements chat.Mailboxes.
func (s *store) Changes(ctx context.Context, owner chat.UserID, conversation chat.ConversationID, from, to chat.MessageID, limit int) ([]chat.ChangeRow, error) {
	rows, err := s.Store.Changes(ctx, owner, conversation, from, to, limit)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].Body, err = s.sealer.opened(ctx, rows[i].Op, rows[i].User, rows[i].OwnerZone, rows[i].Body); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// ReadLog implements chat.Log.
func (s *store) ReadLog(ctx context.Context, stream chat.StreamID, after, upTo uint64, to chat.Region, limit int) ([]chat.Op, error) {
	ops, err := s.Store.ReadLog(ctx, stream, after, upTo, to, limit)
	if err != nil {
		return nil, err
	}
	for i := range ops {
		if err := s.sealer.openOp(ctx, &ops[i]); err != nil {
			return nil, err
		}
	}
	return ops, nil
}

// Parked implements chat.Log.
func (s *store) Parked(ctx context.Context) ([]chat.ParkedRow, error) {
	rows, err := s.Store.Parked(ctx)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if err := s.sealer.openOp(ctx, &rows[i].Op); err != nil {
			return nil, err
		}
	}
	return rows, nil
}
