package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"meridian/chat"
	"meridian/region-node/messages"
	"meridian/replication"
	"meridian/residency"
)

// marker turns "written to a device" into delivered marks. It gathers them per person and conversation for a moment, so that
// a burst of messages costs one mark.
type marker struct {
	opt   Options
	mu    sync.Mutex
	marks map[markKey]mark
	order []markDue // of marks, oldest first: each is due on its own, so that marks do not come in bursts
	timer *time.Timer
	done  bool
	// recent is what the last marks said, to spare reading it again. The timer's alone.
	recent map[markKey]markState
}

type markKey struct {
	user         chat.UserID
	conversation chat.ConversationID
}

type mark struct {
	self chat.Owner
	upTo chat.MessageID
}

type markDue struct {
	key markKey
	at  time.Time
}

// markState is whom a conversation is with, and how far it is marked.
type markState struct {
	peer chat.Owner
	upTo chat.MessageID
}

// maxRecentMarks bounds what is remembered of marks; it is forgotten as a whole beyond that.
const maxRecentMarks = 50_000

func newMarker(opt Options) *marker {
	return &marker{opt: opt, marks: make(map[markKey]mark), recent: make(map[markKey]markState)}
}

func (m *marker) delivered(self chat.Owner, conversation chat.ConversationID, id chat.MessageID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done {
		return
	}
	key := markKey{self.ID, conversation}
	old, gathered := m.marks[key]
	if !gathered {
		m.order = append(m.order, markDue{key, m.opt.Now().Add(m.opt.Timing.DeliveredDelay)})
	}
	if !gathered || old.upTo.Compare(id) < 0 {
		m.marks[key] = mark{self: self, upTo: id}
	}
	m.arm()
}

// arm starts the timer for the oldest mark; called with mu held.
func (m *marker) arm() {
	if m.timer == nil && len(m.order) > 0 && !m.done {
		m.timer = time.AfterFunc(m.order[0].at.Sub(m.opt.Now()), m.flush)
	}
}

func (m *marker) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = true
	if m.timer != nil {
		m.timer.Stop()
	}
}

// flush originates the marks that are due. The next timer starts when it is done, so that one flush works at a time.
func (m *marker) flush() {
	m.mu.Lock()
	marks := make(map[markKey]mark)
	now, n := m.opt.Now(), 0
	for n < len(m.order) && !m.order[n].at.After(now) {
		key := m.order[n].key
		marks[key] = m.marks[key]
		delete(m.marks, key)
		n++
	}
	m.order = m.order[n:]
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), m.opt.Timing.WriteTimeout)
	defer cancel()
	for key, mk := range marks {
		if err := m.submit(ctx, key, mk); err != nil {
			m.opt.Log.Debug("delivered mark not written; the next one covers it", "err", err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.timer = nil
	m.arm()
}

func (m *marker) submit(ctx context.Context, key markKey, mk mark) error {
	chatMark := chat.Mark{Conversation: key.conversation, User: key.user, Kind: chat.MarkDelivered, UpTo: mk.upTo}
	state, ok := m.recent[key]
	if !ok {
		var err error
		if state, err = readMark(ctx, m.opt.Store, mk.self.ID, chatMark); err != nil {
			return err
		}
	}
	if state.upTo.Compare(mk.upTo) >= 0 || !residency.Write(m.opt.Topology, mk.self.Zone, state.peer.Zone).Allowed() {
		return nil // known, or nobody else may know: not worth an op
	}
	if len(m.recent) >= maxRecentMarks {
		clear(m.recent)
	}
	m.recent[key] = markState{peer: state.peer, upTo: mk.upTo}
	submitMark(m.opt, mk.self, []chat.Owner{mk.self, state.peer}, chatMark, func(err error) {
		if err != nil {
			m.opt.Log.Debug("delivered mark refused", "err", err)
		}
	})
	return nil
}

// readMark reads whom a conversation is with and how far it is marked. The error has CodeUnknownConversation.
func readMark(ctx context.Context, store chat.Store, owner chat.UserID, mk chat.Mark) (markState, error) {
	conversation, ok, err := store.Conversation(ctx, owner, mk.Conversation)
	if err != nil {
		return markState{}, err
	}
	if !ok {
		return markState{}, &chat.Error{Code: chat.CodeUnknownConversation, Op: "gateway.readMark", Message: "no such conversation"}
	}
	upTo, err := marked(ctx, store, owner, mk)
	return markState{peer: conversation.Peer, upTo: upTo}, err
}

// marked reads how far the mark's user has come, as kept for owner.
func marked(ctx context.Context, store chat.Store, owner chat.UserID, mk chat.Mark) (chat.MessageID, error) {
	known, err := store.Marks(ctx, owner, mk.Conversation)
	for _, row := range known {
		if row.User == mk.User && row.Kind == mk.Kind {
			return row.UpTo, err
		}
	}
	return chat.NoMessage, err
}

// submitMark originates a mark for those owners whom policy lets know.
func submitMark(opt Options, self chat.Owner, owners []chat.Owner, mk chat.Mark, answer func(error)) {
	owners = slices.DeleteFunc(slices.Clone(owners), func(o chat.Owner) bool { return !residency.Write(opt.Topology, self.Zone, o.Zone).Allowed() })
	opt.Messages.SubmitAsync(messages.Request{
		Op:     chat.Op{Kind: chat.OpMark, Author: self, Owners: owners, Conversation: mk.Conversation, Client: markClient(mk), Mark: &mk},
		Answer: func(a replication.Submitted) { answer(a.Err) },
	})
}

// markClient gives an op key to a mark: what it marks is its identity.
func markClient(mk chat.Mark) chat.ClientID {
	c := chat.ClientID(mk.UpTo)
	c[0] ^= byte(mk.Kind)
	return c
}
