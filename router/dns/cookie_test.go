package dns

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Cookies are those of RFC 9018: the vectors of its appendix A come out to the bit.
func TestCookieVectors(t *testing.T) {
	for _, c := range []struct{ secret, client, from, want string }{
		{"e5e973e5a6b2a43f48e7dc849e37bfcf", "2464c4abcf10c957", "198.51.100.100", "010000005cf79f111f8130c3eee29480"},
		{"e5e973e5a6b2a43f48e7dc849e37bfcf", "fc93fc62807ddb86", "203.0.113.203", "01abcdef5cf78f71a314227b6679ebf5"},
		{"445536bcd2513298075a5d379663c962", "22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", "010000005cf7c609a6bb79d16625507a"},
	} {
		secret, want := unhex(t, c.secret), unhex(t, c.want)
		got := makeCookie(binary.LittleEndian.Uint64(secret), binary.LittleEndian.Uint64(secret[8:]), [8]byte(unhex(t, c.client)),
			[3]byte(want[1:]), binary.BigEndian.Uint32(want[4:]), netip.MustParseAddr(c.from))
		if !bytes.Equal(got[:], want) {
			t.Errorf("%s: got %x, want %s", c.from, got, c.want)
		}
	}
}

// A cookie is good for the address that got it, for an hour, from every router with the same secret and over the change of
// secrets; it is given anew when it is half used up. Any other is answered with a good one.
func TestCookieLife(t *testing.T) {
	master := bytes.Repeat([]byte{7}, CookieSecretBytes)
	jar := func(master []byte) *cookieJar {
		j, err := newCookieJar(master)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	a, b, foreign := jar(master), jar(bytes.Clone(master)), jar(nil)
	from, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	midnight := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	made := midnight.Add(-10 * time.Minute)
	client := &cookie{client: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	valid, option := a.check(client, from, made)
	given := option.(*dns.EDNS0_LOCAL).Data
	if valid || len(given) != 24 || !bytes.Equal(given[:8], client.client[:]) {
		t.Fatalf("the first answer: valid %v, %x", valid, given)
	}
	whole, ok := parseCookie(given)
	if !ok {
		t.Fatal("our own cookie is malformed")
	}
	damaged := *whole
	damaged.server = bytes.Clone(whole.server)
	damaged.server[15] ^= 1
	for _, c := range []struct {
		name        string
		jar         *cookieJar
		cookie      *cookie
		from        netip.Addr
		after       time.Duration
		valid, same bool
	}{
		{"at once", a, whole, from, 0, true, true},
		{"another router, another day", b, whole, from, 20 * time.Minute, true, true},
		{"half used up", b, whole, from, 40 * time.Minute, true, false},
		{"too old", a, whole, from, 61 * time.Minute, false, false},
		{"from a clock that goes ahead", a, whole, from, -4 * time.Minute, true, false},
		{"from the future", a, whole, from, -6 * time.Minute, false, false},
		{"from another address", a, whole, other, 0, false, false},
		{"of another deployment", foreign, whole, from, 0, false, false},
		{"damaged", a, &damaged, from, time.Minute, false, false},
	} {
		valid, option := c.jar.check(c.cookie, c.from, made.Add(c.after))
		again := option.(*dns.EDNS0_LOCAL).Data
		if valid != c.valid || bytes.Equal(again, given) != c.same {
			t.Errorf("%s: valid %v, want %v; same %v, want %v", c.name, valid, c.valid, !c.same, c.same)
		}
		fresh, ok := parseCookie(again)
		if !ok {
			t.Errorf("%s: the answer's cookie is malformed", c.name)
		} else if good, _ := c.jar.check(fresh, c.from, made.Add(c.after)); !good {
			t.Errorf("%s: the answer's cookie is not good", c.name)
		}
	}
}

// A query with a cookie is answered with one, a query for nothing but a cookie too; a malformed cookie is FORMERR.
func TestCookieAnswers(t *testing.T) {
	s := server(t, nil)
	for _, c := range []struct{ name, option, want string }{
		{"a client's alone", "000a 0008 0102030405060708", "A 127.0.0.11 | OPT 1232 0102030405060708"},
		{"with a server's of 16 bytes", "000a 0018 0102030405060708" + strings.Repeat("ab", 16), "A 127.0.0.11 | OPT 1232 010203040506070801"},
		{"with another server's of 32 bytes", "000a 0028 0102030405060708" + strings.Repeat("ab", 32), "A 127.0.0.11 | OPT 1232 010203040506070801"},
		{"given twice: the first counts", "000a 0008 0102030405060708 000a 0008 ffffffffffffffff", "OPT 1232 0102030405060708"},
		{"7 bytes", "000a 0007 01020304050607", "FORMERR"},
		{"9 bytes", "000a 0009 010203040506070809", "FORMERR"},
		{"15 bytes", "000a 000f 010203040506070809000102030405", "FORMERR"},
		{"41 bytes", "000a 0029" + strings.Repeat("01", 41), "FORMERR"},
		{"none", "000a 0000", "FORMERR"},
	} {
		m := new(dns.Msg)
		if err := m.Unpack(s.Respond(raw(c.option), netip.MustParseAddr("8.8.8.8"), false)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := render(m); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	only := []byte{0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}
	m := new(dns.Msg)
	if err := m.Unpack(s.Respond(only, netip.MustParseAddr("8.8.8.8"), false)); err != nil {
		t.Fatal(err)
	}
	if got := render(m); !strings.HasPrefix(got, "NOERROR | OPT 1232 010203040506070801") || len(m.Question) != 0 {
		t.Errorf("a query for a cookie: got %s", got)
	}
}
