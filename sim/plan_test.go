package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"meridian/chat"
)

// liveWith runs a world to its end.
func liveWith(t *testing.T, seed uint64, plan Plan) (*world, []string) {
	t.Helper()
	var lines []string
	w := &world{seed: seed}
	w.create(plan, func(line string) { lines = append(lines, line) })
	w.run()
	if len(w.violations) > 0 {
		t.Fatal(w.violations[0])
	}
	return w, lines
}

// A plan that leaves one turn out leaves all other turns as they were, and a plan that leaves a fault out changes nothing
// before it.
func TestPlanLeavesTheRestAlone(t *testing.T) {
	whole, lines := liveWith(t, 3, Plan{})
	if len(whole.turns) < 100 || len(whole.troubles) < 3 {
		t.Fatalf("the world is too small for this test: %d turns, %d faults", len(whole.turns), len(whole.troubles))
	}
	without := func(list []int, i int) []int { return slices.Delete(slices.Clone(list), i, i+1) }
	explicit, same := liveWith(t, 3, Plan{Turns: whole.turns, Faults: whole.troubles})
	if explicit.trace != whole.trace || !slices.Equal(same, lines) {
		t.Error("the plan that lists all that happens is another world than the whole")
	}

	smaller, _ := liveWith(t, 3, Plan{Turns: without(whole.turns, 20), Faults: whole.troubles})
	sent := func(w *world) map[chat.ClientID]chat.ConversationID {
		to := map[chat.ClientID]chat.ConversationID{}
		for _, s := range w.history {
			to[s.client] = s.conversation
		}
		return to
	}
	before, after := sent(whole), sent(smaller)
	gone := 0
	for id, to := range before {
		if got, ok := after[id]; !ok {
			gone++
		} else if got != to {
			t.Errorf("send %s goes to another than before", id)
		}
	}
	if gone > 1 || len(after) > len(before) {
		t.Errorf("a turn less, and %d of %d sends are gone, %d are there", gone, len(before), len(after))
	}

	last := len(whole.troubles) - 1
	_, calmer := liveWith(t, 3, Plan{Turns: whole.turns, Faults: without(whole.troubles, last)})
	alike := 0
	for alike < min(len(lines), len(calmer)) && lines[alike] == calmer[alike] {
		alike++
	}
	if alike < len(lines)/3 {
		t.Errorf("without the last fault only %d of %d lines are as before", alike, len(lines))
	}
}

// A plan survives its own text; what is none, or asks for what there is not, is refused with a code.
func TestParsePlan(t *testing.T) {
	p := Plan{BusyMS: 1200, Regions: 3, Devices: []int{1}, Turns: []int{}, Faults: []int{2, 5}, Calm: []string{"roaming"}}
	again, err := ParsePlan(p.String())
	if err != nil || again.String() != p.String() || again.Turns == nil || again.busy() != 1200*time.Millisecond {
		t.Errorf("%s became %s (%v)", p, again, err)
	}
	for _, text := range []string{"", "x", "[]", `{"turn":[1]}`, `{"busy_ms":-1}`, `{"busy_ms":86400001}`, `{"regions":-3}`, `{"calm":["wind"]}`, `{"turns":["a"]}`} {
		if _, err := ParsePlan(text); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("ParsePlan(%q): %v, want code %s", text, err, chat.CodeInvalid)
		}
	}
}

// Events come out by time, those of one time in the order in which they were put in.
func TestEventHeap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h eventHeap
	var want []event
	for seq := range uint64(1000) {
		e := event{at: time.Duration(rng.IntN(50)), seq: seq}
		h.push(e)
		want = append(want, e)
		if rng.IntN(3) == 0 {
			slices.SortFunc(want, func(a, b event) int {
				if a.before(&b) {
					return -1
				}
				return 1
			})
			if got := h.pop(); got.at != want[0].at || got.seq != want[0].seq {
				t.Fatalf("popped %v/%d, want %v/%d", got.at, got.seq, want[0].at, want[0].seq)
			}
			want = want[1:]
		}
	}
}
