//go:build !linux

package dns

import (
	"net"
	"runtime"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// udpSocket is one socket, which several goroutines serve.
type udpSocket struct{ conn *net.UDPConn }

func listenUDP(addr string) ([]*udpSocket, error) {
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
	return []*udpSocket{{conn}}, nil
}

func (s *udpSocket) addr() string { return s.conn.LocalAddr().String() }
func (s *udpSocket) close() error { return s.conn.Close() }

func (s *udpSocket) serve(wg *sync.WaitGroup, server *Server) {
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() { server.servePlain(s.conn) })
	}
}
