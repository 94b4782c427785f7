package nemesis

import (
	"fmt"
	"testing"
	"time"

	"meridian/chat"
	"meridian/test/nemesis/fleet"
	"meridian/test/nemesis/world"
)

// maxDrift is how far a clock may be off: timing.max_drift of the deployment, which is the default.
const maxDrift = 500 * time.Millisecond

// jump sets a running node's clock, and sets it right again.
func jump(name string, ref chat.NodeRef, offset, lasts time.Duration) Fault {
	set := func(offset time.Duration) func(*Scenario) error {
		return func(s *Scenario) error { return s.World.SetClock(ref, offset) }
	}
	f := Fault{
		Name: name, What: fmt.Sprintf("the clock of %s jumps by %v while it runs", ref, offset), Lasts: lasts, Spares: true,
		Hits: nodes(ref), AtHome: true, Strike: set(offset), Mend: set(0),
	}
	if offset.Abs() > maxDrift {
		f.Bound = regionBound // such a node must serve nobody; nearer the truth it may
	}
	return f
}

// reboot kills a node and starts it with a clock that is wrong, and starts it again with the right one. It need not serve
// while its clock is wrong.
func reboot(name string, ref chat.NodeRef, offset, lasts time.Duration) Fault {
	return Fault{
		Name: name, What: fmt.Sprintf("%s is killed and started with a clock that is wrong by %v, and later killed and started with the right one", ref, offset),
		Lasts: lasts, Spares: true, Hits: nodes(ref), Bound: nodeBound, AtHome: true,
		Strike: func(s *Scenario) error {
			s.World.Kill(ref)
			return s.World.Launch(ref, world.Launch{ClockOffset: offset})
		},
		Mend: func(s *Scenario) error {
			s.World.Kill(ref)
			return s.restart([]chat.NodeRef{ref}, world.Launch{})
		},
	}
}

// jumpAndCrash sets a running node's clock, and kills the node: it comes back with the right clock, and with what it had
// written down meanwhile.
func jumpAndCrash(name string, ref chat.NodeRef, offset, lasts time.Duration) Fault {
	f := jump(name, ref, offset, lasts)
	f.What += ", then the node is killed and started with the right one"
	f.Mend = func(s *Scenario) error {
		s.World.Kill(ref)
		return s.restart([]chat.NodeRef{ref}, world.Launch{})
	}
	return f
}

// A node whose clock jumps, by half a second or by an hour, while it runs or across a restart, harms nobody but its own people,
// who are served elsewhere or wait; when the clock is right again nothing is lost and all is well.
func TestWrongClocks(t *testing.T) {
	node := func(r chat.Region, n chat.NodeID) chat.NodeRef { return chat.NodeRef{Region: r, Node: n} }
	us1, us2, eu1, eu2 := node("us-east", "n1"), node("us-east", "n2"), node("eu-west", "n1"), node("eu-west", "n2")
	ap1, ap2 := node("ap-south", "n1"), node("ap-south", "n2")
	// A region's nodes take turns: people stay with the one that they have gone to.
	faults := []Fault{jump("clock-hour-on", us1, time.Hour, 12*time.Second)}
	if full() {
		faults = append(faults,
			reboot("start-hour-back", eu2, -time.Hour, 12*time.Second),
			jump("clock-half-second-on", ap1, 500*time.Millisecond, 12*time.Second),
			jump("clock-half-second-back", ap2, -500*time.Millisecond, 12*time.Second),
			jump("clock-hour-back", us2, -time.Hour, 15*time.Second),
			reboot("start-hour-on", eu1, time.Hour, 12*time.Second),
			jumpAndCrash("clock-hour-on-crash", us1, time.Hour, 8*time.Second),
			jumpAndCrash("clock-hour-back-crash", eu2, -time.Hour, 8*time.Second),
		)
	}
	play(t, Plan{
		Name: "wrong-clocks", What: "two nodes in each region; one node's clock is off by half a second or an hour, while it runs and across restarts",
		Size: fleet.Size{World: 6, Pinned: 2, PerSecond: 40}, Warm: 3 * time.Second,
		World: world.Plan{Nodes: nodesEach, Ack: chat.AckZone},
	}, func(s *Scenario) error { return strikes(t, s, faults) })
}
