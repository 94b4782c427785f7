package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"meridian/chat"
	"meridian/region-node/auth"
	"meridian/region-node/people"
	"meridian/region-node/wire"
	"meridian/replication"
)

// session is one socket being served. The read loop handles the client's frames; one writer, started on demand, sends
// what is queued and what the inbox log brings, so that an idle socket costs one goroutine.
type session struct {
	g      *Gateway
	conn   Conn
	claims auth.Claims
	self   chat.Owner
	id     string
	addr   netip.Addr
	// edge is the region where the socket ends; through, another node passes it on.
	edge    chat.Region
	through bool
	log     *slog.Logger
	ctx     context.Context // ends with the socket
	cancel  context.CancelFunc

	mu       sync.Mutex
	queue    [][]byte // frames that wait for the writer
	queued   int      // their bytes
	dirty    bool     // the inbox log may have grown
	writing  bool
	ended    bool
	own      map[chat.ClientID]struct{} // sends of this socket whose message the log will bring back
	cursor   string                     // of the last complete read, for pong
	rooms    map[chat.ConversationID]chat.ConversationRow
	watching map[chat.UserID]struct{}
	groups   []chat.ConversationID // whose logs it reads; only grows

	names  map[string]chat.Owner       // people written to by name; the read loop's alone
	typed  time.Time                   // when a hint went to a group last; the read loop's alone
	reader *replication.Reader         // the writer's alone
	steps  map[chat.ConversationID]int // of memberships, that this socket has taken in, by group; the writer's alone
	told   told                        // the writer's alone
	blocks atomic.Pointer[people.Blocks]
}

// maxOwnWaiting bounds the sends of one socket that the log has not brought back yet.
const maxOwnWaiting = 4096

// open builds the session, answers welcome and starts what was missed.
func (g *Gateway) open(ctx context.Context, conn Conn, h Hello) (*session, error) {
	c := h.Claims
	spec, ok := g.opt.Topology.Zone(c.Zone)
	if !ok {
		return nil, &chat.Error{Code: chat.CodeUnauthorized, Op: "gateway.open", Message: "home zone is not known"}
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &session{
		g: g, conn: conn, claims: c, ctx: ctx, cancel: cancel, id: uuid.NewString(),
		self: chat.Owner{ID: c.User, Zone: c.Zone, Name: c.Name}, addr: h.Addr, edge: h.Edge, through: h.Through,
		own: make(map[chat.ClientID]struct{}), rooms: make(map[chat.ConversationID]chat.ConversationRow), watching: make(map[chat.UserID]struct{}),
		names:   make(map[string]chat.Owner),
		steps:   make(map[chat.ConversationID]int),
		log:     g.opt.Log,
		writing: true, // holds the writer off until the welcome is queued: a wake-up may come as soon as it is subscribed
	}
	g.opt.Messages.Hub().Subscribe(c.User, s) // subscribe before the marks are taken: nothing falls between
	reader, reset, err := s.position(ctx, h.Frame.Resume)
	if err == nil {
		err = s.loadBlocks()
	}
	if err != nil {
		s.unsubscribe()
		cancel()
		return nil, err
	}
	s.reader = reader
	s.cursor = reader.Cursor().String()
	s.push(wire.Encode(wire.Welcome{
		T: "welcome", Session: s.id, User: wire.User{ID: c.User.String(), Username: c.Name},
		Region: h.Edge, HomeZone: c.Zone, MaxLevel: spec.MaxLevel(), Cursor: s.cursor, Reset: reset,
		Endpoints: g.opt.Endpoints(c, h.Addr),
		Limits: wire.Limits{
			FrameBytes: g.opt.Limits.FrameBytes, TextBytes: g.opt.Limits.TextBytes, SendsPerSecond: g.opt.Limits.SendsPerSecond,
			ClientOutboxMs: g.opt.Retention.ClientOutbox.Milliseconds(),
			EmojiBytes:     chat.MaxEmojiBytes, GroupNameBytes: g.opt.Limits.GroupNameBytes,
		},
		HeartbeatMs: g.opt.Timing.Heartbeat.Milliseconds(),
	}))
	g.add(s)
	g.opt.Presence.Join(c.User, c.Zone)
	go s.watchPeers()
	s.mu.Lock()
	s.writing = false
	s.mu.Unlock()
	s.Wake()
	return s, nil
}

// position finds where in the inbox log the client stands.
func (s *session) position(ctx context.Context, resume string) (*replication.Reader, bool, error) {
	marks := s.g.opt.Messages.Marks()
	if resume == "" {
		return replication.NewReader(s.g.opt.Identity, marks), false, s.enterAll(ctx, marks.Local)
	}
	cursor, err := replication.ParseCursor(resume)
	if err != nil {
		return nil, false, err
	}
	if err := s.enterAll(ctx, min(cursor.Local, cursor.Global)); err != nil { // after the marks: who joins later is told in the own log
		return nil, false, err
	}
	floor, err := s.g.opt.Store.InboxFloor(ctx)
	if err != nil {
		return nil, false, err
	}
	reader, reset := replication.Resume(cursor, s.g.opt.Identity, marks, floor)
	if !reset {
		if reset, err = s.tooMuch(ctx, reader, marks); err != nil {
			return nil, false, err
		}
		if reset {
			reader = replication.NewReader(s.g.opt.Identity, marks)
		}
	}
	if reset {
		s.g.opt.Metrics.Count("resets_total", "retention")
	} else {
		s.g.opt.Metrics.Count("resumes_total")
	}
	return reader, reset, nil
}

// tooMuch says whether so much would be sent again that reading the conversations anew is better.
func (s *session) tooMuch(ctx context.Context, r *replication.Reader, marks replication.Marks) (bool, error) {
	after, upTo, ok := r.Query(marks)
	if !ok {
		return false, nil
	}
	left := s.g.opt.Limits.ResumeMaxEvents
	count := func(owner chat.UserID, group bool) error {
		if entries, ok := s.g.opt.Messages.Hub().Since(owner, group, after, upTo); ok {
			left -= len(entries)
			return nil
		}
		rows, err := s.g.opt.Store.Inbox(ctx, owner, after, upTo, left+1)
		left -= len(rows)
		return err
	}
	err := count(s.self.ID, false)
	for _, group := range s.entered() {
		if err != nil || left < 0 {
			break
		}
		err = count(chat.UserID(group), true)
	}
	return left < 0, err
}

// end leaves everything the session joined.
func (s *session) end() {
	s.mu.Lock()
	s.ended = true
	watching := s.watching
	s.watching = nil
	s.mu.Unlock()
	s.cancel()
	s.unsubscribe()
	for peer := range watching {
		s.g.opt.Presence.Unwatch(peer, s)
	}
	s.g.opt.Presence.Leave(s.self.ID, s.self.Zone)
	s.conn.Close(1000, "")
}

func (s *session) readLoop(ctx context.Context) {
	for {
		data, err := s.conn.Read()
		if err == nil {
			if !s.frame(ctx, data) {
				return
			}
			continue
		}
		var e *chat.Error
		if errors.As(err, &e) {
			s.g.opt.Metrics.Count("refused_total", string(e.Code))
			if errors.Is(err, errBinary) {
				s.conn.Close(1003, "text frames only")
				return
			}
			if e.Code == chat.CodeHeartbeatTimeout {
				s.g.opt.Metrics.Count("heartbeat_timeouts_total")
			}
			Refuse(s.conn, err, "")
		}
		return
	}
}

// fail answers a frame with a typed error; the connection goes on.
func (s *session) fail(err error, re string) {
	e := chat.AsError(err)
	s.g.opt.Metrics.Count("refused_total", string(e.Code))
	if e.Code == chat.CodeInternal {
		s.log.Error("frame failed", "session", s.id, "err", err)
	}
	s.push(wire.Encode(wire.ErrorFrame{T: "error", Re: re, Error: wire.ErrorOf(e)}))
}

// push queues a frame for the client. A queue over its limit closes the socket: the client resumes by its cursor.
func (s *session) push(frame []byte) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.queue = append(s.queue, frame)
	s.queued += len(frame)
	over := s.queued > s.g.opt.Limits.SendQueueBytes
	s.startWriter()
	s.mu.Unlock()
	if over {
		go s.slow() // push never blocks: it is called from the node's loop
	}
}

// pushEphemeral queues what may be lost: it is dropped rather than letting the queue grow.
func (s *session) pushEphemeral(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && s.queued < s.g.opt.Limits.SendQueueBytes/4 {
		s.queue = append(s.queue, frame)
		s.queued += len(frame)
		s.startWriter()
	}
}

func (s *session) slow() {
	s.g.opt.Metrics.Count("slow_consumers_total")
	s.conn.Close(CloseCode(chat.CodeSlowConsumer), string(chat.CodeSlowConsumer))
}

// Wake tells that the inbox log may have grown.
func (s *session) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.dirty = true
		s.startWriter()
	}
}

// startWriter is called with mu held.
func (s *session) startWriter() {
	if !s.writing && !s.ended {
		s.writing = true
		go s.write()
	}
}

// write sends until nothing waits. What is queued goes first: welcome comes before the log.
func (s *session) write() {
	defer s.contain()
	for {
		s.mu.Lock()
		frames, dirty := s.queue, s.dirty
		s.queue, s.queued, s.dirty = nil, 0, false
		if s.ended || (len(frames) == 0 && !dirty) {
			s.writing = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if err := s.send(frames); err != nil {
			return // writing stays true: the socket is over
		}
		if dirty {
			if err := s.pump(); err != nil {
				return
			}
		}
	}
}

func (s *session) send(frames [][]byte) error {
	if len(frames) == 0 {
		return nil
	}
	err := s.conn.Write(frames)
	if err != nil {
		s.slow()
	}
	return err
}
