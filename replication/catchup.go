package replication

import (
	"time"

	"meridian/chat"
)

// A store may be an old copy of itself, a backup or a disk's snapshot, and nothing in it tells. So each start of a node is taken
// for one on an old copy: it begins a new life, which gives out no place in an op log a second time, goes on in other regions'
// streams from where the store stands, and serves nobody before it has what they originated until its start. What the region alone
// had originated in the lost life comes back by a repair, and what of it only some regions have is handed on between them.

const (
	// linkWithin is how long a node that has started waits for the link to a region: one that is lost keeps nobody from serving.
	linkWithin = 3 * time.Second
	// catchUpStall is how long it waits for a linked region that brings nothing of what is missing.
	catchUpStall = 10 * time.Second
)

// catchUp is what a node waits for that has started.
type catchUp struct {
	since  chat.HLC // what was originated at or before it; 0: the clock is not known yet
	began  time.Time
	done   bool
	missed []chat.Region // given up
	seen   map[chat.Region]*progress
}

// progress is when the last of a region's ops came here.
type progress struct {
	durable uint64
	mark    chat.HLC
	at      time.Time
}

// CaughtUp says that the node has what the other regions had originated when it started, as far as this build knows the kinds of op,
// and as far as they can be reached: one without a link within 3 s, or that brings nothing for 10 s, is waited for no longer, and
// told of in an alarm.
func (c *Core) CaughtUp() bool { return c.catchUp.done }

// Missed are the regions that a node which has caught up could not have everything of.
func (c *Core) Missed() []chat.Region { return c.catchUp.missed }

// tickCatchUp looks whether the node has caught up.
func (c *Core) tickCatchUp(now time.Time) {
	u := &c.catchUp
	if u.done || c.clocked.unknown {
		return
	}
	if u.since == 0 {
		u.since, u.began, u.seen = chat.HLCFromTime(now), now, map[chat.Region]*progress{}
	}
	done := c.Joined(now)
	for _, r := range c.order {
		done = !c.awaits(now, c.peers[r]) && done
	}
	if u.done = done; !done {
		return
	}
	for _, r := range c.order {
		if c.peers[r].caughtUp(u.since) < u.since {
			u.missed = append(u.missed, r)
			c.alarm(Alarm{Code: chat.CodeRegionDegraded, Peer: r, Detail: "the node serves without all that the region had originated when it started: it cannot be had now"})
		}
	}
}

// Awaited are the streams that a node which has started waits for, of regions that it waits for.
func (c *Core) Awaited() []chat.StreamID {
	u := &c.catchUp
	if u.done || u.since == 0 {
		return nil
	}
	var list []chat.StreamID
	for _, r := range c.order {
		p := c.peers[r]
		if p.caughtUp(u.since) >= u.since {
			continue
		}
		if len(p.streams) == 0 {
			list = append(list, chat.StreamID{Region: r})
		}
		for _, s := range p.known() {
			if s.reachedMark(u.since) < u.since {
				list = append(list, s.id)
			}
		}
	}
	return list
}

// awaits says that what the region originated before this node's start is missing here, and may still come.
func (c *Core) awaits(now time.Time, p *peer) bool {
	u := &c.catchUp
	seen := u.seen[p.region]
	if seen == nil {
		seen = &progress{at: now}
		u.seen[p.region] = seen
	}
	durable, mark := uint64(0), p.caughtUp(u.since)
	for _, s := range p.known() {
		if max(s.watermark, s.toldMark) < u.since { // the rest goes on, whatever holds this one
			durable += s.reached()
		}
	}
	if durable != seen.durable || mark != seen.mark {
		*seen = progress{durable: durable, mark: mark, at: now}
	}
	switch {
	case mark >= u.since:
		return false
	case p.up():
		return now.Sub(seen.at) < catchUpStall
	}
	return now.Sub(u.began) < linkWithin
}

// caughtUp is up to when all is here that the region originated; ops of kinds that this build does not know count as if they were.
func (p *peer) caughtUp(since chat.HLC) chat.HLC {
	if len(p.streams) == 0 {
		return 0
	}
	mark := endOfStream
	for _, s := range p.known() {
		mark = min(mark, s.reachedMark(since))
	}
	return mark
}

// reachedMark is caughtUp for one stream.
func (s *inStream) reachedMark(since chat.HLC) chat.HLC {
	if s.beyondBuild(since) {
		return s.heard
	}
	return max(s.watermark, s.toldMark)
}

// beyondBuild says that nothing but ops of unknown kinds holds the stream's watermark below since.
func (s *inStream) beyondBuild(since chat.HLC) bool {
	return s.heard >= since && len(s.parking.unknown) > 0 && len(s.parking.waiting) == 0 && s.unpassed == 0
}
