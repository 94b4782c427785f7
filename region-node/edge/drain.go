package edge

import (
	"net"
	"net/netip"
	"sync"

	"meridian/chat"
	"meridian/region-node/drain"
	"meridian/region-node/gateway"
	"meridian/region-node/wire"
)

// tunnelled is a socket that ends here and is served elsewhere.
type tunnelled struct {
	conn gateway.Conn
	zone chat.Zone
	addr netip.Addr
	edge chat.Region
}

func (t *tunnelled) Person() (chat.Zone, netip.Addr) { return t.zone, t.addr }

func (t *tunnelled) Edge() chat.Region { return t.edge }

// NetConn gives the client's connection; nil where it does not end in this node.
func (t *tunnelled) NetConn() net.Conn {
	if own, ok := t.conn.(gateway.Socket); ok {
		return own.NetConn()
	}
	return nil
}

func (t *tunnelled) GoAway(f wire.GoAway) {
	go func() { _ = t.conn.Write([][]byte{wire.Encode(f)}) }() // one that cannot be told is closed when the time is over
}

func (t *tunnelled) End(code int, reason string) { t.conn.Close(code, reason) }

// tunnels are the sockets that end here and are served elsewhere.
type tunnels struct {
	mu   sync.Mutex
	open map[*tunnelled]struct{}
}

func (t *tunnels) add(one *tunnelled) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[*tunnelled]struct{})
	}
	t.open[one] = struct{}{}
}

func (t *tunnels) remove(one *tunnelled) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, one)
}

// Tunnelled gives the sockets that end here and are served elsewhere: a drain moves them too.
func (e *Edge) Tunnelled() []drain.Socket {
	e.passing.mu.Lock()
	defer e.passing.mu.Unlock()
	out := make([]drain.Socket, 0, len(e.passing.open))
	for one := range e.passing.open {
		out = append(out, one)
	}
	return out
}

// leave says where somebody who opens a socket here is to go instead, while the region drains; nil: nowhere.
func (e *Edge) leave(hello gateway.Hello) error {
	endpoints := e.opt.Leave(hello.Claims.Zone, hello.Addr)
	if len(endpoints) == 0 {
		return nil
	}
	return &chat.Error{
		Code: chat.CodeWrongRegion, Op: "edge.leave", Endpoints: endpoints,
		Message: "region " + string(e.opt.Self) + " is being drained and takes nobody new; " + string(endpoints[0].Region) + " serves you",
	}
}
