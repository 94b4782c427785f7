//go:build !linux

package dns

import (
	"net"
	"runtime"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

func listenUDP(addr string) ([]*net.UDPConn, error) {
	at, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", at)
	if err != nil {
		return nil, err
	}
	// On a wildcard address the answer must leave from the address that was asked. One of the two families may refuse.
	_ = ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	_ = ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	return []*net.UDPConn{conn}, nil
}

func (s *Server) serveUDP(wg *sync.WaitGroup, conn *net.UDPConn) {
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() { s.servePlain(conn) })
	}
}
