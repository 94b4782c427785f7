package front

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// What a header of the PROXY protocol may cost.
const (
	// proxyHeaderTimeout is from the moment when the connection is first used to the end of its header.
	proxyHeaderTimeout = 5 * time.Second
	// proxyHeaderMaxBytes bounds a header with all that the proxy adds (TLVs).
	proxyHeaderMaxBytes = 2048
)

// proxyListener reads a PROXY protocol header (version 2, binary) from connections of listed proxies, from each and before
// anything else. What others send is not read as a header: a client that sends one sends a bad request.
type proxyListener struct {
	net.Listener
	front *Front
}

func (l *proxyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	peer := addrPortOf(c.RemoteAddr()).Addr()
	if !within(peer.Unmap().WithZone(""), l.front.proxies) {
		return c, nil
	}
	return &proxiedConn{Conn: c, front: l.front, remote: c.RemoteAddr()}, nil
}

// proxiedConn is a proxy's connection: it reads its header when it is first asked for the client's address or for bytes, and so
// in the connection's own goroutine (net/http asks for the address first).
type proxiedConn struct {
	net.Conn
	front  *Front
	once   sync.Once
	remote net.Addr
	err    error
}

// RemoteAddr gives the client's address, or the proxy's when the proxy speaks for itself.
func (c *proxiedConn) RemoteAddr() net.Addr {
	c.once.Do(c.readHeader)
	return c.remote
}

func (c *proxiedConn) Read(p []byte) (int, error) {
	c.once.Do(c.readHeader)
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(p)
}

// readHeader closes the connection when its header is bad. A proxy that only looks whether the port is open sends nothing: no
// bad header.
func (c *proxiedConn) readHeader() {
	client, err := readProxyHeader(c.Conn, time.Now().Add(proxyHeaderTimeout))
	if err == nil {
		if client.IsValid() {
			c.remote = net.TCPAddrFromAddrPort(client)
		}
		c.front.metrics.Count("proxy_headers_total", "taken")
		return
	}
	c.err = err
	defer c.Conn.Close()
	if !errors.Is(err, io.EOF) {
		c.front.metrics.Count("proxy_headers_total", whyRefused(err))
		c.front.log.Debug("a proxy's connection is closed since its PROXY header is bad", "proxy", c.remote.String(), "err", err)
	}
}

// What is wrong with a header.
var (
	errNoHeader  = errors.New("the connection does not begin with a PROXY v2 header")
	errMalformed = errors.New("the PROXY header is malformed")
	errTooLarge  = errors.New("the PROXY header is over the limit")
)

// whyRefused gives the metric's word for an error of readProxyHeader.
func whyRefused(err error) string {
	switch {
	case errors.Is(err, errNoHeader):
		return "missing"
	case errors.Is(err, errTooLarge):
		return "too_large"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	}
	return "malformed"
}

// proxySignature begins a header of version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// The fixed part: signature, version and command, family and protocol, length of what follows (big endian).
const (
	proxyFixedBytes = 16
	commandLocal    = 0x20 // version 2: the proxy speaks for itself
	commandProxy    = 0x21
	overTCP4        = 0x11
	overTCP6        = 0x21
	tlvCRC32C       = 0x03
	tlvHeadBytes    = 3 // type, length
)

// readProxyHeader reads the header and no byte behind it, and lifts the deadline again. The address is the zero one when the
// proxy speaks for itself or for what has none. io.EOF: not one byte came.
func readProxyHeader(c net.Conn, deadline time.Time) (netip.AddrPort, error) {
	none := netip.AddrPort{}
	if err := c.SetReadDeadline(deadline); err != nil {
		return none, err
	}
	head := make([]byte, proxyFixedBytes, proxyFixedBytes+64)
	for n := 0; n < len(head); { // as they come: what is no header is known by its first wrong byte
		m, err := c.Read(head[n:])
		for i := n; i < min(n+m, len(proxySignature)); i++ {
			if head[i] != proxySignature[i] {
				return none, errNoHeader
			}
		}
		if n += m; n < len(head) && err != nil {
			if errors.Is(err, io.EOF) && n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return none, err
		}
	}
	length := int(binary.BigEndian.Uint16(head[14:]))
	if proxyFixedBytes+length > proxyHeaderMaxBytes {
		return none, errTooLarge
	}
	whole := append(head, make([]byte, length)...)
	if _, err := io.ReadFull(c, whole[proxyFixedBytes:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return none, err
	}
	client, err := parseProxyHeader(whole)
	if err != nil {
		return none, err
	}
	return client, c.SetReadDeadline(time.Time{})
}

// parseProxyHeader reads a whole header that begins with the signature and has the length that it says. A family or protocol
// other than TCP over IP counts as none, as the protocol asks.
func parseProxyHeader(whole []byte) (client netip.AddrPort, err error) {
	rest := whole[proxyFixedBytes:]
	switch whole[12] {
	case commandLocal:
		return client, nil
	case commandProxy:
	default:
		return client, errMalformed
	}
	bytes := 0 // of one address
	switch whole[13] {
	case overTCP4:
		bytes = net.IPv4len
	case overTCP6:
		bytes = net.IPv6len
	default:
		return client, nil
	}
	if len(rest) < 2*bytes+4 {
		return client, errMalformed
	}
	addr, _ := netip.AddrFromSlice(rest[:bytes]) // of the right length
	client = netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(rest[2*bytes:]))
	if !tlvsOK(whole, proxyFixedBytes+2*bytes+4) {
		return netip.AddrPort{}, errMalformed
	}
	return client, nil
}

// tlvsOK walks what the proxy added behind the addresses, at index at, and checks the checksum if it is there.
func tlvsOK(whole []byte, at int) bool {
	for at < len(whole) {
		if at+tlvHeadBytes > len(whole) {
			return false
		}
		kind, value := whole[at], at+tlvHeadBytes
		if at = value + int(binary.BigEndian.Uint16(whole[at+1:])); at > len(whole) {
			return false
		}
		if kind == tlvCRC32C && !checksumOK(whole, value, at) {
			return false
		}
	}
	return true
}

// checksumOK checks a CRC-32C over the whole header, the checksum's own bytes being 0.
func checksumOK(whole []byte, from, to int) bool {
	if to-from != crc32.Size {
		return false
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, whole[:from])
	sum = crc32.Update(sum, table, make([]byte, crc32.Size))
	sum = crc32.Update(sum, table, whole[to:])
	return sum == binary.BigEndian.Uint32(whole[from:])
}

// addrPortOf gives the zero value for what is no TCP address.
func addrPortOf(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}
