//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	loadSockets = 8
	// perSocket queries are under way on each socket: together less than the smallest socket buffer of a server holds.
	perSocket = 24
	// lostAfter is when a socket that hears nothing takes what it asked for lost, and asks anew.
	lostAfter = 200 * time.Millisecond
)

// wanted is what a right answer has.
type wanted struct {
	rcode     byte
	answer    uint16 // records
	authority uint16 // records, at least
}

// has says whether a packet is a whole answer of that kind.
func (w wanted) has(b []byte) bool {
	return len(b) >= 12 && b[2]&0x82 == 0x80 && b[3]&0x0f == w.rcode &&
		binary.BigEndian.Uint16(b[6:]) == w.answer && binary.BigEndian.Uint16(b[8:]) >= w.authority
}

// load is one run of the generator.
type load struct {
	want     wanted
	answered uint64
	wrong    uint64 // another answer, or one that is cut
	lost     uint64
}

// asker is one socket with its queries under way. It sends and receives many in one call of the kernel.
type asker struct {
	fd       int
	underway int
	heard    time.Time
	in, out  [perSocket]unix.Mmsghdr
	iovIn    [perSocket]unix.Iovec
	iovOut   [perSocket]unix.Iovec
	buffers  [perSocket][udpBytes]byte
}

func newAsker(server netip.AddrPort) (*asker, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(server.Port()), Addr: server.Addr().As4()}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	a := &asker{fd: fd}
	for i := range perSocket {
		a.iovIn[i].Base = &a.buffers[i][0]
		a.iovIn[i].SetLen(udpBytes)
		a.in[i].Hdr.Iov, a.out[i].Hdr.Iov = &a.iovIn[i], &a.iovOut[i]
		a.in[i].Hdr.SetIovlen(1)
		a.out[i].Hdr.SetIovlen(1)
	}
	return a, nil
}

func (a *asker) close() { _ = unix.Close(a.fd) } // nothing is left to lose

// runLoad asks server the queries, over and over, until ctx ends: always as many at once as there is room for. The caller has
// pinned its thread.
func runLoad(ctx context.Context, server netip.AddrPort, queries [][]byte, l *load) error {
	askers := make([]*asker, loadSockets)
	for i := range askers {
		var err error
		if askers[i], err = newAsker(server); err != nil {
			return err
		}
		defer askers[i].close()
	}
	next := 0
	for now := time.Now(); ctx.Err() == nil; now = time.Now() {
		for _, a := range askers {
			got, err := a.receive(l)
			if err != nil {
				return err
			}
			a.underway -= got
			if got > 0 {
				a.heard = now
			} else if a.underway > 0 && now.Sub(a.heard) > lostAfter {
				l.lost += uint64(a.underway)
				a.underway = 0
			}
			if a.underway < perSocket {
				if a.underway == 0 {
					a.heard = now
				}
				if next, err = a.ask(queries, next); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (a *asker) receive(l *load) (int, error) {
	n, errno := mmsg(unix.SYS_RECVMMSG, a.fd, &a.in[0], perSocket)
	if errno == unix.EAGAIN || errno == unix.ECONNREFUSED {
		return 0, nil
	}
	if errno != 0 {
		return 0, errno
	}
	for i := range n {
		if !l.want.has(a.buffers[i][:a.in[i].Len]) {
			l.wrong++
			continue
		}
		l.answered++
	}
	return min(n, a.underway), nil // what was given up may come all the same
}

// ask fills the socket's room with queries from next on, and gives the next one.
func (a *asker) ask(queries [][]byte, next int) (int, error) {
	count := perSocket - a.underway
	for i := range count {
		q := queries[(next+i)%len(queries)]
		a.iovOut[i].Base = &q[0]
		a.iovOut[i].SetLen(len(q))
	}
	n, errno := mmsg(unix.SYS_SENDMMSG, a.fd, &a.out[0], count)
	if errno == unix.EAGAIN || errno == unix.ECONNREFUSED {
		return next, nil
	}
	if errno != 0 {
		return next, errno
	}
	a.underway += n
	return (next + n) % len(queries), nil
}

func mmsg(number, fd int, first *unix.Mmsghdr, count int) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(uintptr(number), uintptr(fd), uintptr(unsafe.Pointer(first)), uintptr(count), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
