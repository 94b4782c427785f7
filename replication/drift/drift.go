// Package drift judges a node's clock. A Guard takes what the clock on the wall says, how much time really passed (a clock
// that nobody sets: the monotonic one), and what the other nodes' clocks say; it tells which time to go by, and whether what
// people send may be stamped with it. It is pure, and package sim runs it. Decision 0012 says why it is so.
package drift

import (
	"time"

	"meridian/chat"
)

// Standing is what a node thinks of its own clock.
type Standing uint8

// The standings. They cross the wire with each word on the time.
const (
	// Starting: nobody has confirmed the clock yet. Nothing is stamped.
	Starting Standing = iota + 1
	// Trusted: the clock is right, as far as anybody knows.
	Trusted
	// Held: the clock has jumped, or is off the others'. The node goes by the time that it trusted last and what really passed
	// since; it takes nothing new from people, and nobody believes its clock.
	Held
	// Contradicted is only told to others, by a node that starts or is held: clocks that are trusted say that its own is wrong.
	// Who agrees with it is no better.
	Contradicted
)

// String names a standing for people.
func (s Standing) String() string {
	switch s {
	case Starting:
		return "starting"
	case Trusted:
		return "trusted"
	case Held:
		return "held"
	case Contradicted:
		return "contradicted"
	}
	return "unknown"
}

// Limits of the guard that are no configuration.
const (
	// StartWait is how long a node that starts waits for word of another node, before it believes its own clock; LongWait is the
	// same where the clock does not go on from where the durable mark was left, and continues is how far on that may be.
	StartWait = 3 * time.Second
	LongWait  = 30 * time.Second
	continues = time.Minute
	// AloneWait is how long a node whose clock has jumped waits for word of a node that trusts its clock.
	AloneWait = 5 * time.Second
	// wordFor is how long another node's word counts.
	wordFor = time.Minute
	// wander is how much two clocks may come apart in that time, as a share of it: word that is old is less certain.
	wander = 200e-6
	// sureWithin is how certain word must be that confirms a clock: what took long may only deny it.
	sureWithin = 500 * time.Millisecond
	// retryAfter is when who was refused may try again: elsewhere at once, here perhaps then.
	retryAfter = time.Second
	// judgeEvery: between, only a jump of the own clock is looked for.
	judgeEvery = 20 * time.Millisecond
)

// Options make a Guard.
type Options struct {
	Self chat.NodeRef
	// Nodes is how many nodes the deployment has, this one included.
	Nodes int
	// MaxDrift is how far the clock may be off, or jump.
	MaxDrift time.Duration
	// Mark is the durable high-water mark that the node starts with, the zero time if there is none. It lies a little ahead of
	// where the clock was last.
	Mark time.Time
}

// Reading is what the node's two clocks say in one moment. Passed is what has really passed since some moment, the same for
// all readings.
type Reading struct {
	Wall   time.Time
	Passed time.Duration
}

// Judgement is what the guard makes of a reading.
type Judgement struct {
	Standing Standing
	// Now is the time to go by. While Standing is Starting nothing may be stamped with it.
	Now time.Time
	// Told is what other nodes are told of the clock.
	Told Standing
	// Refuse, if set, is why nothing that people send is taken now.
	Refuse *chat.Error
	// Off is how far this node's clock is ahead of the others', to about Uncertain, where Known.
	Off, Uncertain time.Duration
	Known          bool
	// Restart says that the time which this life went by was wrong, so that its timers and stamps lie in the future: it has to
	// end, and the node to start anew.
	Restart bool
}

// Unconfirmed says that nobody has confirmed the clock since the node started; nil: somebody has. The error has CodeRegionDegraded:
// the clock may well be right.
func (j *Judgement) Unconfirmed() *chat.Error {
	if j.Standing > Starting {
		return nil
	}
	return &chat.Error{
		Code: chat.CodeRegionDegraded, Op: "drift.Judgement", RetryAfter: retryAfter, Message: "the node has started, and its clock is being compared with the other nodes'",
	}
}

// Guard judges one node's clock through one of its lives. It is not safe for concurrent use.
type Guard struct {
	opt      Options
	peers    map[chat.NodeRef]*peer
	standing Standing
	last     Judgement
	base     Reading // the last that was trusted
	began    time.Duration
	alone    time.Duration // since when no trusted clock was heard of while the own one was held
	off      bool          // held because it is off, not because it jumped
	denied   bool          // trusted clocks disagree with the own one; only while it is not trusted
	judgedAt time.Duration
	changed  bool // there is new word
	read     bool
}

// New makes the guard of a node that starts.
func New(opt Options) *Guard {
	return &Guard{opt: opt, peers: map[chat.NodeRef]*peer{}, standing: Starting}
}

// Read judges a reading.
func (g *Guard) Read(r Reading) Judgement {
	if !g.read {
		g.read, g.began, g.base, g.changed = true, r.Passed, r, true
	}
	step := r.Wall.Sub(g.own(r))
	jumped := step.Abs() > g.opt.MaxDrift
	switch {
	case g.standing == Trusted && jumped:
		g.hold(r, false)
	case !g.changed && r.Passed-g.judgedAt < judgeEvery && g.standing != Held:
		return g.tell(r)
	}
	g.judgedAt, g.changed = r.Passed, false
	heard := g.count(r)
	switch g.standing {
	case Starting:
		g.start(r, heard)
	case Trusted:
		if m, ok := heard.median(heard.trusted, true); ok && g.wrong(m) {
			g.hold(r, true)
			g.held(r, heard)
		}
	case Held:
		g.held(r, heard)
	}
	return g.judge(r, heard)
}

// own is the time by what really passed since the clock was trusted last.
func (g *Guard) own(r Reading) time.Time { return g.base.Wall.Add(r.Passed - g.base.Passed) }

// wrong says that the clock is off by more than it may, whatever the uncertainty.
func (g *Guard) wrong(m vote) bool { return m.off.Abs() > g.opt.MaxDrift+m.uncertain }

// right says that the word is good enough to tell that the clock is not off.
func (g *Guard) right(m vote) bool { return m.uncertain <= sureWithin && !g.wrong(m) }

func (g *Guard) hold(r Reading, off bool) {
	g.standing, g.off, g.alone = Held, off, r.Passed
}

// start believes the clock once a trusted one agrees, or most of the deployment do, or nobody has spoken in time. A trusted
// clock that disagrees is believed more than the own one.
func (g *Guard) start(r Reading, heard count) {
	waited := g.waited(r)
	m, ok := heard.median(heard.trusted, false)
	g.denied = ok && g.wrong(m)
	if !ok && waited {
		m, ok = heard.median(heard.starting, true)
		ok = ok || len(heard.starting) == 0
	}
	if ok && (g.right(m) || waited && !g.wrong(m)) || !heard.anyTrusted() && heard.agree > g.opt.Nodes/2 {
		g.standing = Trusted
	}
}

// waited says that the node has waited long enough for word of others.
func (g *Guard) waited(r Reading) bool {
	wait := StartWait
	if gap := r.Wall.Sub(g.opt.Mark); !g.opt.Mark.IsZero() && (gap > continues || gap < -continues/10) {
		wait = LongWait
	}
	return r.Passed-g.began >= wait
}

// held looks whether the clock may be trusted again.
func (g *Guard) held(r Reading, heard count) {
	m, ok := heard.median(heard.trusted, false)
	g.denied = ok && g.wrong(m)
	back := !g.off && r.Wall.Sub(g.own(r)).Abs() <= g.opt.MaxDrift
	if ok {
		g.alone = r.Passed
		if g.off {
			m.off *= 2 // not at the border: it would be off again in a moment
		}
		if g.right(m) || back && !g.wrong(m) {
			g.standing = Trusted
		}
		return
	}
	if back || g.isAlone(r) && heard.agree > g.opt.Nodes/2 {
		g.standing = Trusted
	}
}

// isAlone says that no node that trusts its clock was heard of for so long that this one goes on by its own count.
func (g *Guard) isAlone(r Reading) bool { return r.Passed-g.alone >= AloneWait }

// judge puts together what comes of a reading.
func (g *Guard) judge(r Reading, heard count) Judgement {
	m, known := heard.best()
	j := Judgement{Off: -m.off, Uncertain: m.uncertain, Known: known, Restart: g.last.Restart}
	if g.standing == Held {
		count := m // what the own count is off
		count.off += r.Wall.Sub(g.own(r))
		count.uncertain += g.opt.MaxDrift
		j.Restart = j.Restart || heard.anyTrusted() && g.wrong(count)
	}
	if g.standing == Trusted {
		before := g.last.Standing == Held || g.last.Standing == Trusted
		j.Restart = j.Restart || before && r.Wall.Before(g.own(r).Add(-g.opt.MaxDrift))
		g.base = r
	}
	g.last = j
	return g.tell(r)
}

// tell completes the last judgement with what changes with each reading.
func (g *Guard) tell(r Reading) Judgement {
	j := &g.last
	j.Standing, j.Told, j.Now, j.Refuse = g.standing, g.standing, r.Wall, nil
	if g.denied && g.standing != Trusted {
		j.Told = Contradicted
	}
	switch g.standing {
	case Trusted:
		g.base = r
	case Held:
		j.Now = g.own(r)
		if !g.isAlone(r) {
			j.Refuse = g.refusal(r)
		}
	case Starting:
		if g.denied || g.waited(r) {
			j.Refuse = g.refusal(r)
		}
	}
	return *j
}
