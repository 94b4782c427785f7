package nemesis

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/test/nemesis/fleet"
	"meridian/test/nemesis/world"
)

// sameLayout is the build that this one is rolled out over: it speaks the protocol version before and has the same layout of the store,
// so that both can change places. It is on the main line: a shallow clone can fetch it.
const sameLayout = "d794643931aa11652b0a3193d1583c12442e0818"

// fetchTries and fetchPause bound what needs the network, which may not answer for a moment.
const (
	fetchTries = 3
	fetchPause = 10 * time.Second
)

// git runs git in the module and gives what it says.
func git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// build builds the program as it was at a commit, which a shallow clone fetches first.
func build(t *testing.T, commit string) string {
	t.Helper()
	for try := 1; tool("git", "cat-file", "-e", commit+"^{commit}") != nil; try++ {
		if err := tool("git", "fetch", "--depth", "1", "origin", commit); err != nil && try == fetchTries {
			t.Fatalf("git fetch of %s: %v", commit, err)
		} else if err != nil {
			pause(t.Context(), fetchPause)
		}
	}
	dir, bin := filepath.Join(t.TempDir(), "tree"), filepath.Join(t.TempDir(), "meridian-"+commit[:7])
	git(t, "worktree", "add", "--detach", dir, commit)
	defer git(t, "worktree", "remove", "--force", dir)
	var err error
	for range fetchTries { // it may need modules that are not here
		cmd := exec.Command("go", "build", "-trimpath", "-o", bin, "./cmd/meridian") // the same bytes next time, from the cache
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stderr, os.Stderr
		if err = cmd.Run(); err == nil {
			return bin
		}
		pause(t.Context(), fetchPause)
	}
	t.Fatalf("build of %s: %v", commit, err)
	return ""
}

// While people write and change what they wrote, every process, stores and nodes, is restarted one by one from a recent build
// to this one, and then back: in every mix the builds understand each other and each other's data, whoever is ahead. In the
// short matrix a store and one of its nodes go there and back, and all others stay.
func TestRollingThereAndBack(t *testing.T) {
	recent := build(t, sameLayout)
	play(t, Plan{
		Name: "rolling-both-ways", What: "two nodes and a store in each region, restarted one by one from the build of " + sameLayout[:7] + " to this one, and back",
		Size: fleet.Size{World: 6, Pinned: 2, PerSecond: 40}, Warm: 3 * time.Second, Removals: true,
		World: world.Plan{Binary: recent, Nodes: nodesEach, Ack: chat.AckZone},
	}, func(s *Scenario) error {
		rolled := s.World.Processes()
		if !full() {
			rolled = s.World.ProcessesOf("us-east")[:2]
		}
		for _, to := range []struct{ bin, what string }{{binary, "to this build"}, {recent, "back to " + sameLayout[:7]}} {
			for _, ref := range rolled {
				if err := s.Strike(t.Context(), swap(ref, world.Launch{Binary: to.bin}, to.what, time.Second, nodeBound)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// swap ends a process cleanly and starts it with another build. A store serves nobody, and without it its nodes serve nobody.
func swap(ref chat.NodeRef, l world.Launch, to string, lasts, bound time.Duration) Fault {
	f := Fault{
		Name: fmt.Sprintf("swap-%s", strings.ReplaceAll(ref.String(), "/", "-")), What: fmt.Sprintf("%s is restarted %s", ref, to), Lasts: lasts, Brief: true,
		Strike: func(s *Scenario) error { s.World.Stop(ref); return nil },
		Mend:   func(s *Scenario) error { return s.restart([]chat.NodeRef{ref}, l) },
	}
	if ref.Node != world.StoreNode {
		f.Hits, f.Bound = nodes(ref), bound
	}
	return f
}
