package dns

import (
	"encoding/binary"
	"net"
	"testing"
	"time"
	"unsafe"
)

func nameBytes(b *batches, i int) []byte {
	return (*[16]byte)(unsafe.Pointer(&b.names[i]))[:]
}

// An answer that cannot be sent does not keep back those behind it.
func TestSendGoesOnAfterAFault(t *testing.T) {
	sockets, err := listenUDP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		defer s.shut()
	}
	own, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	to := own.LocalAddr().(*net.UDPAddr).AddrPort()
	b := newBatches(sockets[0])
	const all = 5
	for i := range all {
		four := to.Addr().As4()
		name := nameBytes(b, i)
		binary.NativeEndian.PutUint16(name, 2) // AF_INET
		binary.BigEndian.PutUint16(name[2:], to.Port())
		copy(name[4:], four[:])
		b.in[i].Hdr.Namelen = 16
		b.queue(i, []byte{byte(i)})
	}
	for _, i := range []int{0, 2} {
		binary.BigEndian.PutUint16(nameBytes(b, i)[2:], 0) // no port to send to
	}
	b.send()
	buf := make([]byte, 16)
	for _, want := range []byte{1, 3, 4} {
		if err := own.SetReadDeadline(time.Now().Add(answerWait)); err != nil {
			t.Fatal(err)
		}
		n, err := own.Read(buf)
		if err != nil || n != 1 || buf[0] != want {
			t.Fatalf("got %d bytes, %x, %v; want %d", n, buf[:n], err, want)
		}
	}
}
