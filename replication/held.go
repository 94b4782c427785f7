package replication

import (
	"slices"
	"time"

	"meridian/chat"
)

// SendKey names a send as its author's client does.
type SendKey struct {
	Author chat.UserID
	Client chat.ClientID
}

// isSend says whether the op is remembered by its client id, so that a repetition is answered and does nothing.
func isSend(op *chat.Op) bool { return op.Kind == chat.OpMessage || op.Kind == chat.OpChange }

// sendKeys gives the sends that op is, or brings, each once.
func sendKeys(op *chat.Op) []SendKey {
	if isSend(op) {
		return []SendKey{{op.Author.ID, op.Client}}
	}
	if op.Kind != chat.OpRows {
		return nil
	}
	var keys []SendKey
	add := func(k SendKey) {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	for i := range op.Rows.Retries {
		add(SendKey{op.Rows.Retries[i].Sender, op.Rows.Retries[i].Client})
	}
	for i := range op.Rows.Messages {
		add(SendKey{op.Rows.Messages[i].Sender, op.Rows.Messages[i].Client})
	}
	return keys
}

// retryRows are what remembers the sends that op is, or brings.
func retryRows(op *chat.Op) []chat.RetryRow {
	if isSend(op) {
		return []chat.RetryRow{retryRow(op)}
	}
	return op.Rows.Retries
}

// sendsOf gives the sends that op is, or brings.
func sendsOf(op *chat.Op) []chat.Op {
	if op.Kind == chat.OpMessage {
		return []chat.Op{*op}
	}
	var list []chat.Op
	if op.Kind == chat.OpRows {
		for i := range op.Rows.Messages {
			row := &op.Rows.Messages[i]
			for _, o := range op.Owners {
				if o.ID == row.Owner {
					list = append(list, sendOf(row, o, op.Rows.Retries))
				}
			}
		}
	}
	return list
}

// ofKey gives those of rows that are of send k.
func ofKey(rows []chat.RetryRow, k SendKey) []chat.RetryRow {
	var list []chat.RetryRow
	for i := range rows {
		if rows[i].Sender == k.Author && rows[i].Client == k.Client {
			list = append(list, rows[i])
		}
	}
	return list
}

// keyState is what is known in memory of a send: who works on it, and what was written lately.
//
// At any time at most one write, or one submit on its way to one, works on a key: a submit that repeats the send waits for
// the first one's outcome, and so does another region's op of the same send. So each decides on all rows there are, and
// no two writes of one key can become durable in the wrong order (a message row after the alias that replaces it).
type keyState struct {
	busy    bool
	rows    []chat.RetryRow // written lately
	since   time.Time       // when the last of rows was written
	waiting []*held         // submits to look at again when busy ends
}

// sends are the sends under way or written lately.
type sends struct {
	keys   map[SendKey]*keyState
	recent []SendKey // in the order in which they became free
	ready  []*held   // submits whose reason to wait is gone
	clock  []*held   // submits that wait for the clock
	active int       // submits not yet answered
}

// held is a submit on its way to its write.
type held struct {
	in    Submit
	key   SendKey
	claim bool // it is the one that works on key
	since time.Time
	// slowed: it has waited, or waits, for the budget of a region.
	slowed bool
}

func (s *sends) state(k SendKey) *keyState {
	st, ok := s.keys[k]
	if !ok {
		st = &keyState{}
		s.keys[k] = st
	}
	return st
}

func (s *sends) busy(k SendKey) bool {
	st, ok := s.keys[k]
	return ok && st.busy
}

// claim makes the caller the one that works on k.
func (s *sends) claim(k SendKey) { s.state(k).busy = true }

// wait has h looked at again when k is free.
func (s *sends) wait(k SendKey, h *held) {
	st := s.state(k)
	st.waiting = append(st.waiting, h)
}

// release ends the work on k; rows are what it made durable.
func (s *sends) release(now time.Time, k SendKey, rows []chat.RetryRow) {
	st := s.state(k)
	st.busy = false
	st.rows = append(st.rows, rows...)
	st.since = now
	s.recent = append(s.recent, k)
	s.ready = append(s.ready, st.waiting...)
	st.waiting = nil
}

// known joins stored rows with those written lately, each id once, ascending.
func (s *sends) known(k SendKey, stored []chat.RetryRow) []chat.RetryRow {
	rows := slices.Clone(stored)
	if st, ok := s.keys[k]; ok {
		rows = append(rows, st.rows...)
	}
	slices.SortStableFunc(rows, func(a, b chat.RetryRow) int { return a.ID.Compare(b.ID) })
	return slices.CompactFunc(rows, func(a, b chat.RetryRow) bool { return a.ID == b.ID })
}

// expire forgets what was written more than RecentFor before the oldest input that still waits with rows read back then.
func (s *sends) expire(oldest time.Time) {
	for len(s.recent) > 0 {
		k := s.recent[0]
		st, ok := s.keys[k]
		if ok && !st.busy && len(st.waiting) == 0 && st.since.Add(RecentFor).After(oldest) {
			return
		}
		if ok && !st.busy && len(st.waiting) == 0 {
			delete(s.keys, k)
		}
		s.recent = s.recent[1:]
	}
}

// oldestWaiting is the time of the oldest input that is not dealt with, or now.
func (c *Core) oldestWaiting(now time.Time) time.Time {
	oldest := now
	for _, h := range c.sends.clock {
		if h.since.Before(oldest) {
			oldest = h.since
		}
	}
	for _, s := range c.slowed {
		if s.held.since.Before(oldest) {
			oldest = s.held.since
		}
	}
	for _, r := range c.order {
		for _, s := range c.peers[r].known() {
			if len(s.queue) > 0 && s.queue[0].since.Before(oldest) {
				oldest = s.queue[0].since
			}
			if len(s.parking.due) > 0 && s.parking.dueAt.Before(oldest) {
				oldest = s.parking.dueAt
			}
		}
	}
	return oldest
}

// readyClockHeld wakes the submits that waited for the clock once it has caught up.
func (c *Core) readyClockHeld(now time.Time) {
	if len(c.sends.clock) > 0 && !c.ahead(now) && c.mayStamp(now) {
		c.sends.ready = append(c.sends.ready, c.sends.clock...)
		c.sends.clock = nil
	}
}

// ahead says that a stamp would lie more than MaxDrift ahead of this node's clock: right after a quick restart, whose
// reservation still runs ahead, or after a peer's clock was. Peers would make such an op wait, so it waits here.
func (c *Core) ahead(now time.Time) bool {
	return c.clock.Last()+1 > chat.HLCFromTime(now.Add(c.cfg.MaxDrift))
}

// runReady looks again at submits whose reason to wait is gone.
func (c *Core) runReady(now time.Time) {
	for len(c.sends.ready) > 0 {
		h := c.sends.ready[0]
		c.sends.ready = c.sends.ready[1:]
		c.admit(now, h)
	}
}
