package replication

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"meridian/chat"
	"meridian/residency"
)

// What a region can never apply it keeps as a dead letter, without its text, and goes on. It says so, in an op of its own that
// has neither author nor owners (a word), to the region that brought the op. That region knows what it has brought: it
// compares, and tells the author by an op in the author's name for all regions of the author's zone (the news). So nobody can
// have another's message shown as refused, and the author is told wherever he looks. A word about a word there never is.

const (
	// refusalBurst refusals of what one region brings are kept and told at once, and one more every refusalEvery: what goes
	// beyond is only counted, so that a region that lies cannot fill this one's disk.
	refusalBurst = 4096
	refusalEvery = time.Second
	// maxRefusalDetail bounds the reason in words, in bytes of UTF-8.
	maxRefusalDetail = 256
)

// permanent says whether a refusal with this code stands for good: the same op would be refused again. Everything else (load, a
// disk, a clock, a version to come) passes, and is tried again for as long as that takes.
func permanent(code chat.Code) bool {
	switch code {
	case chat.CodeInvalid, chat.CodeTooLarge, chat.CodeDenied, chat.CodeTooOld:
		return true
	}
	return false
}

// outlived says that the op is older than what a store remembers: that it was sent before under another id, or deleted, may be
// forgotten, and it would be shown again. A clock that is not trusted condemns nothing.
func (c *Core) outlived(now time.Time, op *chat.Op) bool {
	if c.cfg.Remember == 0 || !isSend(op) || c.clocked.unknown || c.clocked.refusal != nil {
		return false
	}
	return op.Time < chat.HLCFromTime(now.Add(-c.cfg.Remember))
}

// allowance is how many refusals of a peer's ops may still be kept and told.
type allowance struct {
	spent int
	since time.Time // what was spent counts from here, less one every refusalEvery
}

// take says whether one more may be.
func (a *allowance) take(now time.Time) bool {
	back := int(now.Sub(a.since) / refusalEvery)
	if a.spent <= back {
		a.spent, a.since = 0, now
	} else {
		a.spent -= back
		a.since = a.since.Add(time.Duration(back) * refusalEvery)
	}
	if a.spent >= refusalBurst {
		return false
	}
	a.spent++
	return true
}

// bury keeps what must never be applied, without its body, so that the stream goes on and somebody looks.
func (c *Core) bury(now time.Time, p *peer, s *inStream, it *inOp, d *draft) {
	a := Alarm{Code: it.refused.Code, Peer: p.region, Stream: s.id, Op: it.op.ID, Detail: it.refused.Message, Buried: true}
	if p.refusals.take(now) {
		d.batch.DeadLetters = append(d.batch.DeadLetters, chat.DeadLetterRow{
			Stream: s.id, Seq: it.op.Seq, Op: it.op.ID, Reason: it.refused.Code, Detail: it.refused.Message, At: chat.HLCFromTime(now),
		})
		c.sayRefused(now, p, it, d)
	} else {
		a.Detail += " (not kept: there are too many)"
	}
	c.alarm(a)
	if it.refused.Code != chat.CodeBadFrame {
		d.upTo = max(d.upTo, it.op.Seq)
	}
}

// sayRefused adds to the draft the word to the region that brought the op. It holds ids and the reason, which that region
// may know: it has the op.
func (c *Core) sayRefused(now time.Time, p *peer, it *inOp, d *draft) {
	op, why := &it.op, it.refused
	if op.Kind == chat.OpRefused || !permanent(why.Code) || !timed(op.ID) {
		return
	}
	at := c.clock.Next(now)
	if d.low == 0 {
		d.low = at
	}
	client := wordClient(c.cfg.Self, op.ID)
	c.own.last++
	word := chat.Op{
		Kind: chat.OpRefused, ID: chat.NewMessageID(at, chat.NoUser, client), Time: at, Logged: at, Client: client,
		Stream: c.stream, Seq: c.own.last, To: []chat.Region{p.region},
		Refused: &chat.Refusal{
			Region: c.cfg.Self, Stream: op.Stream, Seq: op.Seq, Op: op.ID, Client: op.Client, Conversation: op.Conversation,
			Author: chat.Owner{ID: op.Author.ID, Zone: op.Author.Zone}, Code: why.Code, Detail: clip(why.Message),
		},
	}
	d.batch.Log = append(d.batch.Log, chat.LogRow{Op: word})
	d.own = append(d.own, c.own.start(word))
}

// wordClient tells the words of several regions about one op apart.
func wordClient(region chat.Region, op chat.MessageID) (id chat.ClientID) {
	sum := sha256.Sum256(append([]byte("meridian.refused."+region), op[:]...))
	copy(id[:], sum[:])
	return id
}

// clip bounds a reason.
func clip(text string) string {
	if len(text) <= maxRefusalDetail {
		return text
	}
	n := maxRefusalDetail
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// isWord says whether the op is a region's word that it refused something, and not the news of that for the author.
func isWord(op *chat.Op) bool { return op.Kind == chat.OpRefused && len(op.Owners) == 0 }

func refusedShape(op *chat.Op) string {
	r := op.Refused
	switch {
	case r == nil || r.Op == chat.NoMessage || r.Region == "" || !permanent(r.Code):
		return own(op, false)
	case len(r.Region) > maxNameBytes || len(r.Detail) > maxRefusalDetail || !utf8.ValidString(r.Detail):
		return fmt.Sprintf("a reason of %d bytes, or not of UTF-8; at most %d", len(r.Detail), maxRefusalDetail)
	case isWord(op):
		return own(op, op.Author == chat.Owner{})
	case len(op.Owners) != 1 || op.Owners[0] != op.Author || r.Author != op.Author || !timed(r.Op):
		return "news of a refusal for somebody else than its author"
	}
	return ""
}

// refusal writes, in the author's zone, that a region refused the author's op.
func (a *applier) refusal(op *chat.Op, owner chat.Owner, arrival chat.HLC) {
	r := op.Refused
	a.batch.Refusals = append(a.batch.Refusals, chat.RefusalRow{Told: op.ID, Refusal: *r})
	a.inbox(owner, arrival, op, chat.InboxRow{Kind: chat.InboxFailed, Conversation: r.Conversation, Ref: r.Op})
}

// hearing is words of a region on their way to the authors.
type hearing struct {
	id      uint64
	peer    *peer
	words   []chat.Op
	left    int // news that are not durable yet
	letters []chat.DeadLetterRow
	heard   bool      // all that is left is to tell done
	againAt time.Time // after a failed read; zero while under way
	done    func(now time.Time, letters []chat.DeadLetterRow)
}

// hear has words of a region compared with what was brought to it, and the authors told. done is told when the news are
// durable; letters are to be stored with the position.
func (c *Core) hear(now time.Time, p *peer, words []chat.Op, done func(now time.Time, letters []chat.DeadLetterRow)) {
	if len(words) == 0 {
		done(now, nil)
		return
	}
	c.lastHearing++
	h := &hearing{id: c.lastHearing, peer: p, words: words, done: done}
	c.hearings[h.id] = h
	c.prove(h)
}

func (c *Core) prove(h *hearing) {
	h.againAt = time.Time{}
	out := Prove{ID: h.id, Of: make([]chat.Refusal, len(h.words))}
	for i := range h.words {
		out.Of[i] = *h.words[i].Refused
	}
	c.emit(out)
}

// proved takes what the store knows of the ops.
func (c *Core) proved(now time.Time, in Proved) {
	h, ok := c.hearings[in.ID]
	if !ok || !h.againAt.IsZero() {
		return
	}
	if in.Err != nil {
		c.alarm(Alarm{Code: chat.CodeOf(in.Err), Stream: c.stream, Detail: "cannot read what was refused: " + in.Err.Error()})
		h.againAt = now.Add(pause)
		return
	}
	var news []chat.Op
	for i := range h.words {
		if n, ok := c.newsOf(now, h, &h.words[i], &in.Ops[i], in.Told[i]); ok {
			news = append(news, n)
		}
	}
	h.left = len(news)
	if h.left == 0 {
		c.heard(now, h)
		return
	}
	for _, n := range news {
		to := residency.Destinations(c.cfg.Topology, &n, c.cfg.Self)
		c.relog(now, &relogged{op: n, to: to, done: func(now time.Time) {
			if h.left--; h.left == 0 {
				c.heard(now, h)
			}
		}})
	}
}

// newsOf gives the news that a word is for the author of op, which stands in the op log where the word says. What it says
// of the op is taken from the op.
func (c *Core) newsOf(now time.Time, h *hearing, word, op *chat.Op, told []chat.RefusalRow) (news chat.Op, ok bool) {
	r, from := *word.Refused, h.peer.region
	if op.ID != r.Op || op.Stream != r.Stream || op.Seq != r.Seq || !concerns(op, from) {
		detail := "a refusal of what this region did not bring there"
		c.alarm(Alarm{Code: chat.CodeDenied, Peer: from, Stream: word.Stream, Op: word.ID, Detail: detail, Buried: true})
		c.letter(now, h, word, chat.CodeDenied, detail)
		return news, false
	}
	if slices.ContainsFunc(told, func(row chat.RefusalRow) bool { return row.Region == from }) {
		return news, false
	}
	c.letter(now, h, op, r.Code, clip(fmt.Sprintf("region %s: %s", from, r.Detail)))
	if !isAcked(op) || !residency.Speak(c.cfg.Topology, op.Author.Zone, c.cfg.Self).Allowed() {
		return news, false
	}
	r.Author, r.Client, r.Conversation = op.Author, op.Client, op.Conversation
	news = *word
	news.Author, news.Owners, news.Refused = op.Author, []chat.Owner{op.Author}, &r
	news.ID = chat.NewMessageID(news.Time, op.Author.ID, news.Client)
	return news, true
}

// letter adds a dead letter to those that are stored with the position.
func (c *Core) letter(now time.Time, h *hearing, op *chat.Op, code chat.Code, detail string) {
	if h.peer.refusals.take(now) {
		h.letters = append(h.letters, chat.DeadLetterRow{
			Stream: op.Stream, Seq: op.Seq, Op: op.ID, Reason: code, Detail: detail, At: chat.HLCFromTime(now),
		})
	}
}

// heard ends a hearing, once what follows can be stamped.
func (c *Core) heard(now time.Time, h *hearing) {
	if h.heard = true; !c.mayStamp(now) || c.ahead(now) {
		h.againAt = now.Add(pause)
		return
	}
	delete(c.hearings, h.id)
	h.done(now, h.letters)
}

// tickHearings goes on with hearings that had to wait.
func (c *Core) tickHearings(now time.Time) {
	for _, id := range sortedKeys(c.hearings) {
		switch h := c.hearings[id]; {
		case h.againAt.IsZero() || now.Before(h.againAt):
		case h.heard:
			c.heard(now, h)
		default:
			c.prove(h)
		}
	}
}
