package dns

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"meridian/deploy/local"
)

// shapeCase is a query of testdata/malformed.txt.
type shapeCase struct {
	name, rcode string
	query       []byte
}

func shapeCases(t testing.TB) []shapeCase {
	t.Helper()
	text, err := os.ReadFile("testdata/malformed.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []shapeCase
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(strings.TrimSuffix(line, "\n"), " | ")
		if len(parts) != 3 {
			t.Fatalf("%q is not name | RCODE | bytes", line)
		}
		query, err := hex.DecodeString(parts[2])
		if err != nil {
			t.Fatalf("%s: %v", parts[0], err)
		}
		out = append(out, shapeCase{parts[0], parts[1], query})
	}
	return out
}

// rcodeOf gives the RCODE of an answer, with the part that lies in its OPT record.
func rcodeOf(t testing.TB, out []byte) string {
	t.Helper()
	if out == nil {
		return "silence"
	}
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatalf("the answer does not unpack: %v", err)
	}
	if m.Rcode == dns.RcodeBadVers {
		return "BADVERS" // the library knows 16 as BADSIG only
	}
	return dns.RcodeToString[m.Rcode]
}

// Every shape of query gets its right RCODE, signed zone or not, and an answer that repeats its id and what could be read.
func TestShapes(t *testing.T) {
	signed, _ := signed(t, nil)
	for name, s := range map[string]*Server{"plain": server(t, nil), "signed": signed} {
		for _, c := range shapeCases(t) {
			before := bytes.Clone(c.query)
			out := s.Respond(c.query, netip.MustParseAddr(london), false)
			if got := rcodeOf(t, out); got != c.rcode {
				t.Errorf("%s, %s: got %s, want %s", name, c.name, got, c.rcode)
			}
			if !bytes.Equal(before, c.query) {
				t.Errorf("%s: the query was changed", c.name)
			}
			if out != nil && (!bytes.Equal(out[:2], c.query[:2]) || out[2]&0x80 == 0 || out[2]>>3&0x0f != c.query[2]>>3&0x0f) {
				t.Errorf("%s: header %x", c.name, out[:headerBytes])
			}
		}
	}
}

// What answers a query is never answered itself, whatever it says: two servers that are told to be each other's askers stay silent.
func TestAnswersAreNotAnswered(t *testing.T) {
	s, _ := signed(t, nil)
	from := netip.MustParseAddr(london)
	answers := 0
	for _, c := range shapeCases(t) {
		for _, tcp := range []bool{false, true} {
			out := s.Respond(c.query, from, tcp)
			if out == nil {
				continue
			}
			answers++
			if again := s.Respond(out, from, tcp); again != nil {
				t.Errorf("%s: the answer is answered: %x", c.name, again)
			}
			if again := fastAnswerOf(s, out, from); again != nil {
				t.Errorf("%s: the fast path answers the answer: %x", c.name, again)
			}
		}
	}
	if answers < 200 {
		t.Errorf("only %d answers", answers)
	}
}

// Over real sockets the same shapes get the same RCODEs, over TCP also those that no datagram holds; and the server serves after
// all of them.
func TestShapesOverSockets(t *testing.T) {
	s := server(t, nil)
	addr := served(t, s)
	udp := connect(t, "udp", addr)
	tcp := connect(t, "tcp", addr)
	buf := make([]byte, dns.MaxMsgSize)
	for _, c := range shapeCases(t) {
		if _, err := udp.Write(c.query); err != nil { // of no bytes, too
			t.Fatal(err)
		}
		if c.rcode == "silence" {
			continue // an answer would be taken for the next one's, and that this one comes shows that no harm was done
		}
		n, err := udp.Read(buf)
		if err != nil {
			t.Fatalf("%s over UDP: %v", c.name, err)
		}
		if got := rcodeOf(t, buf[:n]); got != c.rcode {
			t.Errorf("%s over UDP: got %s, want %s", c.name, got, c.rcode)
		}
		if got := rcodeOf(t, overTCP(t, tcp, c.query)); got != c.rcode {
			t.Errorf("%s over TCP: got %s, want %s", c.name, got, c.rcode)
		}
	}
	good := raw()
	for name, c := range map[string]struct {
		query []byte
		want  string
	}{
		"64 kB of zeros behind a query":    {append(raw(), make([]byte, dns.MaxMsgSize-len(good))...), "FORMERR"},
		"64 kB that begin with a response": {append([]byte{1, 2, 0x80}, make([]byte, dns.MaxMsgSize-3)...), "silence"},
		"64 kB of 0xff":                    {append([]byte{1, 2, 1, 0}, bytes.Repeat([]byte{0xff}, dns.MaxMsgSize-4)...), "FORMERR"},
		"a query of no bytes":              {nil, "silence"},
		"a query of one byte":              {[]byte{1}, "silence"},
		"a response":                       {append([]byte{1, 2, 0x81}, good[3:]...), "silence"},
	} {
		one := connect(t, "tcp", addr)
		if c.want == "silence" { // and the connection ends, for who sends such things means no good
			if _, err := one.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(c.query))), c.query...)); err != nil {
				t.Fatal(err)
			}
			if n, err := one.Read(buf); err == nil {
				t.Errorf("%s: %d bytes of answer", name, n)
			}
			continue
		}
		if got := rcodeOf(t, overTCP(t, one, c.query)); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
		if got := rcodeOf(t, overTCP(t, one, good)); got != "NOERROR" {
			t.Errorf("a good query on the connection of %s: got %s", name, got)
		}
	}
	if _, err := udp.Write(good); err != nil {
		t.Fatal(err)
	}
	if n, err := udp.Read(buf); err != nil || rcodeOf(t, buf[:n]) != "NOERROR" {
		t.Errorf("after all of them: %v", err)
	}
}

// served runs a server on a loopback port until the test ends.
func served(t *testing.T, s *Server) (addr string) {
	t.Helper()
	// An address of its own: dig takes any port of 127.0.0.1, also one that is ours, and then hears itself.
	serve(t, s, local.ListenAddress())
	return s.Addr()
}

func connect(t testing.TB, network, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func overTCP(t testing.TB, conn net.Conn, query []byte) []byte {
	t.Helper()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		t.Fatal(err)
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		t.Fatal(err)
	}
	out := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, out); err != nil {
		t.Fatal(err)
	}
	return out
}
