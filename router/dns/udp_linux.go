package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
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

// listenUDP binds one socket for each processor to the same address. The kernel gives all datagrams of one asker's port to
// the same socket.
func listenUDP(addr string) ([]*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }), err)
	}}
	var all []*net.UDPConn
	for range runtime.GOMAXPROCS(0) {
		conn, err := config.ListenPacket(context.Background(), "udp", addr)
		if err != nil {
			return nil, errors.Join(err, closeAll(all))
		}
		udp := conn.(*net.UDPConn)
		all = append(all, udp)
		if err := receiveDestination(udp); err != nil {
			return nil, errors.Join(err, closeAll(all))
		}
		_ = udp.SetReadBuffer(socketBytes) // the kernel gives what it may
	}
	return all, nil
}

// receiveDestination has a socket on a wildcard address tell which address was asked: the answer must leave from there. An
// IPv6 socket tells it of IPv4 datagrams too, as a mapped address.
func receiveDestination(conn *net.UDPConn) error {
	at := conn.LocalAddr().(*net.UDPAddr)
	switch {
	case !at.IP.IsUnspecified():
		return nil
	case at.IP.To4() != nil:
		return ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true)
	}
	return ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true)
}

func (s *Server) serveUDP(wg *sync.WaitGroup, conn *net.UDPConn) {
	wg.Go(func() { s.serveBatches(conn) })
}

// serveBatches answers what one socket receives, until it is closed, in batches: first all that the fast path takes, then the
// rest, so that nobody waits for another's signature.
func (s *Server) serveBatches(conn *net.UDPConn) {
	b, err := newBatches(conn)
	if err != nil {
		return // closed already
	}
	var counted [fastKinds]uint64
	slow := make([]int, 0, batchMax)
	q := new(fastQuery)
	for {
		n, err := b.receive()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // the kernel is short of memory; nothing of ours is wrong
			continue
		}
		slow = slow[:0]
		for i := range n {
			q.from = b.from(i)
			size := s.fast.answer(b.buffers[i][:], b.size(i), q)
			if size == 0 {
				slow = append(slow, i)
				continue
			}
			counted[q.kind]++
			b.queue(i, b.buffers[i][:size])
		}
		b.send()
		s.counts.add(&counted)
		for _, i := range slow {
			if out := s.Respond(b.buffers[i][:b.size(i)], b.from(i), false); out != nil {
				b.queue(i, out)
			}
		}
		b.send()
	}
}

// batches receives and sends many datagrams in one call of the kernel. All its memory is allocated once.
type batches struct {
	raw      syscall.RawConn
	received int // how many of in are to be made ready again
	control  int // bytes of control; 0 for a socket that does not tell destinations
	queued   int
	in, out  [batchMax]unix.Mmsghdr
	iov      [batchMax]unix.Iovec // one for each datagram, in and out
	names    [batchMax]unix.RawSockaddrInet6
	controls [batchMax][controlBytes]byte
	buffers  [batchMax][bufferBytes]byte

	// What the calls of raw leave behind; the functions are made once, because making them allocates.
	count   int
	failed  error
	reading func(fd uintptr) bool
	writing func(fd uintptr) bool
}

func newBatches(conn *net.UDPConn) (*batches, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &batches{raw: raw, received: batchMax}
	if conn.LocalAddr().(*net.UDPAddr).IP.IsUnspecified() {
		b.control = controlBytes
	}
	for i := range batchMax {
		h := &b.in[i].Hdr
		h.Name, h.Iov, h.Control = (*byte)(unsafe.Pointer(&b.names[i])), &b.iov[i], &b.controls[i][0]
		h.SetIovlen(1)
	}
	b.reading, b.writing = b.read, b.write
	return b, nil
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
	if err := b.raw.Read(b.reading); err != nil {
		return 0, err
	}
	b.received = b.count
	return b.received, b.failed
}

func (b *batches) read(fd uintptr) bool {
	n, errno := call(unix.SYS_RECVMMSG, fd, &b.in[0], batchMax)
	b.count, b.failed = n, nil
	switch errno {
	case 0:
	case unix.EAGAIN:
		return false
	default:
		b.count, b.failed = 0, errno
	}
	return true
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
		b.count = at
		if b.raw.Write(b.writing) != nil {
			break // closed
		}
		at = b.count
	}
	b.queued = 0
}

// write sends from b.count on, and moves it behind what was sent or can never be.
func (b *batches) write(fd uintptr) bool {
	n, errno := call(unix.SYS_SENDMMSG, fd, &b.out[b.count], b.queued-b.count)
	switch errno {
	case 0:
		b.count += n
	case unix.EAGAIN:
		return false
	default:
		b.count++ // the first one is at fault
	}
	return true
}

func call(number, fd uintptr, first *unix.Mmsghdr, count int) (int, unix.Errno) {
	for {
		n, _, errno := unix.Syscall6(number, fd, uintptr(unsafe.Pointer(first)), uintptr(count), unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}
