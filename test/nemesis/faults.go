package nemesis

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"meridian/chat"
	"meridian/test/nemesis/world"
)

// startTimeout bounds the start of a process that was killed.
const startTimeout = 2 * time.Minute

// nodes and region choose who is hit.
func nodes(refs ...chat.NodeRef) func(*Scenario) []chat.NodeRef {
	return func(*Scenario) []chat.NodeRef { return refs }
}

func region(name chat.Region) func(*Scenario) []chat.NodeRef {
	return func(s *Scenario) []chat.NodeRef { return s.World.NodesOf(name) }
}

// stores gives the process that writes to a region's disk: its store, or its one node.
func stores(name chat.Region) func(*Scenario) []chat.NodeRef {
	return func(s *Scenario) []chat.NodeRef {
		if store, ok := s.World.StoreOf(name); ok {
			return []chat.NodeRef{store}
		}
		return s.World.NodesOf(name)
	}
}

// processes gives everything that runs in a region.
func processes(name chat.Region) func(*Scenario) []chat.NodeRef {
	return func(s *Scenario) []chat.NodeRef { return s.World.ProcessesOf(name) }
}

// restart starts what is not running of the nodes, and waits until they serve.
func (s *Scenario) restart(refs []chat.NodeRef, l world.Launch) error {
	for _, ref := range refs {
		if !s.World.Running(ref) {
			if err := s.World.Launch(ref, l); err != nil {
				return err
			}
		}
	}
	for _, ref := range refs {
		if err := s.World.WaitReady(ref, startTimeout); err != nil {
			return err
		}
	}
	return nil
}

// kill is kill -9 of some processes, and their start after a while.
func kill(name, what string, bound, lasts time.Duration, who func(*Scenario) []chat.NodeRef) Fault {
	return Fault{
		Name: name, What: what, Lasts: lasts, Hits: who, Bound: bound,
		Strike: func(s *Scenario) error {
			for _, ref := range who(s) {
				s.World.Kill(ref)
			}
			return nil
		},
		Mend: func(s *Scenario) error { return s.restart(who(s), world.Launch{}) },
	}
}

// freeze is SIGSTOP: the process keeps its connections and its memory, and knows nothing of the time that passes.
func freeze(name string, lasts time.Duration, hits func(*Scenario) []chat.NodeRef) Fault {
	each := func(do func(*world.World, chat.NodeRef) error) func(*Scenario) error {
		return func(s *Scenario) error {
			var failed error
			for _, ref := range hits(s) {
				failed = errors.Join(failed, do(s.World, ref))
			}
			return failed
		}
	}
	return Fault{
		Name: name, What: fmt.Sprintf("SIGSTOP for %v", lasts), Lasts: lasts, Hits: hits, Bound: regionBound,
		Strike: each((*world.World).Freeze), Mend: each((*world.World).Thaw),
	}
}

func heal(s *Scenario) error { return s.World.Heal() }

// cut drops packets between two regions; people still reach both.
func cut(name string, a, b chat.Region, bothWays bool, lasts time.Duration) Fault {
	what := fmt.Sprintf("nothing passes from %s to %s", a, b)
	if bothWays {
		what = fmt.Sprintf("nothing passes between %s and %s", a, b)
	}
	return Fault{
		Name: name, What: what, Lasts: lasts, Mend: heal,
		Strike: func(s *Scenario) error { return s.World.CutRegions(a, b, bothWays) },
	}
}

// isolate drops every packet of a region, also those of people: it is as good as dead, but does not know.
func isolate(r chat.Region, lasts time.Duration) Fault {
	return Fault{
		Name: "isolate-region", What: fmt.Sprintf("nobody reaches %s, and it reaches nobody", r), Lasts: lasts,
		Hits: region(r), Bound: regionBound, Mend: heal,
		Strike: func(s *Scenario) error { return s.World.Isolate(r) },
	}
}

// flap cuts and mends again and again, faster than a link is given up.
func flap(a, b chat.Region, times int, each time.Duration) Fault {
	return Fault{
		Name: "flapping", What: fmt.Sprintf("the link between %s and %s is cut and mended every %v", a, b, each), Mend: heal,
		Strike: func(s *Scenario) error {
			for range times {
				if err := s.World.CutRegions(a, b, true); err != nil {
					return err
				}
				time.Sleep(each)
				if err := s.World.Heal(); err != nil {
					return err
				}
				time.Sleep(each)
			}
			return nil
		},
	}
}

// slowDisk lets who writes to the disk run for one part in ten of the time, in pulses: to everybody who waits for a write it
// looks like a disk that takes a fifth of a second for each. Nothing of it is in the program under test.
func slowDisk(lasts time.Duration, who func(*Scenario) []chat.NodeRef) Fault {
	const stopped, running = 180 * time.Millisecond, 20 * time.Millisecond
	return Fault{
		Name: "slow-disk", What: "who writes to the disk of a region is stopped nine tenths of the time, in pulses of 0.2 s",
		Strike: func(s *Scenario) error {
			var failed error
			for end := time.Now().Add(lasts); time.Now().Before(end) && failed == nil; time.Sleep(running) {
				for _, ref := range who(s) {
					failed = errors.Join(failed, s.World.Freeze(ref))
				}
				time.Sleep(stopped)
				for _, ref := range who(s) {
					failed = errors.Join(failed, s.World.Thaw(ref))
				}
			}
			return failed
		},
		Mend: func(*Scenario) error { return nil },
	}
}

// fullDisk leaves so many bytes on the disk of a region.
func fullDisk(name string, r chat.Region, leave int64, lasts time.Duration) Fault {
	return Fault{
		Name: name, What: fmt.Sprintf("the disk of %s has %d KiB left", r, leave>>10), Lasts: lasts, Exits: true,
		Hits: region(r), Bound: regionBound, AtHome: true,
		Strike: func(s *Scenario) error { return s.World.FillDisk(leave) },
		Mend: func(s *Scenario) error {
			if err := s.World.EmptyDisk(); err != nil {
				return err
			}
			return s.restart(s.World.ProcessesOf(r), world.Launch{})
		},
	}
}

// skew restarts every node with a clock that is wrong by its region's offset.
func skew(name string, lasts time.Duration, offsets map[chat.Region]time.Duration) Fault {
	rolling := func(offsets map[chat.Region]time.Duration) func(*Scenario) error {
		return func(s *Scenario) error {
			for _, ref := range s.World.Nodes() {
				s.World.Kill(ref)
				if err := s.restart([]chat.NodeRef{ref}, world.Launch{ClockOffset: offsets[ref.Region]}); err != nil {
					return err
				}
			}
			return nil
		}
	}
	var wrong []string
	for _, r := range slices.Sorted(maps.Keys(offsets)) {
		wrong = append(wrong, fmt.Sprintf("%s by %v", r, offsets[r]))
	}
	return Fault{
		Name: name, What: "clocks are wrong, " + strings.Join(wrong, " and ") + "; each node is killed and started for it, and back",
		Lasts: lasts, Strike: rolling(offsets), Mend: rolling(nil),
	}
}

// Matrix lists the faults of a deployment whose regions have so many nodes; short: those of `make test`.
func Matrix(perRegion int, short bool) []Fault {
	us1, eu1 := chat.NodeRef{Region: "us-east", Node: "n1"}, chat.NodeRef{Region: "eu-west", Node: "n1"}
	bound := regionBound // a region of one node is lost with it
	if perRegion > 1 {
		bound = nodeBound
	}
	all := []Fault{
		kill("kill-node", "kill -9 of eu-west/n1", bound, 6*time.Second, nodes(eu1)),
		kill("kill-region", "kill -9 of every process of us-east at once", regionBound, 8*time.Second, processes("us-east")),
		cut("cut-one-way", "ap-south", "us-east", false, 10*time.Second),
		freeze("freeze-10s", 10*time.Second, nodes(us1)),
		isolate("eu-west", 15*time.Second),
	}
	if short {
		return all
	}
	all = append(all,
		cut("cut", "us-east", "eu-west", true, 10*time.Second),
		freeze("freeze-60s", 60*time.Second, nodes(eu1)),
		freeze("freeze-region-10s", 10*time.Second, region("ap-south")),
		cut("cut-long", "eu-west", "ap-south", true, 60*time.Second),
		cut("cut-one-way-back", "us-east", "ap-south", false, 30*time.Second),
		flap("us-east", "eu-west", 10, time.Second),
		flap("eu-west", "ap-south", 3, 4*time.Second),
		slowDisk(20*time.Second, stores("us-east")),
		fullDisk("disk-at-reserve", "ap-south", 8<<20, 15*time.Second),
		fullDisk("disk-full", "ap-south", 0, 15*time.Second),
		skew("clock-skew", 15*time.Second, map[chat.Region]time.Duration{"us-east": 200 * time.Millisecond, "eu-west": -200 * time.Millisecond}),
		skew("clock-back", 10*time.Second, map[chat.Region]time.Duration{"ap-south": -400 * time.Millisecond}),
		together("cut-and-kill", cut("cut", "us-east", "eu-west", true, 15*time.Second),
			kill("kill", "kill -9 of eu-west/n1", bound, 10*time.Second, nodes(eu1))),
		together("cut-and-freeze", cut("cut", "us-east", "ap-south", true, 20*time.Second), freeze("freeze", 12*time.Second, nodes(us1))),
		together("skew-and-isolate", skew("skew", time.Second, map[chat.Region]time.Duration{"us-east": 200 * time.Millisecond}), isolate("ap-south", 12*time.Second)),
		kill("kill-all", "kill -9 of every process everywhere at once", 0, 3*time.Second, (*Scenario).everybody),
		kill("kill-region-again", "kill -9 of every process of ap-south at once, for 30 s", regionBound, 30*time.Second, processes("ap-south")),
	)
	if perRegion == 1 {
		return all
	}
	return append(all,
		lostStore(kill("kill-store", "kill -9 of the store of eu-west, which its nodes share", regionBound, 15*time.Second, stores("eu-west")), "eu-west"),
		freezeStore("freeze-store-20s", 20*time.Second, "ap-south"),
		kill("kill-every-n2", "kill -9 of one node of each region at once", nodeBound, 8*time.Second, second),
		cutNodes("us-east", 15*time.Second),
	)
}

// together does two faults at once: the second strikes inside the first, and is mended before it.
func together(name string, outer, inner Fault) Fault {
	return Fault{
		Name: name, What: outer.What + ", and meanwhile " + inner.What, Lasts: max(outer.Lasts, inner.Lasts),
		Hits: inner.Hits, Bound: inner.Bound,
		Prepare: outer.Strike, Strike: inner.Strike,
		Mend: func(s *Scenario) error { return errors.Join(inner.Mend(s), outer.Mend(s)) },
	}
}

// everybody gives every process everywhere.
func (s *Scenario) everybody() []chat.NodeRef { return s.World.Processes() }

// second gives the second node of each region.
func second(s *Scenario) []chat.NodeRef {
	return slices.DeleteFunc(s.World.Nodes(), func(ref chat.NodeRef) bool { return ref.Node != "n2" })
}

// lostStore says whom a fault of a region's store hits: the nodes live, and can serve nobody.
func lostStore(f Fault, r chat.Region) Fault {
	f.Hits, f.AtHome = region(r), true
	return f
}

// freezeStore stops a region's store: the nodes live, and wait. When it takes longer than anybody waits they serve nobody.
func freezeStore(name string, lasts time.Duration, r chat.Region) Fault {
	f := freeze(name, lasts, stores(r))
	f.What, f.Hits, f.Bound = fmt.Sprintf("SIGSTOP of the store of %s for %v", r, lasts), nil, 0
	if lasts > regionBound {
		return lostStore(Fault{Name: f.Name, What: f.What, Lasts: lasts, Bound: regionBound, Strike: f.Strike, Mend: f.Mend}, r)
	}
	return f
}

// cutNodes lets nothing through between the nodes of a region; both reach everybody else.
func cutNodes(r chat.Region, lasts time.Duration) Fault {
	return Fault{
		Name: "cut-nodes", What: fmt.Sprintf("nothing passes between the nodes of %s", r), Lasts: lasts, Mend: heal,
		Strike: func(s *Scenario) error {
			refs := s.World.NodesOf(r)
			return s.World.CutNodes(refs[0], refs[1])
		},
	}
}
