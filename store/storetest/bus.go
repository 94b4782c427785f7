package storetest

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"meridian/chat"
)

// RunBus runs the suite of chat.Bus. open gives the buses of n nodes of one region, all working; it cleans up when the test
// ends.
func RunBus(t *testing.T, open func(t testing.TB, n int) []chat.Bus) {
	t.Run("Fanout", func(t *testing.T) { testBusFanout(t, open(t, 3)) })
	t.Run("Bounds", func(t *testing.T) { testBusBounds(t, open(t, 2)) })
	t.Run("Stop", func(t *testing.T) { testBusStop(t, open(t, 2)) })
}

// inbox gathers hints.
type inbox struct {
	mu   sync.Mutex
	list []string
}

func (b *inbox) take(payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, string(payload))
}

func (b *inbox) has(hint string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.list, hint)
}

// joined waits until what one node publishes reaches another's box: a subscription takes a moment.
func joined(t *testing.T, from chat.Bus, topic string, boxes ...*inbox) {
	t.Helper()
	eventually(t, "the subscriptions stand", func() bool {
		from.Publish(topic, []byte("are you there?"))
		return !slices.ContainsFunc(boxes, func(b *inbox) bool { return !b.has("are you there?") })
	})
}

// A hint reaches the other nodes' subscribers of its topic, and nobody else's, its own node's least of all.
func testBusFanout(t *testing.T, nodes []chat.Bus) {
	var boxes [3]inbox
	var otherTopic inbox
	for i, b := range nodes {
		defer b.Subscribe("wake", boxes[i].take)()
	}
	defer nodes[1].Subscribe("typing", otherTopic.take)()
	joined(t, nodes[0], "wake", &boxes[1], &boxes[2])
	joined(t, nodes[0], "typing", &otherTopic)
	if !nodes[0].Works() {
		t.Fatal("a bus that passes hints says that it does not work")
	}
	eventually(t, "a hint reaches the others", func() bool {
		if !nodes[0].Publish("wake", []byte("grown\x00\xff")) {
			t.Fatal("a hint was not taken")
		}
		return boxes[1].has("grown\x00\xff") && boxes[2].has("grown\x00\xff")
	})
	eventually(t, "and back", func() bool {
		nodes[2].Publish("wake", []byte("back"))
		return boxes[0].has("back") && boxes[1].has("back")
	})
	if boxes[0].has("grown\x00\xff") || boxes[2].has("back") {
		t.Error("a node heard itself")
	}
	if otherTopic.has("grown\x00\xff") || otherTopic.has("back") {
		t.Error("a hint of another topic arrived")
	}
}

// What is too large or has no topic is not taken.
func testBusBounds(t *testing.T, nodes []chat.Bus) {
	var box inbox
	defer nodes[1].Subscribe("wake", box.take)()
	joined(t, nodes[0], "wake", &box)
	large := strings.Repeat("x", chat.MaxBusPayload)
	for _, bad := range []struct{ topic, payload string }{
		{"", "x"}, {"wake", ""}, {"wake", large + "x"}, {strings.Repeat("t", chat.MaxBusTopic+1), "x"},
	} {
		if nodes[0].Publish(bad.topic, []byte(bad.payload)) {
			t.Errorf("taken: %d bytes of topic, %d of payload", len(bad.topic), len(bad.payload))
		}
	}
	eventually(t, "the largest hint arrives", func() bool {
		nodes[0].Publish("wake", []byte(large))
		return box.has(large)
	})
}

// After stop nothing is called any more; the node's other subscriptions go on.
func testBusStop(t *testing.T, nodes []chat.Bus) {
	var gone, stays inbox
	stop := nodes[1].Subscribe("wake", gone.take)
	defer nodes[1].Subscribe("wake", stays.take)()
	joined(t, nodes[0], "wake", &gone, &stays)
	stop()
	stop()
	eventually(t, "the other subscription goes on", func() bool {
		nodes[0].Publish("wake", []byte("after"))
		return stays.has("after")
	})
	if gone.has("after") {
		t.Error("called after stop")
	}
}
