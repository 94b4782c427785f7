package redis

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"meridian/chat"
)

const (
	// busQueue bounds the hints that wait to be published, and those that wait for a subscriber; what comes when it is full is lost.
	busQueue = 1024
	// publishAtOnce bounds the hints of one pipeline.
	publishAtOnce = 64
	// resubscribeAfter is the wait after a lost subscription.
	resubscribeAfter = 100 * time.Millisecond
)

// Bus is a chat.Bus by PUBLISH and SUBSCRIBE, in a Redis Cluster by the sharded ones. Each hint begins with the name of who sent
// it, who leaves it out.
type Bus struct {
	c    *Client
	self string
	out  chan hint

	mu     sync.Mutex
	topics map[string]*topic
}

type hint struct {
	topic   string
	payload []byte
}

// topic is one subscription at the server, for all subscribers here.
type topic struct {
	subs  map[*subscription]struct{}
	end   context.CancelFunc
	ready atomic.Bool
}

type subscription struct {
	hints chan []byte
	stop  chan struct{}
	done  sync.WaitGroup
}

// Bus makes the node's; it ends with the client.
func (c *Client) Bus() *Bus {
	b := &Bus{c: c, self: rand.Text(), out: make(chan hint, busQueue), topics: make(map[string]*topic)}
	c.done.Go(b.publish)
	return b
}

func (b *Bus) channel(topic string) string { return b.c.prefix + "b:" + topic }

func sharded(conn rueidis.Client) bool { return conn.Mode() == rueidis.ClientModeCluster }

// Publish is chat.Bus's.
func (b *Bus) Publish(topic string, payload []byte) bool {
	if topic == "" || len(topic) > chat.MaxBusTopic || len(payload) == 0 || len(payload) > chat.MaxBusPayload || !b.c.up.Load() {
		return false
	}
	select {
	case b.out <- hint{topic, append([]byte(b.self), payload...)}:
		return true
	default:
		b.c.opt.Metrics.Count("bus_hints_total", "dropped")
		return false
	}
}

// publish sends what waits.
func (b *Bus) publish() {
	for {
		var some []hint
		select {
		case <-b.c.ctx.Done():
			return
		case h := <-b.out:
			some = append(some, h)
		}
		for len(some) < publishAtOnce && len(b.out) > 0 {
			some = append(some, <-b.out)
		}
		what := "sent"
		if err := b.c.call(b.c.ctx, "publish", func(ctx context.Context, conn rueidis.Client) error { return b.send(ctx, conn, some) }); err != nil {
			what = "dropped"
		}
		for range some {
			b.c.opt.Metrics.Count("bus_hints_total", what)
		}
	}
}

func (b *Bus) send(ctx context.Context, conn rueidis.Client, some []hint) error {
	commands := make(rueidis.Commands, len(some))
	for i, h := range some {
		if sharded(conn) {
			commands[i] = conn.B().Spublish().Channel(b.channel(h.topic)).Message(rueidis.BinaryString(h.payload)).Build()
		} else {
			commands[i] = conn.B().Publish().Channel(b.channel(h.topic)).Message(rueidis.BinaryString(h.payload)).Build()
		}
	}
	return firstError(conn.DoMulti(ctx, commands...))
}

// Subscribe is chat.Bus's.
func (b *Bus) Subscribe(name string, f func(payload []byte)) (stop func()) {
	s := &subscription{hints: make(chan []byte, busQueue), stop: make(chan struct{})}
	b.mu.Lock()
	t := b.topics[name]
	if t == nil {
		ctx, cancel := context.WithCancel(b.c.ctx)
		t = &topic{subs: make(map[*subscription]struct{}), end: cancel}
		b.topics[name] = t
		b.c.done.Go(func() { b.receive(ctx, name, t) })
	}
	t.subs[s] = struct{}{}
	b.mu.Unlock()
	s.done.Go(func() { s.run(b.c.ctx, f) })
	return sync.OnceFunc(func() {
		b.mu.Lock()
		delete(t.subs, s)
		if len(t.subs) == 0 {
			t.end()
			delete(b.topics, name)
		}
		b.mu.Unlock()
		close(s.stop)
		s.done.Wait()
	})
}

func (s *subscription) run(ctx context.Context, f func([]byte)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.stop:
			return
		case h := <-s.hints:
			f(h)
		}
	}
}

// receive keeps a topic's subscription at the server until ctx ends.
func (b *Bus) receive(ctx context.Context, name string, t *topic) {
	for ctx.Err() == nil {
		if conn := b.c.conn.Load(); conn != nil && b.c.up.Load() {
			hooked := rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
				t.ready.Store(strings.HasSuffix(s.Kind, "subscribe") && !strings.Contains(s.Kind, "unsubscribe"))
			})
			err := (*conn).Receive(hooked, b.subscribe(*conn, name), func(m rueidis.PubSubMessage) { b.heard(t, m.Message) })
			t.ready.Store(false)
			if err != nil && ctx.Err() == nil {
				b.c.opt.Log.Debug("a subscription ended", "topic", name, "err", err)
				b.c.probeSoon()
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(resubscribeAfter):
		}
	}
}

func (b *Bus) subscribe(conn rueidis.Client, name string) rueidis.Completed {
	if sharded(conn) {
		return conn.B().Ssubscribe().Channel(b.channel(name)).Build()
	}
	return conn.B().Subscribe().Channel(b.channel(name)).Build()
}

// heard passes a hint on; it must not block, for the connection waits.
func (b *Bus) heard(t *topic, message string) {
	payload, own := strings.CutPrefix(message, b.self)
	if own || len(payload) <= len(b.self) {
		return
	}
	payload = payload[len(b.self):]
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range t.subs {
		select {
		case s.hints <- []byte(payload):
			b.c.opt.Metrics.Count("bus_hints_total", "heard")
		default:
			b.c.opt.Metrics.Count("bus_hints_total", "dropped")
		}
	}
}

// Works is chat.Bus's: the server answers, and every topic is subscribed.
func (b *Bus) Works() bool {
	if !b.c.up.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.topics {
		if !t.ready.Load() {
			return false
		}
	}
	return true
}
