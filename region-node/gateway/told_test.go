package gateway

import (
	"testing"

	"meridian/chat"
)

// An event is told once, and what is remembered of it is bounded: the oldest is forgotten first.
func TestTold(t *testing.T) {
	var seen told
	event := func(n int) toldEvent { return toldEvent{op: chat.MessageID{byte(n), byte(n >> 8)}, change: "joined"} }
	for n := range toldMax + 1 {
		if seen.again(event(n)) {
			t.Fatalf("event %d was told before", n)
		}
	}
	other := event(toldMax)
	other.change = "role"
	if !seen.again(event(toldMax)) || !seen.again(event(1)) || seen.again(other) {
		t.Error("what was told is not remembered, or the same op's other change is taken for it")
	}
	if seen.again(event(0)) || len(seen.events) != toldMax || len(seen.order) != toldMax {
		t.Errorf("%d events are remembered, in a list of %d; at most %d", len(seen.events), len(seen.order), toldMax)
	}
}
