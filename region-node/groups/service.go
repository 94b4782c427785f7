package groups

import (
	"context"
	"sync"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/replication"
)

const (
	// cacheSteps bounds what is kept of all groups, in steps of memberships; one takes about 300 bytes.
	cacheSteps = 100_000
	// cacheFor is how long a group is believed when nothing is heard of it: another node of the region may have changed it.
	cacheFor = 3 * time.Second
)

// Submitter makes an op durable in this region and gives it as stamped, after all of the given ids. Errors are of type
// *chat.Error.
type Submitter interface {
	SubmitAfter(ctx context.Context, op chat.Op, after ...chat.MessageID) (chat.Op, error)
}

// Directory finds people by name. The error has CodeUnknownUser when there is none.
type Directory interface {
	Resolve(ctx context.Context, username string) (chat.Owner, error)
}

// Options make a Service. All are needed.
type Options struct {
	Self      chat.Region
	Limits    config.Limits
	Topology  chat.Topology
	Store     chat.Mailboxes
	Submitter Submitter
	Directory Directory
	// Marks gives what is visible here.
	Marks func() replication.Marks
	Now   func() time.Time
}

// Group is a group as this region knew it at one moment. It does not change.
type Group struct {
	ID      chat.ConversationID
	Name    string
	Row     chat.GroupRow // the name that counts
	Members *replication.Members
}

// Mailbox is the owner of the group's messages, marks and inbox log.
func (g *Group) Mailbox() chat.UserID { return chat.UserID(g.ID) }

// Owners gives the owners of an op in the group.
func (g *Group) Owners() []chat.Owner { return g.Members.Owners(g.ID) }

// Service is safe for concurrent use.
type Service struct {
	opt Options

	mu      sync.Mutex
	known   map[chat.ConversationID]*cached
	loading map[chat.ConversationID]*load
	steps   int // of known
	// heard counts what was heard of groups: what was read before is not kept after.
	heard uint64
}

type cached struct {
	group *Group
	steps int
	asOf  chat.HLC // every entry of the group's log up to here is in it
	until time.Time
	used  time.Time
}

// load is a reading under way, which others wait for.
type load struct {
	heard uint64
	done  chan struct{}
	group *Group
	err   error
}

// New makes a Service.
func New(opt Options) *Service {
	return &Service{opt: opt, known: make(map[chat.ConversationID]*cached), loading: make(map[chat.ConversationID]*load)}
}

// Group gives a group. The error has CodeUnknownConversation when this region has none of that id.
func (s *Service) Group(ctx context.Context, id chat.ConversationID) (*Group, error) {
	now := s.opt.Now()
	s.mu.Lock()
	if c := s.known[id]; c != nil && now.Before(c.until) {
		c.used = now
		s.mu.Unlock()
		return c.group, nil
	}
	l := s.loading[id]
	if l == nil || l.heard != s.heard {
		l = &load{heard: s.heard, done: make(chan struct{})}
		s.loading[id] = l
		s.mu.Unlock()
		s.run(ctx, id, l)
		return l.group, l.err
	}
	s.mu.Unlock()
	select {
	case <-l.done:
		if l.err != nil { // perhaps only since the one who read gave up
			return s.read(ctx, id)
		}
		return l.group, nil
	case <-ctx.Done():
		return nil, &chat.Error{Code: chat.CodeUnknownOutcome, Op: "groups.Group", Message: "not read in time", Cause: ctx.Err()}
	}
}

// run reads a group for all who wait for it, and keeps it.
func (s *Service) run(ctx context.Context, id chat.ConversationID, l *load) {
	asOf := s.opt.Marks().Local
	l.group, l.err = s.read(ctx, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(l.done)
	if s.loading[id] == l {
		delete(s.loading, id)
	}
	if l.err == nil && s.heard == l.heard {
		s.keep(id, l.group, asOf)
	}
}

func (s *Service) read(ctx context.Context, id chat.ConversationID) (*Group, error) {
	names, err := s.opt.Store.GroupNames(ctx, chat.UserID(id), id)
	if err != nil {
		return nil, err
	}
	steps, err := s.opt.Store.Members(ctx, chat.UserID(id), id, chat.NoUser)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 && len(steps) == 0 {
		return nil, unknown("groups.Group")
	}
	g := &Group{ID: id, Members: replication.NewMembers(steps)}
	g.Row, _ = g.Members.Name(names)
	g.Name = g.Row.Name
	return g, nil
}

// keep remembers a group, and forgets those that were not used for longest; called with mu held.
func (s *Service) keep(id chat.ConversationID, g *Group, asOf chat.HLC) {
	s.forget(id)
	now := s.opt.Now()
	c := &cached{group: g, steps: 1 + g.Members.Len(), asOf: asOf, until: now.Add(cacheFor), used: now}
	for len(s.known) > 0 && s.steps+c.steps > cacheSteps {
		var oldest chat.ConversationID
		for other, k := range s.known {
			if oldest == chat.NoConversation || k.used.Before(s.known[oldest].used) {
				oldest = other
			}
		}
		s.forget(oldest)
	}
	s.known[id] = c
	s.steps += c.steps
}

func (s *Service) forget(id chat.ConversationID) {
	if c := s.known[id]; c != nil {
		s.steps -= c.steps
		delete(s.known, id)
	}
}

// Heard tells of an entry of a group's log at arrival that changed the group or its members: what was read before it counts
// no more.
func (s *Service) Heard(id chat.ConversationID, arrival chat.HLC) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.known[id]; c != nil && c.asOf >= arrival {
		return
	}
	s.heard++
	s.forget(id)
}

func unknown(op string) error {
	return &chat.Error{Code: chat.CodeUnknownConversation, Op: op, Message: "no such conversation"}
}
