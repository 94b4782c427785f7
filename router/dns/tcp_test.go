package dns

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A connection takes query after query, also sent at once and in pieces; it tells how long it stays; who is silent is closed.
func TestTCPConnections(t *testing.T) {
	idle := func(d time.Duration) net.Conn {
		s := server(t, func(o *Options) { o.Serving.TCPIdle = d })
		return connect(t, "tcp", served(t, s))
	}
	conn := idle(time.Minute)
	frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(raw()))), raw()...)
	var many []byte
	for range 50 {
		many = append(many, frame...)
	}
	for _, piece := range [][]byte{many[:1], many[1:2], many[2:30], many[30:]} {
		if _, err := conn.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint16(size[:]))); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
	m := new(dns.Msg)
	if err := m.Unpack(overTCP(t, conn, raw("000b 0000"))); err != nil {
		t.Fatal(err)
	}
	if o, ok := m.IsEdns0().Option[0].(*dns.EDNS0_TCP_KEEPALIVE); !ok || o.Timeout != 600 {
		t.Errorf("keep-alive: %s", render(m))
	}
	if n, err := idle(300 * time.Millisecond).Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a silent connection: %d bytes, %v", n, err)
	}
}

// One network cannot take all connections, and all networks together no more than there are; who leaves makes room.
func TestTCPRoom(t *testing.T) {
	r := newRoom(5, 2)
	a, beside, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("198.51.100.1")
	for i, step := range []struct {
		from netip.Addr
		in   bool
	}{{a, true}, {beside, true}, {a, false}, {b, true}, {netip.MustParseAddr("2001:db8:0:ff::1"), true}, {b, false}, {c, true}, {c, false}} {
		if r.enter(step.from) != step.in {
			t.Errorf("step %d: %s", i, step.from)
		}
	}
	r.leave(beside)
	if !r.enter(c) || r.enter(a) {
		t.Error("a place that was left is not one place")
	}
	for _, from := range []netip.Addr{a, b, b, c, c} {
		r.leave(from)
	}
	if r.taken != 0 || len(r.takenBy) != 0 {
		t.Errorf("%d taken, %v", r.taken, r.takenBy)
	}
}

// A connection for which there is no room is closed and counted; the others are served.
func TestTCPFull(t *testing.T) {
	s := server(t, func(o *Options) { o.Serving.TCPConnections = 1 })
	addr := served(t, s)
	first := connect(t, "tcp", addr)
	overTCP(t, first, raw())
	second, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := second.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes", n)
	}
	overTCP(t, first, raw())
}
