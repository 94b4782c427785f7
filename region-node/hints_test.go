package regionnode

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"meridian/chat"
	"meridian/region-node/messages"
	"meridian/region-node/presence"
	"meridian/store/memory"
)

// A hint goes over the bus to those nodes only that the sender's links do not reach, and nobody hears it twice.
func TestHintsGoWhereLinksDoNot(t *testing.T) {
	bus := memory.NewHub()
	refs := []chat.NodeRef{{Region: "eu-west", Node: "n1"}, {Region: "eu-west", Node: "n2"}, {Region: "eu-west", Node: "n3"}}
	far := chat.NodeRef{Region: "us-east", Node: "n1"}
	var mu sync.Mutex
	var heard []string
	all := make(map[chat.NodeRef]*hints)
	for _, self := range refs {
		peers := map[chat.NodeRef]string{far: "far:1"}
		for _, other := range refs {
			if other != self {
				peers[other] = "near:1"
			}
		}
		h := newHints(self, bus.Bus(), peers, func(peer chat.NodeRef, kind string, payload []byte) {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, fmt.Sprintf("%s from %s: %s %s", self.Node, peer.Node, kind, payload))
		})
		t.Cleanup(h.bus.Subscribe(hintTopic, h.hear)) // as run does
		for _, other := range refs {
			h.link(other, true)
		}
		h.link(far, true)
		all[self] = h
	}
	// The last hint of each step comes from n3 to n2 alone: what was told before it has been heard then.
	step := func(what string, want ...string) {
		t.Helper()
		all[refs[0]].tell(messages.TellWake, []byte(what))
		all[refs[0]].tell("services", []byte(what))
		all[refs[2]].link(refs[1], false)
		all[refs[1]].link(refs[2], false)
		all[refs[2]].tell(presence.KindTyping, []byte(what))
		end := fmt.Sprintf("n2 from n3: typing %s", what)
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			got := slices.Clone(heard)
			mu.Unlock()
			if slices.Contains(got, end) {
				if got = slices.DeleteFunc(got, func(s string) bool { return s == end }); !slices.Equal(got, want) {
					t.Errorf("%s: heard %q, not %q", what, got, want)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: heard %q", what, got)
			}
		}
		all[refs[2]].link(refs[1], true)
		all[refs[1]].link(refs[2], true)
		mu.Lock()
		heard = nil
		mu.Unlock()
	}
	step("all linked")
	all[refs[0]].link(refs[1], false)
	all[refs[1]].link(refs[0], false)
	step("cut", "n2 from n1: messages.wake cut")
	all[refs[1]].link(refs[0], true)
	step("only one side knows")
	all[refs[0]].link(refs[1], true)
	step("healed")
	for _, bad := range [][]byte{{}, {3}, {3, 'n', '1'}, {2, 'n', '1'}, {2, 'n', '1', 9, 'x'}, {255}, {2, 'n', '9', 1, 'x', 'y'}} {
		all[refs[0]].hear(bad)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(heard) > 0 {
		t.Errorf("what is no hint was heard: %q", heard)
	}
}
