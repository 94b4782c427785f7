package redis

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"meridian/chat"
	"meridian/deploy/local"
)

// wire carries connections to a server. While it is broken it swallows what clients say, and they do not notice.
type wire struct {
	address, server string
	broken          atomic.Bool
	mu              sync.Mutex
	open            []net.Conn
}

func newWire(t *testing.T, server string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", local.ListenAddress())
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{address: l.Addr().String(), server: server}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			w.mu.Lock()
			w.open = append(w.open, in, out)
			w.mu.Unlock()
			all.Go(func() { w.carry(in, out) })
			all.Go(func() { w.carry(out, in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.mend()
		all.Wait()
	})
	return w
}

func (w *wire) carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if w.broken.Load() {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// mend ends the connections, which lack what was swallowed, and carries new ones.
func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.open {
		_ = conn.Close()
	}
	w.open = nil
	w.broken.Store(false)
}

// A delete that was lost on the way is owed, and done when the server is reached again: it is the same life of the server, whose old value
// would be shown else.
func TestDeleteLostOnTheWay(t *testing.T) {
	s := startServer(t)
	w, ctx := newWire(t, s.addr), context.Background()
	host, _, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := openClient(t, s, func(o *Options) {
		strict(o)
		o.Addresses, o.TLS = []string{w.address}, o.TLS.Clone()
		o.TLS.ServerName = host
	})
	b := clients(t, s, 1, nil)[0]
	within(t, "connected", func() bool { return a.Status().Up })
	put(t, a.Cache(), key("ann"), "old")
	within(t, "the other node has it", func() bool { return value(b.Cache(), key("ann")) == "old" })
	w.broken.Store(true)
	if err := a.Cache().Delete(ctx, key("ann")); chat.CodeOf(err) != chat.CodeRegionDegraded {
		t.Errorf("delete: %v", err)
	}
	within(t, "the delete is lost: the other node shows the old value", func() bool { return value(b.Cache(), key("ann")) == "old" })
	w.mend()
	within(t, "nothing is owed any more", func() bool { return a.Status().Up && a.Status().PendingDeletes == 0 })
	for _, c := range []*Client{a, b} {
		within(t, "the old value is gone", func() bool { return value(c.Cache(), key("ann")) == "" })
	}
}
