package regionnode

import (
	"context"
	"sync"

	"meridian/chat"
	"meridian/region-node/messages"
	"meridian/region-node/presence"
)

// hintTopic is the bus's topic for hints between the nodes of a region.
const hintTopic = "tell"

// hints passes the hints between the nodes of a region over the bus, to those that the links do not reach: a node publishes
// while it has no link to some other one, and takes what comes from nodes to which it has none. So nobody hears a hint twice, and
// while all links are up the bus carries nothing.
type hints struct {
	self chat.NodeRef
	bus  chat.Bus // nil: links only
	take func(peer chat.NodeRef, kind string, payload []byte)

	mu      sync.Mutex
	linked  map[chat.NodeRef]bool // the region's other nodes
	missing int                   // of them without a link
}

func newHints(self chat.NodeRef, bus chat.Bus, peers map[chat.NodeRef]string, take func(chat.NodeRef, string, []byte)) *hints {
	h := &hints{self: self, bus: bus, take: take, linked: make(map[chat.NodeRef]bool)}
	for peer := range peers {
		if peer.Region == self.Region {
			h.linked[peer] = false
			h.missing++
		}
	}
	return h
}

// run takes hints until ctx ends.
func (h *hints) run(ctx context.Context) {
	if h.bus == nil || len(h.linked) == 0 {
		return
	}
	stop := h.bus.Subscribe(hintTopic, h.hear)
	<-ctx.Done()
	stop()
}

// goesByBus says whether a hint is one for the bus. What nodes serve is not: whom no link reaches gets no requests.
func goesByBus(kind string) bool {
	return kind == messages.TellWake || kind == presence.KindPresence || kind == presence.KindTyping
}

// link notes that the link to a node came up or went down.
func (h *hints) link(peer chat.NodeRef, up bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if was, sibling := h.linked[peer]; !sibling || was == up {
		return
	}
	h.linked[peer] = up
	if up {
		h.missing--
	} else {
		h.missing++
	}
}

// tell publishes a hint that went over the links too, if they do not reach everybody.
func (h *hints) tell(kind string, payload []byte) {
	if h.bus == nil || !goesByBus(kind) {
		return
	}
	h.mu.Lock()
	needed := h.missing > 0
	h.mu.Unlock()
	if needed {
		h.bus.Publish(hintTopic, encodeHint(h.self.Node, kind, payload))
	}
}

// hear takes a hint of the bus.
func (h *hints) hear(b []byte) {
	node, kind, payload, ok := decodeHint(b)
	peer := chat.NodeRef{Region: h.self.Region, Node: node}
	h.mu.Lock()
	linked, sibling := h.linked[peer]
	h.mu.Unlock()
	if ok && sibling && !linked && goesByBus(kind) {
		h.take(peer, kind, payload)
	}
}

// encodeHint gives a node's name and a kind, each after its length in a byte, and the payload; nil for what does not fit.
func encodeHint(node chat.NodeID, kind string, payload []byte) []byte {
	if len(node) > 255 || len(kind) > 255 {
		return nil
	}
	b := append([]byte{byte(len(node))}, node...)
	b = append(append(b, byte(len(kind))), kind...)
	return append(b, payload...)
}

func decodeHint(b []byte) (node chat.NodeID, kind string, payload []byte, ok bool) {
	first, b, ok1 := cutCounted(b)
	second, b, ok2 := cutCounted(b)
	return chat.NodeID(first), string(second), b, ok1 && ok2
}

func cutCounted(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || len(b) <= int(b[0]) {
		return nil, nil, false
	}
	end := 1 + int(b[0])
	return b[1:end], b[end:], true
}
