package front

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"meridian/config"
)

// header makes a PROXY v2 header as a proxy would.
func header(command, family byte, body string) string {
	return proxySignature + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(body)))) + body
}

func tcp4(src string) string { return header(commandProxy, overTCP4, addresses(src, "127.0.0.1")) }

func addresses(src, dst string) string {
	return string(netip.MustParseAddr(src).AsSlice()) + string(netip.MustParseAddr(dst).AsSlice()) + "\x30\x39\x01\xbb"
}

func tlv(kind byte, value string) string {
	return string([]byte{kind}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(value)))) + value
}

// summed is a header with its checksum.
func summed(src string) string {
	h := []byte(header(commandProxy, overTCP4, addresses(src, "127.0.0.1")+tlv(tlvCRC32C, "\x00\x00\x00\x00")))
	binary.BigEndian.PutUint32(h[len(h)-4:], crc32.Checksum(h, crc32.MakeTable(crc32.Castagnoli)))
	return string(h)
}

const (
	get     = "GET /address HTTP/1.0\r\nHost: x\r\n\r\n"
	getFrom = "GET /address HTTP/1.0\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
)

func listed(n *config.Network) {
	n.ProxyProtocol, n.TrustedProxies = []string{"127.0.0.0/8"}, []string{"10.0.0.0/8"}
}

// A listed proxy's header says who the client is; what does not begin with a whole and right header is closed without an answer, and
// counted.
func TestProxyHeader(t *testing.T) {
	s := serve(t, listed)
	v6 := header(commandProxy, overTCP6, addresses("2001:db8::7", "2001:db8::1"))
	for name, c := range map[string]struct{ sent, want, counted string }{
		"IPv4":               {tcp4("198.51.100.7") + get, "198.51.100.7", "taken"},
		"IPv6":               {v6 + get, "2001:db8::7", "taken"},
		"mapped":             {header(commandProxy, overTCP6, addresses("::ffff:198.51.100.7", "::1")) + get, "198.51.100.7", "taken"},
		"with more behind":   {header(commandProxy, overTCP4, addresses("198.51.100.8", "127.0.0.1")+tlv(0x02, "name")+tlv(0x04, "")) + get, "198.51.100.8", "taken"},
		"checksum":           {summed("198.51.100.9") + get, "198.51.100.9", "taken"},
		"for itself":         {header(commandLocal, 0, "whatever") + get, "127.0.0.1", "taken"},
		"of no family":       {header(commandProxy, 0, "") + get, "127.0.0.1", "taken"},
		"then a proxy":       {tcp4("10.0.0.1") + getFrom, "203.0.113.9", "taken"},
		"then a forger":      {tcp4("198.51.100.7") + getFrom, "198.51.100.7", "taken"},
		"no header":          {get, "", "missing"},
		"version 1":          {"PROXY TCP4 198.51.100.7 127.0.0.1 1 2\r\n" + get, "", "missing"},
		"version 3":          {header(0x31, overTCP4, addresses("198.51.100.7", "127.0.0.1")) + get, "", "malformed"},
		"command 2":          {header(0x22, overTCP4, addresses("198.51.100.7", "127.0.0.1")) + get, "", "malformed"},
		"short":              {header(commandProxy, overTCP4, "\x01\x02\x03\x04") + get, "", "malformed"},
		"IPv4 said to be v6": {header(commandProxy, overTCP6, addresses("198.51.100.7", "127.0.0.1")) + get, "", "malformed"},
		"half a TLV":         {header(commandProxy, overTCP4, addresses("198.51.100.7", "127.0.0.1")+"\x02") + get, "", "malformed"},
		"TLV too long":       {header(commandProxy, overTCP4, addresses("198.51.100.7", "127.0.0.1")+"\x02\x00\x09x") + get, "", "malformed"},
		"wrong checksum":     {header(commandProxy, overTCP4, addresses("198.51.100.7", "127.0.0.1")+tlv(tlvCRC32C, "abcd")) + get, "", "malformed"},
		"huge":               {header(commandProxy, overTCP4, strings.Repeat("x", proxyHeaderMaxBytes)), "", "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.metrics.get("proxy_headers_total " + c.counted)
			answer := s.say(t, c.sent)
			if c.want == "" && answer != "" || !strings.Contains(answer, c.want+" HTTP/1.0") && c.want != "" {
				t.Errorf("answered %q, want %q", answer, c.want)
			}
			if got := s.metrics.get("proxy_headers_total " + c.counted); got != before+1 {
				t.Errorf("%s counted %v times", c.counted, got-before)
			}
		})
	}
	if got := s.metrics.get("forwarded_ignored_total unlisted"); got != 1 {
		t.Errorf("forged X-Forwarded-For counted %v times", got)
	}
}

// A header that is cut off, or does not come, costs its time and no more; a proxy that only looks whether somebody listens is not
// counted.
func TestProxyHeaderThatDoesNotCome(t *testing.T) {
	for name, c := range map[string]struct {
		sent  string
		close bool
		want  string
	}{
		"never": {"", false, "timeout"}, "half": {tcp4("198.51.100.7")[:20], false, "timeout"}, "cut off": {tcp4("198.51.100.7")[:20], true, "malformed"}, "a look": {"", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			go func() {
				_, _ = io.WriteString(there, c.sent) // refused bytes are not read
				if c.close {
					_ = there.Close()
				}
			}()
			defer there.Close()
			within := 50 * time.Millisecond
			if c.close {
				within = time.Minute
			}
			_, err := readProxyHeader(here, time.Now().Add(within))
			why := ""
			if !errors.Is(err, io.EOF) {
				why = whyRefused(err)
			}
			if err == nil || why != c.want {
				t.Errorf("got %v, which counts as %q", err, why)
			}
		})
	}
}

// Who is not listed gains nothing by a header: its bytes are read as a request, and refused as one.
func TestProxyHeaderOfOthers(t *testing.T) {
	s := serve(t, func(n *config.Network) { n.ProxyProtocol = []string{"10.0.0.0/8"} })
	if got := s.say(t, tcp4("198.51.100.7")+get); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("a header of who is not listed: answered %q", got)
	}
	if got := s.say(t, get); !strings.Contains(got, "127.0.0.1 HTTP/1.0") {
		t.Errorf("no header of who is not listed: answered %q", got)
	}
	if got := s.metrics.get("proxy_headers_total taken"); got != 0 {
		t.Errorf("%v headers taken", got)
	}
}

// A socket behind a proxy has the client's address for its whole life.
func TestProxyHeaderBeforeASocket(t *testing.T) {
	s := serve(t, listed)
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			_, err = io.WriteString(c, tcp4("198.51.100.7"))
		}
		return c, err
	}, HandshakeTimeout: time.Minute}
	ws, _, err := dialer.Dial("ws://"+s.addr+"/ws", nil)
	must(t, err)
	defer ws.Close()
	must(t, ws.WriteMessage(websocket.TextMessage, []byte("hello")))
	if _, got, err := ws.ReadMessage(); string(got) != "hello 198.51.100.7" {
		t.Errorf("echoed %q, %v", got, err)
	}
}

// No header crashes the reader or is read beyond its length.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte(tcp4("198.51.100.7")))
	f.Add([]byte(summed("198.51.100.7")))
	f.Add([]byte(header(commandProxy, overTCP6, addresses("2001:db8::7", "::1")+tlv(0x20, "ssl"))))
	f.Add([]byte(header(commandLocal, 0, "")))
	f.Fuzz(func(t *testing.T, data []byte) {
		const rest = "GET"
		c := &fed{Reader: io.MultiReader(strings.NewReader(string(data)), strings.NewReader(rest))}
		addr, err := readProxyHeader(c, time.Time{})
		if err != nil && addr.IsValid() {
			t.Errorf("%v and yet %v", addr, err)
		}
		if err != nil || len(data) < proxyFixedBytes {
			return
		}
		whole := proxyFixedBytes + int(binary.BigEndian.Uint16(data[14:]))
		left, _ := io.ReadAll(c)
		if len(left) != len(data)+len(rest)-whole {
			t.Errorf("%d bytes left behind a header of %d in %d", len(left), whole, len(data)+len(rest))
		}
	})
}

// fed is a connection that gives what its reader has.
type fed struct {
	net.Conn
	io.Reader
}

func (f *fed) Read(p []byte) (int, error)      { return f.Reader.Read(p) }
func (f *fed) SetReadDeadline(time.Time) error { return nil }
