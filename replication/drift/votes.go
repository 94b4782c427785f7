package drift

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"meridian/chat"
)

// Word is one answer of another node to the question what time it is, as in NTP (RFC 5905): asked and answered by the own
// count of what really passed, and its clock in between.
type Word struct {
	Peer            chat.NodeRef
	Asked, Answered time.Duration
	Clock           time.Time
	Standing        Standing // what it thinks of its clock
}

// wordsKept is how many of a node's last words are kept; the one with the shortest round trip counts.
const wordsKept = 8

// peer is what is known of another node's clock.
type peer struct {
	standing Standing
	words    []word
}

// word is one measurement: what the other clock shows when by the own count nothing has passed, and how sure that is.
type word struct {
	zero      time.Duration // since 1970
	uncertain time.Duration
	at        time.Duration
}

// Hear takes a node's word. The newest standing of a node counts; of its last few words the one with the shortest round trip,
// unless a newer one shows that its clock was set meanwhile.
func (g *Guard) Hear(w Word) {
	if w.Answered < w.Asked || w.Standing < Starting || w.Standing > Contradicted || w.Peer == g.opt.Self || w.Clock.Year() < 2000 || w.Clock.Year() > 2200 {
		return
	}
	p := g.peers[w.Peer]
	if p == nil {
		p = &peer{}
		g.peers[w.Peer] = p
	}
	half := (w.Answered - w.Asked) / 2
	n := word{zero: time.Duration(w.Clock.UnixNano()) - w.Asked - half, uncertain: half, at: w.Answered}
	p.words = slices.DeleteFunc(p.words, func(old word) bool {
		return (old.zero-n.zero).Abs() > old.spread(n.at)+n.uncertain || n.at-old.at > wordFor
	})
	p.words = append(p.words, n)
	p.words = p.words[max(0, len(p.words)-wordsKept):]
	p.standing = w.Standing
	g.changed = true
}

// spread is how uncertain the word is at a later moment.
func (w word) spread(at time.Duration) time.Duration {
	return w.uncertain + time.Duration(float64(at-w.at)*wander)
}

// vote says how far a clock is ahead of the own one.
type vote struct{ off, uncertain time.Duration }

func compareVotes(a, b vote) int {
	return cmp.Or(cmp.Compare(a.off, b.off), cmp.Compare(a.uncertain, b.uncertain))
}

// count is what the others say in one moment: the votes by region, of nodes that trust their clocks, and of those that start.
type count struct {
	self              chat.Region
	trusted, starting map[chat.Region][]vote
	agree             int // nodes whose clocks agree with the own one and are not contradicted; this one included
}

// count gathers the words that still count.
func (g *Guard) count(r Reading) count {
	c := count{self: g.opt.Self.Region, trusted: map[chat.Region][]vote{}, starting: map[chat.Region][]vote{}, agree: 1}
	for ref, p := range g.peers {
		v, ok := p.vote(r)
		if !ok {
			continue
		}
		if p.standing != Contradicted && g.right(v) {
			c.agree++
		}
		switch p.standing {
		case Trusted:
			c.trusted[ref.Region] = append(c.trusted[ref.Region], v)
		case Starting:
			c.starting[ref.Region] = append(c.starting[ref.Region], v)
		case Held, Contradicted: // it does not believe its clock itself
		}
	}
	return c
}

func (p *peer) vote(r Reading) (vote, bool) {
	var best word
	found := false
	for _, w := range p.words {
		if r.Passed-w.at <= wordFor && (!found || w.spread(r.Passed) < best.spread(r.Passed)) {
			best, found = w, true
		}
	}
	return vote{off: time.Unix(0, int64(best.zero+r.Passed)).Sub(r.Wall), uncertain: best.spread(r.Passed)}, found
}

func (c *count) anyTrusted() bool { return len(c.trusted) > 0 }

// median gives how far the others are ahead: one vote for each region, its nodes' median. With the own clock among the own
// region's where own is set. Of two in the middle the earlier counts, so that of two regions that differ the one ahead gives way:
// a clock that is behind spoils nothing. False: nobody is there.
func (c *count) median(votes map[chat.Region][]vote, own bool) (vote, bool) {
	if len(votes) == 0 {
		return vote{}, false
	}
	regions := maps.Clone(votes)
	if own {
		regions[c.self] = append(slices.Clone(regions[c.self]), vote{})
	}
	var each []vote
	for _, list := range regions {
		each = append(each, middle(list))
	}
	return middle(each), true
}

func middle(list []vote) vote {
	return slices.SortedFunc(slices.Values(list), compareVotes)[(len(list)-1)/2]
}

// best is what an operator is shown: what the trusted clocks say, or else what those that start do.
func (c *count) best() (vote, bool) {
	if m, ok := c.median(c.trusted, false); ok {
		return m, true
	}
	return c.median(c.starting, false)
}

// Offset gives how far another node's clock is ahead of this one's; false when it was not heard lately.
func (g *Guard) Offset(peer chat.NodeRef, r Reading) (time.Duration, bool) {
	p := g.peers[peer]
	if p == nil {
		return 0, false
	}
	v, ok := p.vote(r)
	return v.off, ok
}

// refusal says why nothing is taken, for people and operators.
func (g *Guard) refusal(r Reading) *chat.Error {
	e := &chat.Error{Code: chat.CodeClockSkew, Op: "drift.Guard", RetryAfter: retryAfter}
	step := r.Wall.Sub(g.own(r))
	switch {
	case g.last.Known && (-g.last.Off).Abs() > g.opt.MaxDrift:
		side := "ahead of"
		if g.last.Off < 0 {
			side = "behind"
		}
		e.Message = fmt.Sprintf("this node's clock is %v %s the others'", g.last.Off.Abs().Round(time.Millisecond), side)
	case g.standing == Held && step.Abs() > g.opt.MaxDrift:
		e.Message = fmt.Sprintf("this node's clock jumped by %v, and no other node confirms it", step.Round(time.Millisecond))
	default:
		e.Message = "this node's clock is being compared with the other nodes'"
	}
	return e
}
