package drift

import (
	"strings"
	"testing"
	"time"

	"meridian/chat"
)

// bench is a guard with its node's clocks and its peers.
type bench struct {
	t      *testing.T
	g      *Guard
	passed time.Duration
	offset time.Duration // of the own clock
	peers  map[chat.NodeRef]*other
}

type other struct {
	offset, rtt time.Duration
	standing    Standing
	cut         bool
}

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func newBench(t *testing.T, peers ...string) *bench {
	b := &bench{t: t, peers: map[chat.NodeRef]*other{}}
	for _, p := range peers {
		b.peers[ref(p)] = &other{rtt: 80 * time.Millisecond, standing: Trusted}
	}
	b.g = New(Options{Self: ref("a/1"), Nodes: len(peers) + 1, MaxDrift: 500 * time.Millisecond})
	return b
}

func ref(s string) chat.NodeRef {
	region, node, _ := strings.Cut(s, "/")
	return chat.NodeRef{Region: chat.Region(region), Node: chat.NodeID(node)}
}

func (b *bench) reading() Reading {
	return Reading{Wall: noon.Add(b.passed + b.offset), Passed: b.passed}
}

// pass lets time pass, with a word of each peer in each second, and gives the last judgement.
func (b *bench) pass(d time.Duration) (j Judgement) {
	for end := b.passed + d; ; {
		if b.passed%time.Second == 0 {
			for r, p := range b.peers {
				if !p.cut {
					b.g.Hear(Word{Peer: r, Asked: b.passed - p.rtt, Answered: b.passed, Clock: noon.Add(b.passed - p.rtt/2 + p.offset), Standing: p.standing})
				}
			}
		}
		j = b.g.Read(b.reading())
		if b.passed >= end {
			return j
		}
		b.passed += 50 * time.Millisecond
	}
}

// is demands a standing and whether people are served, and that the time to go by is the right one.
func (b *bench) is(j Judgement, s Standing, served bool) {
	b.t.Helper()
	if j.Standing != s || (j.Refuse == nil) != served {
		b.t.Fatalf("after %v: %v, refuses with %v; want %v, served %v", b.passed, j.Standing, j.Refuse, s, served)
	}
	if wrong := j.Now.Sub(noon.Add(b.passed)); s != Starting && wrong.Abs() > 600*time.Millisecond {
		b.t.Fatalf("after %v: goes by a time that is off by %v", b.passed, wrong)
	}
}

// A clock that jumps by an hour is noticed in the same moment, and nothing is ever given that time; when it is back people are
// served again.
func TestJump(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 700 * time.Millisecond} {
		b := newBench(t, "a/2", "b/1", "c/1")
		b.is(b.pass(time.Second), Trusted, true)
		b.offset = jump
		b.is(b.g.Read(b.reading()), Held, false)
		j := b.pass(20 * time.Second)
		b.is(j, Held, false)
		if j.Refuse.Code != chat.CodeClockSkew || !j.Known || (j.Off-jump).Abs() > 50*time.Millisecond || j.Restart {
			t.Errorf("jump of %v: %v, off by %v", jump, j.Refuse, j.Off)
		}
		b.offset = 0
		b.is(b.g.Read(b.reading()), Trusted, true)
	}
}

// A jump that corrects the clock is confirmed by the others, and the new time is gone by.
func TestCorrection(t *testing.T) {
	b := newBench(t, "b/1", "c/1")
	b.peers[ref("b/1")].cut, b.peers[ref("c/1")].cut = true, true
	b.offset = -2 * time.Hour
	if j := b.pass(StartWait); j.Standing != Trusted {
		t.Fatalf("alone: %v", j.Standing)
	}
	b.offset = 0
	if j := b.g.Read(b.reading()); j.Standing != Held || j.Refuse == nil {
		t.Fatalf("after the jump: %v", j.Standing)
	}
	b.peers[ref("b/1")].cut, b.peers[ref("c/1")].cut = false, false
	b.is(b.pass(time.Second), Trusted, true)
}

// A clock that slowly runs away is stopped soon after max_drift; the others stay. Back within bounds it goes on.
func TestRunsAway(t *testing.T) {
	b := newBench(t, "b/1", "c/1")
	b.pass(time.Second)
	for range 14 {
		b.offset += 50 * time.Millisecond
		b.pass(time.Second)
	}
	b.is(b.pass(time.Second), Held, false)
	b.offset = 0
	b.is(b.pass(time.Second), Trusted, true)
	c := newBench(t, "a/2", "b/1", "c/1")
	c.pass(time.Second)
	c.peers[ref("b/1")].offset = time.Hour // which does not know it
	c.is(c.pass(5*time.Second), Trusted, true)
}

// Of two regions that differ and know of no jump, the one ahead gives way; who knows that its clock jumped has no vote at all.
func TestTwoRegions(t *testing.T) {
	for _, c := range []struct {
		theirs   time.Duration
		standing Standing
		want     Standing
	}{
		{time.Hour, Trusted, Trusted}, {-time.Hour, Trusted, Held}, {-time.Hour, Held, Trusted}, {time.Hour, Starting, Trusted}, {-time.Hour, Starting, Trusted},
	} {
		b := newBench(t, "b/1")
		b.is(b.pass(time.Second), Trusted, true)
		p := b.peers[ref("b/1")]
		p.offset, p.standing = c.theirs, c.standing
		if j := b.pass(5 * time.Second); j.Standing != c.want {
			t.Errorf("theirs off by %v, %v: ends %v, want %v", c.theirs, c.standing, j.Standing, c.want)
		}
	}
}

// A region has one vote, however many nodes it has.
func TestVotesByRegion(t *testing.T) {
	b := newBench(t, "a/2", "a/3", "a/4", "b/1", "c/1")
	b.pass(time.Second)
	for _, p := range []string{"a/2", "a/3", "a/4"} {
		b.peers[ref(p)].offset = -time.Hour
	}
	b.is(b.pass(5*time.Second), Trusted, true)
}

// A node that starts stamps nothing before another one has confirmed its clock, or nobody has spoken in time.
func TestStart(t *testing.T) {
	b := newBench(t, "b/1", "c/1")
	b.offset = time.Hour
	for _, p := range b.peers {
		p.cut = true
	}
	b.is(b.pass(time.Second), Starting, true) // what comes waits
	for _, p := range b.peers {
		p.cut = false
	}
	b.is(b.pass(time.Second), Starting, false)
	b.is(b.pass(time.Minute), Starting, false)
	b.offset = 0
	b.is(b.pass(time.Second), Trusted, true)

	alone := newBench(t, "b/1", "c/1")
	for _, p := range alone.peers {
		p.cut = true
	}
	alone.is(alone.pass(StartWait-100*time.Millisecond), Starting, true)
	alone.is(alone.pass(100*time.Millisecond), Trusted, true)
	one := newBench(t)
	one.is(one.pass(0), Trusted, true)

	for gap, want := range map[time.Duration]Standing{time.Hour: Starting, 10 * time.Second: Trusted, -2 * time.Second: Trusted, -time.Hour: Starting} {
		again := newBench(t, "b/1") // alone, with a durable mark that its clock goes on from, or does not
		again.peers[ref("b/1")].cut = true
		again.g.opt.Mark = noon.Add(-gap)
		if j := again.pass(StartWait); j.Standing != want {
			t.Errorf("%v after the mark: %v, want %v", gap, j.Standing, want)
		}
		again.is(again.pass(LongWait), Trusted, true)
	}

	together := newBench(t, "b/1", "c/1") // a whole deployment starts: most agree, nobody waits
	for _, p := range together.peers {
		p.standing = Starting
	}
	together.peers[ref("c/1")].offset = time.Hour
	together.is(together.pass(0), Trusted, true)
	odd := newBench(t, "b/1", "c/1")
	for _, p := range odd.peers {
		p.standing, p.offset = Starting, -time.Hour
	}
	odd.is(odd.pass(StartWait), Starting, false)
}

// Nodes whose clocks are wrong alike do not confirm each other once one of them is contradicted by a clock that is trusted.
func TestWrongAlike(t *testing.T) {
	second := newBench(t, "b/1", "c/1") // which starts, hears from c, and is cut off from b, whose clock is right
	second.offset = time.Hour
	second.peers[ref("b/1")].cut = true
	second.peers[ref("c/1")].offset = time.Hour
	for _, of := range []struct {
		fault string
		do    func(first *bench)
	}{
		{"starts with a wrong clock", func(c *bench) { c.offset = time.Hour }},
		{"has a clock that jumped", func(c *bench) { c.pass(time.Second); c.offset = time.Hour }},
	} {
		first := newBench(t, "b/1")
		of.do(first)
		j := first.pass(2 * time.Second)
		if j.Told != Contradicted {
			t.Errorf("who %s tells that it is %v", of.fault, j.Told)
		}
		second.peers[ref("c/1")].standing = j.Told
		second.is(second.pass(time.Second), Starting, true)
		first.offset = 0
		if j := first.pass(2 * time.Second); j.Told != Trusted {
			t.Errorf("who %s, and then is right, tells that it is %v", of.fault, j.Told)
		}
	}
	second.peers[ref("c/1")].standing = Held // most agree, and nobody else speaks: all of them were suspended
	if j := second.pass(time.Second); j.Standing != Trusted {
		t.Errorf("a whole deployment was suspended: %v", j.Standing)
	}
}

// Word that was long on its way does not confirm a clock, at the start or after a jump; it is believed that it confirms after the
// wait for who cannot be asked better.
func TestSlowWord(t *testing.T) {
	for _, off := range []time.Duration{2 * time.Second, -2 * time.Second} {
		b := newBench(t, "b/1")
		p := b.peers[ref("b/1")]
		p.rtt, b.offset = 4*time.Second, off
		b.is(b.pass(StartWait-50*time.Millisecond), Starting, true)
		p.rtt, b.offset = 80*time.Millisecond, 0
		b.is(b.pass(time.Second), Trusted, true)
		b.pass(2 * wordFor)
		p.rtt, b.offset = 4*time.Second, off
		b.is(b.pass(wordFor+time.Second), Held, false)
		b.offset = 0
		b.is(b.pass(time.Second), Trusted, true)
	}
	b := newBench(t, "b/1")
	b.peers[ref("b/1")].rtt = 4 * time.Second
	b.is(b.pass(StartWait), Trusted, true)
}

// A node whose clock jumps while nobody can be asked serves on by its own count, and never by the new time; a deployment of one
// node believes its machine after a while.
func TestAlone(t *testing.T) {
	b := newBench(t, "b/1", "c/1")
	b.pass(time.Second)
	for _, p := range b.peers {
		p.cut = true
	}
	b.pass(2 * wordFor)
	b.offset = time.Hour
	b.is(b.g.Read(b.reading()), Held, false)
	b.is(b.pass(AloneWait), Held, true)
	b.is(b.pass(time.Hour), Held, true)
	b.peers[ref("b/1")].cut = false
	b.is(b.pass(time.Second), Held, false)

	one := newBench(t)
	one.pass(time.Second)
	one.offset = 8 * time.Hour
	one.is(one.pass(AloneWait-50*time.Millisecond), Held, false)
	if j := one.pass(50 * time.Millisecond); j.Standing != Trusted || !j.Now.Equal(one.reading().Wall) || j.Restart {
		t.Errorf("a deployment of one: %v", j.Standing)
	}
	one.offset = 0
	if j := one.pass(AloneWait); j.Standing != Trusted || !j.Restart {
		t.Errorf("a clock that was ahead is set right: %v, restart %v: the node's timers lie in the future", j.Standing, j.Restart)
	}
}

// A life that believed a wrong clock while it was alone ends once the others show it.
func TestRestart(t *testing.T) {
	b := newBench(t, "b/1", "c/1")
	b.offset = time.Hour
	for _, p := range b.peers {
		p.cut = true
	}
	if j := b.pass(StartWait); j.Standing != Trusted {
		t.Fatal("alone and not trusted")
	}
	for _, p := range b.peers {
		p.cut = false
	}
	if j := b.pass(time.Second); !j.Restart || j.Refuse == nil {
		t.Errorf("%+v", j)
	}
}

// Of a node's words the one with the shortest round trip counts, and none that its clock contradicts.
func TestWords(t *testing.T) {
	b := newBench(t, "b/1")
	p := b.peers[ref("b/1")]
	p.rtt = 10 * time.Millisecond
	b.pass(0)
	for range 5 {
		b.passed += time.Second
		b.g.Hear(Word{Peer: ref("b/1"), Asked: b.passed - 2*time.Second, Answered: b.passed, Clock: noon.Add(b.passed - 300*time.Millisecond), Standing: Trusted})
		if off, ok := b.g.Offset(ref("b/1"), b.reading()); !ok || off.Abs() > time.Millisecond {
			t.Fatalf("offset %v %v", off, ok)
		}
	}
	p.offset = 300 * time.Millisecond
	b.pass(time.Second)
	if off, _ := b.g.Offset(ref("b/1"), b.reading()); off != p.offset {
		t.Errorf("after it was set: %v", off)
	}
	b.g.Hear(Word{Peer: ref("b/1"), Asked: time.Second, Answered: 0, Clock: noon, Standing: Trusted})
	b.g.Hear(Word{Peer: ref("b/1"), Asked: b.passed, Answered: b.passed, Clock: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), Standing: Trusted})
	if off, _ := b.g.Offset(ref("b/1"), b.reading()); off != p.offset {
		t.Errorf("nonsense was believed: %v", off)
	}
}
