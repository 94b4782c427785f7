// Package roundtrip measures how far clients are, by the sockets that they have open anyway, and remembers it by network and by
// country and autonomous system: never by address. Decision 0026 says why.
package roundtrip

import (
	"net"
	"net/netip"
	"time"
)

// Smoothed gives the kernel's smoothed round trip of a TCP connection and the address at its other end. It is not ok for what is no TCP
// connection of this machine's, for one of which nothing is known yet, and where the system does not tell. It sees through what
// wraps a connection only where that says so (NetConn): what stands for another connection must not.
func Smoothed(c net.Conn) (d time.Duration, peer netip.Addr, ok bool) {
	for {
		if tcp, is := c.(*net.TCPConn); is {
			remote, is := tcp.RemoteAddr().(*net.TCPAddr)
			if !is {
				return 0, netip.Addr{}, false
			}
			d, ok = smoothed(tcp)
			return d, remote.AddrPort().Addr().Unmap().WithZone(""), ok && d > 0
		}
		wrapped, is := c.(interface{ NetConn() net.Conn })
		if !is {
			return 0, netip.Addr{}, false
		}
		c = wrapped.NetConn()
	}
}
