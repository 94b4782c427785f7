package gateway

import (
	"cmp"
	"context"
	"slices"
	"time"

	"meridian/chat"
	"meridian/region-node/groups"
	"meridian/region-node/messages"
)

// pageEntries is how many entries of one inbox log one read takes.
const pageEntries = 256

// gather reads the person's own inbox log and those of the person's groups as one, in (after, upTo]: from what the hub was
// told, or from the store. An entry that several logs have comes once. complete says that they are all, and not cut off by
// a limit.
func (s *session) gather(after, upTo chat.HLC) (entries []messages.Entry, complete bool, err error) {
	r := logReader{s: s, after: after, bound: upTo}
	if err := r.read(s.self.ID, false); err != nil {
		return nil, false, err
	}
	for i := range r.entries {
		if isStep(&r.entries[i].Row) {
			s.enter(r.entries[i].Row.Conversation)
		}
	}
	for _, group := range s.entered() {
		if err := r.read(chat.UserID(group), true); err != nil {
			return nil, false, err
		}
	}
	if err := r.catchUp(); err != nil {
		return nil, false, err
	}
	return r.merged(), r.bound == upTo, nil
}

// logReader gathers entries of several logs. bound shrinks to where the shortest of the reads that were cut off ends.
type logReader struct {
	s            *session
	after, bound chat.HLC
	entries      []messages.Entry
}

func (r *logReader) read(owner chat.UserID, group bool) error {
	if entries, ok := r.s.g.opt.Messages.Hub().Since(owner, group, r.after, r.bound); ok {
		r.entries = append(r.entries, entries...)
		return nil
	}
	rows, err := r.s.g.opt.Store.Inbox(r.s.ctx, owner, r.after, r.bound, pageEntries)
	if err != nil {
		return err
	}
	if len(rows) == pageEntries {
		last := rows[len(rows)-1].Arrival
		if rows[0].Arrival < last { // another entry of the last arrival may have been cut off
			last--
		}
		r.bound = last
	}
	r.add(rows)
	return nil
}

func (r *logReader) add(rows []chat.InboxRow) {
	for i := range rows {
		r.entries = append(r.entries, messages.Entry{Row: rows[i]})
	}
}

// isStep says whether an entry says that a group or its members changed.
func isStep(row *chat.InboxRow) bool {
	return row.Kind == chat.InboxMember || row.Kind == chat.InboxGroup
}

// catchUp looks for steps that came late: what was done after such a step, but came here before it, may have been hidden for
// want of it, or its log was not read. That comes now, after the news of an own joining. The cursor does not move on with it, so
// that all of it comes again should the socket end in between; what the client has it drops.
func (r *logReader) catchUp() error {
	from := make(map[chat.ConversationID]chat.HLC)
	var own []messages.Entry
	for _, e := range r.entries {
		if !isStep(&e.Row) {
			continue
		}
		if e.Row.Owner == r.s.self.ID {
			own = append(own, e)
		}
		r.s.g.opt.Groups.Heard(e.Row.Conversation, e.Row.Arrival)
		at, err := r.s.stepTime(&e.Row)
		if err != nil {
			return err
		}
		if known, ok := from[e.Row.Conversation]; !ok || at < known {
			from[e.Row.Conversation] = at
		}
	}
	for group, at := range from {
		changed, err := r.s.tookIn(group)
		if err != nil {
			return err
		}
		if !changed || at >= r.after {
			continue
		}
		rows, err := r.s.g.opt.Store.Inbox(r.s.ctx, chat.UserID(group), at, r.after, r.s.g.opt.Limits.ResumeMaxEvents)
		if err != nil {
			return err
		}
		r.add(rows)
	}
	for _, news := range own {
		r.first(news)
	}
	return nil
}

// first puts news of the person's own membership before what was done in the group since, where some of that came here earlier.
func (r *logReader) first(news messages.Entry) {
	at := news.Row.Op.Time()
	if slices.ContainsFunc(r.entries, func(e messages.Entry) bool {
		return e.Row.Conversation == news.Row.Conversation && e.Row.Arrival > at && e.Row.Arrival < news.Row.Arrival
	}) {
		news.Row.Arrival = at
		r.entries = append(r.entries, news)
	}
}

// stepTime gives from when on the step of an entry may change what is shown: from its own time; where a repair brought steps in,
// for as long as something may be late.
func (s *session) stepTime(row *chat.InboxRow) (chat.HLC, error) {
	g, err := s.g.opt.Groups.Group(s.ctx, row.Conversation)
	if err != nil && chat.CodeOf(err) != chat.CodeUnknownConversation {
		return 0, err
	}
	if err == nil && row.Kind == chat.InboxGroup && g.Row.Op != row.Op {
		if _, ok := g.Members.Step(row.Op); !ok {
			return row.Op.Time().Add(-lateBy), nil
		}
	}
	return row.Op.Time(), nil
}

// tookIn says whether a group has steps that this socket has not taken in, and takes them in.
func (s *session) tookIn(id chat.ConversationID) (bool, error) {
	g, err := s.g.opt.Groups.Group(s.ctx, id)
	if chat.CodeOf(err) == chat.CodeUnknownConversation {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	changed := s.steps[id] != g.Members.Len()
	s.steps[id] = g.Members.Len()
	return changed, nil
}

// merged gives the entries up to bound in the order of (arrival, op), each once.
func (r *logReader) merged() []messages.Entry {
	list := slices.DeleteFunc(r.entries, func(e messages.Entry) bool { return e.Row.Arrival > r.bound })
	compare := func(a, b messages.Entry) int {
		return cmp.Or(cmp.Compare(a.Row.Arrival, b.Row.Arrival), a.Row.Op.Compare(b.Row.Op), cmp.Compare(a.Row.Kind, b.Row.Kind))
	}
	slices.SortStableFunc(list, compare) // the own log was read first, so its entry stays
	return slices.CompactFunc(list, func(a, b messages.Entry) bool { return compare(a, b) == 0 })
}

// lateBy is how long after it was done something in a group may come here and is still told: to who has left since, and where
// steps of memberships were missing.
const lateBy = 24 * time.Hour

// enterAll has the socket read the logs of all groups that the person is in, or was not long before from.
func (s *session) enterAll(ctx context.Context, from chat.HLC) error {
	rows, err := groups.Rows(ctx, s.g.opt.Store, s.self.ID)
	if err != nil {
		return err
	}
	for i := range rows {
		gone, err := s.gone(ctx, rows[i].ID, from)
		if err != nil {
			return err
		}
		if !gone {
			s.enter(rows[i].ID)
		}
	}
	return nil
}

// gone says whether the person left a group so long before from that nothing more is to come.
func (s *session) gone(ctx context.Context, id chat.ConversationID, from chat.HLC) (bool, error) {
	steps, err := s.g.opt.Store.Members(ctx, chat.UserID(id), id, s.self.ID)
	if n := len(steps); err != nil || n == 0 || steps[n-1].Role != chat.RoleNone || steps[n-1].Op.Time().Add(lateBy) > from {
		return false, err
	}
	g, err := s.g.opt.Groups.Group(ctx, id) // whether the step counts depends on the others
	return err == nil && g.Members.Role(s.self.ID) == chat.RoleNone, err
}

// enter has the socket read the log of a group.
func (s *session) enter(id chat.ConversationID) {
	if slices.Contains(s.entered(), id) {
		return
	}
	s.g.opt.Messages.Hub().Subscribe(chat.UserID(id), s) // not under the lock: the hub calls Wake under its own
	s.mu.Lock()
	s.groups = append(s.groups, id)
	ended := s.ended
	s.mu.Unlock()
	if ended {
		s.g.opt.Messages.Hub().Unsubscribe(chat.UserID(id), s)
	}
}

// entered gives the groups whose logs the socket reads.
func (s *session) entered() []chat.ConversationID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups
}

// unsubscribe ends the reading of all logs.
func (s *session) unsubscribe() {
	hub := s.g.opt.Messages.Hub()
	hub.Unsubscribe(s.self.ID, s)
	for _, group := range s.entered() {
		hub.Unsubscribe(chat.UserID(group), s)
	}
}
