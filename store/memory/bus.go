package memory

import (
	"sync"

	"meridian/chat"
)

// busQueue bounds the hints that wait for one subscriber; what comes when it is full is lost.
const busQueue = 1024

// Hub joins the Buses of one process's nodes, as Redis joins those of a region's.
type Hub struct {
	mu    sync.Mutex
	buses map[*Bus]struct{}
}

// NewHub makes a Hub.
func NewHub() *Hub { return &Hub{buses: make(map[*Bus]struct{})} }

// Bus is a chat.Bus within one process.
type Bus struct {
	hub *Hub

	mu   sync.Mutex
	subs map[string]map[*subscription]struct{}
}

type subscription struct {
	hints chan []byte
	stop  chan struct{}
	done  sync.WaitGroup
}

// Bus makes one node's.
func (h *Hub) Bus() *Bus {
	b := &Bus{hub: h, subs: make(map[string]map[*subscription]struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buses[b] = struct{}{}
	return b
}

// Publish is chat.Bus's.
func (b *Bus) Publish(topic string, payload []byte) bool {
	if topic == "" || len(topic) > chat.MaxBusTopic || len(payload) == 0 || len(payload) > chat.MaxBusPayload {
		return false
	}
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	for other := range b.hub.buses {
		if other != b {
			other.tell(topic, payload)
		}
	}
	return true
}

func (b *Bus) tell(topic string, payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subs[topic] {
		select {
		case s.hints <- append([]byte(nil), payload...):
		default:
		}
	}
}

// Subscribe is chat.Bus's.
func (b *Bus) Subscribe(topic string, f func(payload []byte)) (stop func()) {
	s := &subscription{hints: make(chan []byte, busQueue), stop: make(chan struct{})}
	b.mu.Lock()
	if b.subs[topic] == nil {
		b.subs[topic] = make(map[*subscription]struct{})
	}
	b.subs[topic][s] = struct{}{}
	b.mu.Unlock()
	s.done.Go(func() {
		for {
			select {
			case <-s.stop:
				return
			case hint := <-s.hints:
				f(hint)
			}
		}
	})
	return sync.OnceFunc(func() {
		b.mu.Lock()
		delete(b.subs[topic], s)
		b.mu.Unlock()
		close(s.stop)
		s.done.Wait()
	})
}

// Works is chat.Bus's: always.
func (b *Bus) Works() bool { return true }
