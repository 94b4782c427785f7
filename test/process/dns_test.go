package process

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"meridian/chat"
	"meridian/test/cluster"
)

// asker asks a deployment's name server over one UDP socket.
type asker struct {
	conn    net.Conn
	name    string
	regions map[string]chat.Region // by address
	buf     [4096]byte
}

// askerOf makes one; each goroutine needs its own.
func askerOf(t *testing.T, c *cluster.Cluster) *asker {
	t.Helper()
	conn, err := net.Dial("udp", c.Config.Router.DNS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	a := &asker{conn: conn, name: mdns.Fqdn(c.Config.Router.Domain), regions: map[string]chat.Region{}}
	for _, r := range c.Config.Regions {
		for _, address := range r.Addresses {
			a.regions[netip.MustParseAddr(address).String()] = r.Name
		}
	}
	return a
}

// ask asks for the name as a resolver does whose client is at addr, and gives the regions that are answered, in order.
func (a *asker) ask(addr netip.Addr, within time.Duration) ([]chat.Region, error) {
	q := new(mdns.Msg)
	q.SetQuestion(a.name, mdns.TypeA)
	q.SetEdns0(1232, false)
	family := uint16(1)
	if addr.Is6() {
		family = 2
	}
	q.IsEdns0().Option = []mdns.EDNS0{&mdns.EDNS0_SUBNET{
		Code: mdns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(addr.BitLen()), Address: net.IP(addr.AsSlice()),
	}}
	raw, err := q.Pack()
	if err != nil {
		return nil, err
	}
	if err := a.conn.SetDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	if _, err := a.conn.Write(raw); err != nil {
		return nil, err
	}
	n, err := a.conn.Read(a.buf[:])
	if err != nil {
		return nil, err
	}
	m := new(mdns.Msg)
	if err := m.Unpack(a.buf[:n]); err != nil || m.Id != q.Id || m.Rcode != mdns.RcodeSuccess {
		return nil, fmt.Errorf("answered %v, %w", m, err)
	}
	var out []chat.Region
	for _, rr := range m.Answer {
		if one, ok := rr.(*mdns.A); ok {
			out = append(out, a.regions[one.A.String()])
		}
	}
	return out, nil
}
