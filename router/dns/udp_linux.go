package dns

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchMax = 64
	// bufferBytes is more than a query may have, so that the beginnings of buffers, which is where queries are, do not all fall
	// into the same lines of the processor's cache.
	bufferBytes = queryBytes + 3*64
	// controlBytes holds the destination address of a datagram of either family.
	controlBytes = 64
	// socketBytes of queries wait in the kernel, as far as it allows, while a batch is answered.
	socketBytes = 1 << 20
)

// udpSocket is one of our sockets. It is not the runtime's: that one would be told of every datagram that has been sent, which
// costs more than the answer, and would hand the processor on in each call of the kernel.
type udpSocket struct {
	fd       int
	at       netip.AddrPort
	wildcard bool // on all addresses: each datagram tells which one was asked
	closed   atomic.Bool
}

// listenUDP binds one socket for each processor to the same address. The kernel gives all datagrams of one asker's port to
// the same socket.
func listenUDP(addr string) ([]*udpSocket, error) {
	resolved, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	at := netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(resolved.Port)) // no host: all addresses of both families
	if resolved.IP != nil {
		at = netip.AddrPortFrom(resolved.AddrPort().Addr().Unmap(), at.Port())
	} else if !hasIPv6() {
		at = netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
	}
	var all []*udpSocket
	for range runtime.GOMAXPROCS(0) {
		s, err := openUDP(at)
		if err != nil {
			for _, s := range all {
				s.shut()
			}
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

func openUDP(at netip.AddrPort) (*udpSocket, error) {
	family, address := unix.AF_INET, unix.Sockaddr(nil)
	if a := at.Addr(); a.Is4() {
		address = &unix.SockaddrInet4{Port: int(at.Port()), Addr: a.As4()}
	} else {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: a.As16(), ZoneId: zoneOf(a)}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &udpSocket{fd: fd, at: at, wildcard: at.Addr().IsUnspecified()}
	if err := s.configure(family); err != nil {
		s.shut()
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, address); err != nil {
		s.shut()
		return nil, os.NewSyscallError("bind", err)
	}
	return s, nil
}

// configure sets the options. An IPv6 socket on all addresses takes IPv4 too, and tells its destinations as mapped addresses.
func (s *udpSocket) configure(family int) error {
	set := func(level, option, value int) error { return unix.SetsockoptInt(s.fd, level, option, value) }
	if err := set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	_ = set(unix.SOL_SOCKET, unix.SO_RCVBUF, socketBytes) // the kernel gives what it may
	switch {
	case family == unix.AF_INET6 && s.wildcard:
		if err := set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return err
		}
		return set(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	case s.wildcard:
		return set(unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	return nil
}

// zoneOf gives the interface of a link-local address; bind refuses such an address for 0.
func zoneOf(a netip.Addr) uint32 {
	if a.Zone() == "" {
		return 0
	}
	i, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return 0
	}
	return uint32(i.Index)
}

func (s *udpSocket) addr() string { return s.at.String() }

// close makes whoever waits on the socket, and whoever comes to wait, return. The socket itself stays until serve has ended.
func (s *udpSocket) close() error {
	s.closed.Store(true)
	err := unix.Shutdown(s.fd, unix.SHUT_RD)
	if err == unix.ENOTCONN { // it says so of every socket that is not connected, and does it all the same
		return nil
	}
	return os.NewSyscallError("shutdown", err)
}

func (s *udpSocket) shut() { _ = unix.Close(s.fd) } // there is nothing left to lose

func (s *udpSocket) serve(wg *sync.WaitGroup, server *Server) {
	wg.Go(func() {
		server.serveBatches(s)
		s.shut()
	})
}

// serveBatches answers what one socket receives, until it is closed, in batches: first all that the fast path takes, then the
// rest, so that nobody waits for another's signature.
func (s *Server) serveBatches(socket *udpSocket) {
	b := newBatches(socket)
	var counted batchCounts
	slow := make([]int, 0, batchMax)
	q := new(fastQuery)
	for {
		n, err := b.receive()
		if socket.closed.Load() {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // the kernel is short of memory; nothing of ours is wrong
			continue
		}
		now := s.shows.Load()
		slow, q.now = slow[:0], s.opts.Now()
		for i := range n {
			q.from = b.from(i)
			size := now.fast.answer(b.buffers[i][:], b.size(i), q)
			if size == 0 {
				slow = append(slow, i)
				continue
			}
			counted.note(q)
			if size != fastDrop {
				b.queue(i, b.buffers[i][:size])
			}
		}
		b.send()
		for _, i := range slow {
			q.from = b.from(i)
			if size := now.fast.make(b.buffers[i][:], b.size(i), q); size != 0 {
				counted.note(q)
				if size != fastDrop {
					b.queue(i, b.buffers[i][:size])
				}
				continue
			}
			if out := now.Respond(b.buffers[i][:b.size(i)], b.from(i), false); out != nil {
				b.queue(i, out)
			}
		}
		b.send()
		s.counts.add(&counted)
	}
}

// batches receives and sends many datagrams in one call of the kernel. All its memory is allocated once.
type batches struct {
	fd       uintptr
	received int // how many of in are to be made ready again
	queued   int
	control  int // bytes of control; 0 for a socket that does not tell destinations
	in, out  [batchMax]unix.Mmsghdr
	iov      [batchMax]unix.Iovec // one for each datagram, in and out
	names    [batchMax]unix.RawSockaddrInet6
	controls [batchMax][controlBytes]byte
	buffers  [batchMax][bufferBytes]byte
}

func newBatches(s *udpSocket) *batches {
	b := &batches{fd: uintptr(s.fd), received: batchMax}
	if s.wildcard {
		b.control = controlBytes
	}
	for i := range batchMax {
		h := &b.in[i].Hdr
		h.Name, h.Iov, h.Control = (*byte)(unsafe.Pointer(&b.names[i])), &b.iov[i], &b.controls[i][0]
		h.SetIovlen(1)
	}
	return b
}

// receive waits for datagrams and gives how many came.
func (b *batches) receive() (int, error) {
	for i := range b.received {
		h := &b.in[i].Hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(b.control)
		b.iov[i].Base = &b.buffers[i][0]
		b.iov[i].SetLen(queryBytes)
	}
	b.received = 0
	n, errno := call(unix.SYS_RECVMMSG, b.fd, b.in[:])
	if errno != 0 {
		return 0, errno
	}
	b.received = n
	return n, nil
}

// size gives the length of the i-th datagram received.
func (b *batches) size(i int) int { return int(b.in[i].Len) }

// from gives who sent the i-th datagram.
func (b *batches) from(i int) netip.Addr {
	name := &b.names[i]
	if name.Family == unix.AF_INET {
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr)
	}
	return netip.AddrFrom16(name.Addr).Unmap()
}

// queue answers the i-th datagram received: to where it came from, from the address that was asked.
func (b *batches) queue(i int, answer []byte) {
	b.iov[i].Base = &answer[0]
	b.iov[i].SetLen(len(answer))
	h := &b.out[b.queued].Hdr
	*h = b.in[i].Hdr
	if h.Controllen > 0 {
		anyInterface(b.controls[i][:h.Controllen])
	}
	b.queued++
}

// anyInterface keeps of a datagram's destination the address and takes out the interface: the way back may be another one.
// A link-local address means nothing without its interface.
func anyInterface(control []byte) {
	head := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	data := control[unix.CmsgLen(0):]
	switch {
	case head.Level == unix.SOL_IP && head.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		(*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Ifindex = 0
	case head.Level == unix.SOL_IPV6 && head.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
		if !netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() {
			info.Ifindex = 0
		}
	}
}

// send sends what is queued. A datagram that cannot be sent is one that is lost: the asker repeats its question.
func (b *batches) send() {
	for at := 0; at < b.queued; {
		n, errno := call(unix.SYS_SENDMMSG, b.fd, b.out[at:b.queued])
		if errno != 0 {
			n = 1 // the first one is at fault
		}
		at += n
	}
	b.queued = 0
}

// call receives or sends a batch. First it asks for no more than what can be done at once, without a word to the scheduler,
// which would hand on our processor in the middle of each batch and have to give it back. Only when it must wait does it tell.
func call(number, fd uintptr, batch []unix.Mmsghdr) (int, unix.Errno) {
	count := uintptr(len(batch))
	for {
		n, _, errno := unix.RawSyscall6(number, fd, uintptr(unsafe.Pointer(&batch[0])), count, unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EAGAIN {
			n, _, errno = unix.Syscall6(number, fd, uintptr(unsafe.Pointer(&batch[0])), count, unix.MSG_WAITFORONE, 0, 0)
		}
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}
