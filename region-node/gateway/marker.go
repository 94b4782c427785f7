package gateway

import (
	"context"
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
	timer *time.Timer
	done  bool
}

type markKey struct {
	user         chat.UserID
	conversation chat.ConversationID
}

type mark struct {
	self chat.Owner
	upTo chat.MessageID
}

func newMarker(opt Options) *marker { return &marker{opt: opt, marks: make(map[markKey]mark)} }

func (m *marker) delivered(self chat.Owner, conversation chat.ConversationID, id chat.MessageID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done {
		return
	}
	key := markKey{self.ID, conversation}
	if old, ok := m.marks[key]; !ok || old.upTo.Compare(id) < 0 {
		m.marks[key] = mark{self: self, upTo: id}
	}
	if m.timer == nil {
		m.timer = time.AfterFunc(m.opt.Timing.DeliveredDelay, m.flush)
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

func (m *marker) flush() {
	m.mu.Lock()
	marks := m.marks
	m.marks = make(map[markKey]mark)
	m.timer = nil
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), m.opt.Timing.WriteTimeout)
	defer cancel()
	for key, mk := range marks {
		if err := submitMark(ctx, m.opt, mk.self, chat.Mark{Conversation: key.conversation, User: key.user, Kind: chat.MarkDelivered, UpTo: mk.upTo}, nil); err != nil {
			m.opt.Log.Debug("delivered mark not written; the next one covers it", "err", err)
		}
	}
}

// submitMark originates a mark for the reader and, where policy lets the other side know, for the peer. A mark that does not
// move forward is not written. A delivered mark that only its own reader would keep is not worth an op.
func submitMark(ctx context.Context, opt Options, self chat.Owner, mk chat.Mark, answer func(error)) error {
	if answer == nil {
		answer = func(err error) {
			if err != nil {
				opt.Log.Debug("mark refused", "err", err)
			}
		}
	}
	conversation, ok, err := opt.Store.Conversation(ctx, self.ID, mk.Conversation)
	if err != nil {
		return err
	}
	if !ok {
		return &chat.Error{Code: chat.CodeUnknownConversation, Op: "gateway.submitMark", Message: "no such conversation"}
	}
	owners := []chat.Owner{self}
	if residency.Write(opt.Topology, self.Zone, conversation.Peer.Zone).Allowed() {
		owners = append(owners, conversation.Peer)
	} else if mk.Kind == chat.MarkDelivered {
		return nil
	}
	known, err := opt.Store.Marks(ctx, self.ID, mk.Conversation)
	if err != nil {
		return err
	}
	for _, row := range known {
		if row.User == mk.User && row.Kind == mk.Kind && row.UpTo.Compare(mk.UpTo) >= 0 {
			answer(nil)
			return nil
		}
	}
	opt.Messages.SubmitAsync(messages.Request{
		Op:     chat.Op{Kind: chat.OpMark, Author: self, Owners: owners, Conversation: mk.Conversation, Client: markClient(mk), Mark: &mk},
		Answer: func(a replication.Submitted) { answer(a.Err) },
	})
	return nil
}

// markClient gives an op key to a mark: what it marks is its identity.
func markClient(mk chat.Mark) chat.ClientID {
	c := chat.ClientID(mk.UpTo)
	c[0] ^= byte(mk.Kind)
	return c
}
