package dns

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/table"
)

var live = sync.OnceValue(func() *table.Live {
	world, err := geo.World()
	if err != nil {
		panic(err)
	}
	m, err := decide.NewModel(&config.Config{Regions: []config.Region{
		{Name: "us-east", Latitude: 39.04, Longitude: -77.49},
		{Name: "eu-west", Latitude: 53.35, Longitude: -6.26},
		{Name: "ap-south", Latitude: 19.08, Longitude: 72.88},
	}}, world)
	if err != nil {
		panic(err)
	}
	data, err := geo.Load(nil)
	if err != nil {
		panic(err)
	}
	l, err := table.New(m, data, []chat.ZoneSpec{
		{Name: "in", Regions: []chat.Region{"ap-south"}, Transit: chat.TransitDeny},
		{Name: "eu", Regions: []chat.Region{"eu-west"}},
	})
	if err != nil {
		panic(err)
	}
	return l
})

// tally counts events for a test.
type tally struct{ n map[string]int }

func (c *tally) Count(name string, labels ...string) {
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[strings.Join(append([]string{name}, labels...), " ")]++
}
func (c *tally) Add(string, float64, ...string)     {}
func (c *tally) Set(string, float64, ...string)     {}
func (c *tally) Remove(string, ...string)           {}
func (c *tally) Observe(string, float64, ...string) {}

func server(t testing.TB, change func(*Options)) *Server {
	t.Helper()
	live().SetStates(nil)
	opts := Options{
		Table: live(), Domain: "chat.example.org", TTL: 20 * time.Second,
		Hosts: []Host{{Name: "in.chat.example.org", Number: 1}, {Name: "eu.example.net", Number: 2}},
		Regions: []Region{
			{Name: "us-east", URL: "https://us.example.org", Addresses: addrs("127.0.0.11", "2001:db8::11")},
			{Name: "eu-west", URL: "https://eu.example.org:8443", Addresses: addrs("127.0.0.12", "2001:db8::12")},
			{Name: "ap-south", URL: "http://127.0.0.13:7003", Addresses: addrs("127.0.0.13")},
		},
		NameServers: []NameServer{{Name: "ns.chat.example.org", Addresses: addrs("127.0.0.53")}, {Name: "ns.elsewhere.net"}},
		Serving:     config.NameServer{Version: "meridian", CAA: []config.CAA{{Tag: "issue", Value: "letsencrypt.org"}, {Critical: true, Tag: "iodef", Value: "mailto:ca@example.org"}}},
	}
	if change != nil {
		change(&opts)
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func addrs(all ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range all {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

const (
	london = "81.2.69.142"
	pune   = "49.36.0.1"
)

// ask makes a query, gives it to s and renders the answer in one line.
func ask(t *testing.T, s *Server, name string, kind uint16, from string, change func(*dns.Msg)) string {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, kind)
	if change != nil {
		change(q)
	}
	raw, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out := s.Respond(raw, netip.MustParseAddr(from), false)
	if out == nil {
		return "silence"
	}
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatalf("%s %s: the answer does not unpack: %v", name, dns.TypeToString[kind], err)
	}
	if m.Id != q.Id || !m.Response || m.RecursionAvailable || m.RecursionDesired != q.RecursionDesired {
		t.Errorf("%s: header %v", name, m.MsgHdr)
	}
	return render(m)
}

func render(m *dns.Msg) string {
	parts := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		parts[0] += " aa"
	}
	if m.Truncated {
		parts[0] += " tc"
	}
	for _, section := range []struct {
		mark string
		rrs  []dns.RR
	}{{"", m.Answer}, {"ns: ", m.Ns}, {"+ ", m.Extra}} {
		for _, rr := range section.rrs {
			if opt, ok := rr.(*dns.OPT); ok {
				part := fmt.Sprintf("OPT %d", opt.UDPSize())
				for _, o := range opt.Option {
					part += " " + o.String()
				}
				parts = append(parts, part)
				continue
			}
			parts = append(parts, section.mark+strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	return strings.Join(parts, " | ")
}

// Every kind of question gets the answer of a good authoritative server.
func TestAnswers(t *testing.T) {
	s := server(t, nil)
	const soa = "ns: chat.example.org. 20 IN SOA ns.chat.example.org. hostmaster.chat.example.org. 1 3600 600 86400 20"
	for _, c := range []struct {
		name string
		kind uint16
		from string
		want string
	}{
		{"chat.example.org.", dns.TypeA, london, "NOERROR aa | chat.example.org. 20 IN A 127.0.0.12"},
		{"chat.example.org.", dns.TypeA, pune, "NOERROR aa | chat.example.org. 20 IN A 127.0.0.13"},
		{"chat.example.org.", dns.TypeA, "2600::1", "NOERROR aa | chat.example.org. 20 IN A 127.0.0.11"},
		{"chat.example.org.", dns.TypeAAAA, london, "NOERROR aa | chat.example.org. 20 IN AAAA 2001:db8::12"},
		{"chat.example.org.", dns.TypeAAAA, pune, "NOERROR aa | " + soa},
		{"cHaT.eXaMpLe.org.", dns.TypeA, london, "NOERROR aa | cHaT.eXaMpLe.org. 20 IN A 127.0.0.12"},
		{"chat.example.org.", dns.TypeHTTPS, london, `NOERROR aa | chat.example.org. 20 IN HTTPS 1 eu-west.chat.example.org. alpn="h2,http/1.1" port="8443" ipv4hint="127.0.0.12" ipv6hint="2001:db8::12"`},
		{"chat.example.org.", dns.TypeHTTPS, pune, "NOERROR aa | " + soa}, // http only: an HTTPS record would lead astray
		{"chat.example.org.", dns.TypeSRV, pune, "NOERROR aa | chat.example.org. 20 IN SRV 1 1 7003 ap-south.chat.example.org. | + ap-south.chat.example.org. 20 IN A 127.0.0.13"},
		{"_meridian._tcp.chat.example.org.", dns.TypeSRV, london, "NOERROR aa | _meridian._tcp.chat.example.org. 20 IN SRV 1 1 8443 eu-west.chat.example.org. | + eu-west.chat.example.org. 20 IN A 127.0.0.12 | + eu-west.chat.example.org. 20 IN AAAA 2001:db8::12"},
		{"_meridian._tcp.chat.example.org.", dns.TypeA, london, "NOERROR aa | " + soa},
		{"_tcp.chat.example.org.", dns.TypeA, london, "NOERROR aa | " + soa}, // exists, for names lie below it
		{"chat.example.org.", dns.TypeTXT, london, `NOERROR aa | chat.example.org. 20 IN TXT "region=eu-west" "url=https://eu.example.org:8443"`},
		{"chat.example.org.", dns.TypeSOA, london, "NOERROR aa | " + strings.TrimPrefix(soa, "ns: ")},
		{"chat.example.org.", dns.TypeNS, london, "NOERROR aa | chat.example.org. 20 IN NS ns.chat.example.org. | chat.example.org. 20 IN NS ns.elsewhere.net. | + ns.chat.example.org. 20 IN A 127.0.0.53"},
		{"chat.example.org.", dns.TypeMX, london, "NOERROR aa | " + soa},
		{"chat.example.org.", dns.TypeANY, london, `NOERROR aa | chat.example.org. 20 IN HINFO "RFC8482" ""`},
		{"_tcp.chat.example.org.", dns.TypeANY, london, "NOERROR aa | " + soa},
		{"chat.example.org.", dns.TypeCAA, london, `NOERROR aa | chat.example.org. 20 IN CAA 0 issue "letsencrypt.org" | chat.example.org. 20 IN CAA 128 iodef "mailto:ca@example.org"`},
		{"in.chat.example.org.", dns.TypeCAA, london, "NOERROR aa | " + soa}, // who issues climbs to the domain
		{"chat.example.org.", dns.TypeDNSKEY, london, "NOERROR aa | " + soa}, // without keys
		{"chat.example.org.", dns.TypeNSEC, london, "NOERROR aa | " + soa},
		{"ns.chat.example.org.", dns.TypeA, london, "NOERROR aa | ns.chat.example.org. 20 IN A 127.0.0.53"},
		{"ap-south.chat.example.org.", dns.TypeA, london, "NOERROR aa | ap-south.chat.example.org. 20 IN A 127.0.0.13"},
		{"ap-south.chat.example.org.", dns.TypeAAAA, london, "NOERROR aa | " + soa},
		{"nobody.chat.example.org.", dns.TypeA, london, "NXDOMAIN aa | " + soa},
		{"in.chat.example.org.", dns.TypeA, london, "NOERROR aa | in.chat.example.org. 20 IN A 127.0.0.13"},
		{"in.chat.example.org.", dns.TypeSOA, london, "NOERROR aa | " + soa},
		{"eu.example.net.", dns.TypeA, pune, "NOERROR aa | eu.example.net. 20 IN A 127.0.0.12"},
		{"eu.example.net.", dns.TypeSOA, pune, "NOERROR aa | eu.example.net. 20 IN SOA ns.chat.example.org. hostmaster.eu.example.net. 1 3600 600 86400 20"},
		{"example.net.", dns.TypeA, london, "REFUSED"},
		{"example.org.", dns.TypeNS, london, "REFUSED"},
		{".", dns.TypeNS, london, "REFUSED"},
		{"notchat.example.org.", dns.TypeA, london, "REFUSED"},
		{"chat.example.org.", dns.TypeAXFR, london, "REFUSED"},
		{"chat.example.org.", dns.TypeIXFR, london, "REFUSED"},
		{"chat.example.org.", dns.TypeMAILB, london, "NOTIMP"},
		{"chat.example.org.", dns.TypeTSIG, london, "FORMERR"},
	} {
		if got := ask(t, s, c.name, c.kind, c.from, nil); got != c.want {
			t.Errorf("%s %s from %s:\n got %s\nwant %s", c.name, dns.TypeToString[c.kind], c.from, got, c.want)
		}
	}
	version := func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }
	if got, want := ask(t, s, "version.bind.", dns.TypeTXT, london, version), `NOERROR aa | version.bind. 0 CH TXT "meridian"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := ask(t, s, "chat.example.org.", dns.TypeA, london, version); got != "REFUSED" {
		t.Errorf("an address in class CHAOS: got %s", got)
	}
	explained := ask(t, s, "explain.chat.example.org.", dns.TypeTXT, london, nil)
	if !strings.Contains(explained, `"region=eu-west"`) || !strings.Contains(explained, "nearest by distance") {
		t.Errorf("explain: got %s", explained)
	}
}

// A change of health shows in the next answer, and no state of the regions makes an answer empty.
func TestAnswersFollowHealth(t *testing.T) {
	s := server(t, nil)
	defer live().SetStates(nil)
	down := decide.State{Health: decide.HealthDown}
	for _, c := range []struct {
		states decide.States
		name   string
		want   string
	}{
		{decide.States{"eu-west": down}, "chat.example.org.", "127.0.0.11"},
		{decide.States{"eu-west": {Draining: true}, "us-east": down}, "chat.example.org.", "127.0.0.13"},
		{decide.States{"eu-west": down, "us-east": down, "ap-south": down}, "chat.example.org.", "127.0.0.12"},
		{decide.States{"ap-south": down}, "in.chat.example.org.", "127.0.0.13"},
	} {
		live().SetStates(c.states)
		if got := ask(t, s, c.name, dns.TypeA, london, nil); !strings.HasSuffix(got, "A "+c.want) {
			t.Errorf("%v: got %s, want %s", c.states, got, c.want)
		}
	}
}

// For every host, client and state of the regions explain.<host> names the region that the host's answer names.
func TestExplainSaysTheAnswer(t *testing.T) {
	s := server(t, nil)
	defer live().SetStates(nil)
	region := func(line string) string {
		_, rest, _ := strings.Cut(line, `"region=`)
		name, _, _ := strings.Cut(rest, `"`)
		return name
	}
	for n := range allStates {
		live().SetStates(statesOf(n))
		for _, host := range []string{"chat.example.org.", "in.chat.example.org.", "eu.example.net."} {
			for _, from := range []string{london, pune, "2600::1", "192.0.2.1"} {
				want := region(ask(t, s, host, dns.TypeTXT, from, nil))
				large := func(m *dns.Msg) { m.SetEdns0(udpBytes, false) } // many reasons take more than 512 bytes
				if got := region(ask(t, s, "explain."+host, dns.TypeTXT, from, large)); got != want || got == "" {
					t.Errorf("%v, %s from %s: explained is %q, answered %q", statesOf(n), host, from, got, want)
				}
			}
		}
	}
}

// The answer holds as many regions as the operator set, best first.
func TestAnswerRegions(t *testing.T) {
	s := server(t, func(o *Options) { o.AnswerRegions = 2 })
	want := "NOERROR aa | chat.example.org. 20 IN A 127.0.0.12 | chat.example.org. 20 IN A 127.0.0.11"
	if got := ask(t, s, "chat.example.org.", dns.TypeA, london, nil); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// raw gives a query for chat.example.org A with these OPT options as bytes, one record for each.
func raw(options ...string) []byte {
	q := []byte{0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, byte(len(options))}
	q = append(q, "\x04chat\x07example\x03org\x00\x00\x01\x00\x01"...)
	for _, o := range options {
		data, err := hex.DecodeString(strings.ReplaceAll(o, " ", ""))
		if err != nil {
			panic(err)
		}
		q = append(q, 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, byte(len(data)))
		q = append(q, data...)
	}
	return q
}

// Client subnets follow RFC 7871 to the bit: odd lengths are served, the option is echoed with a truthful scope, and what
// is malformed gets FORMERR.
func TestClientSubnet(t *testing.T) {
	s := server(t, nil)
	for _, c := range []struct{ name, option, want string }{
		{"a /24 of London", "0008 0007 0001 18 00 51 02 45", "A 127.0.0.12 | OPT 1232 81.2.69.0/24/17"},
		{"a full address of Pune", "0008 0008 0001 20 00 31 24 00 01", "A 127.0.0.13 | OPT 1232 49.36.0.1/32/12"},
		{"an odd /19", "0008 0007 0001 13 00 51 02 40", "A 127.0.0.12 | OPT 1232 81.2.64.0/19/17"},
		{"an odd /3", "0008 0005 0001 03 00 20", "A 127.0.0.11"},
		{"an IPv6 /32", "0008 0008 0002 20 00 2a 00 23 c4", "A 127.0.0.12"},
		{"an IPv6 /56 of Mumbai", "0008 000b 0002 38 00 24 05 02 01 00 00 00", "A 127.0.0.13"},
		{"SOURCE 0: by the resolver", "0008 0004 0001 00 00", "A 127.0.0.11 | OPT 1232 0.0.0.0/0/0"},
		{"family 0", "0008 0004 0000 00 00", "A 127.0.0.11 | OPT 1232 0.0.0.0/0/0"},
		{"a private address", "0008 0007 0001 18 00 0a 00 00", "A 127.0.0.12 | OPT 1232 10.0.0.0/24/8"},
		{"no option", "", "A 127.0.0.11 | OPT 1232"},
		{"an unknown option", "fde9 0002 ab cd", "A 127.0.0.11 | OPT 1232"},
		{"spare bits set", "0008 0007 0001 13 00 51 02 41", "FORMERR"},
		{"too few bytes", "0008 0006 0001 18 00 51 02", "FORMERR"},
		{"too many bytes", "0008 0008 0001 18 00 51 02 45 00", "FORMERR"},
		{"a scope in a query", "0008 0007 0001 18 18 51 02 45", "FORMERR"},
		{"SOURCE 33", "0008 0009 0001 21 00 51 02 45 00 00", "FORMERR"},
		{"SOURCE 129", "0008 0015 0002 81 00 00000000000000000000000000000000 00", "FORMERR"},
		{"unknown family", "0008 0007 0003 18 00 51 02 45", "FORMERR"},
		{"family 0 with an address", "0008 0007 0000 18 00 51 02 45", "FORMERR"},
		{"cut short", "0008 0002 00 01", "FORMERR"},
		{"longer than the record", "0008 00ff 0001 18 00 51 02 45", "FORMERR"},
		{"given twice", "0008 0007 0001 18 00 51 02 45 0008 0007 0001 18 00 51 02 45", "FORMERR"},
	} {
		out := s.Respond(raw(c.option), netip.MustParseAddr("8.8.8.8"), false)
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := render(m); !strings.Contains(got, c.want) || (c.want == "FORMERR") != (len(out) == headerBytes) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	if out := s.Respond(raw("", ""), netip.MustParseAddr("8.8.8.8"), false); out[3] != dns.RcodeFormatError {
		t.Error("two OPT records are not refused")
	}
}

// Without an option there is none in the answer, scope is 0 where the client does not matter, and EDNS versions that are
// not known are refused as such.
func TestEDNS(t *testing.T) {
	s := server(t, nil)
	withSubnet := func(m *dns.Msg) {
		m.SetEdns0(4096, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.ParseIP("81.2.69.0")})
	}
	for name, want := range map[string]string{
		"in.chat.example.org.":      "OPT 1232 81.2.69.0/24/0",
		"eu-west.chat.example.org.": "OPT 1232 81.2.69.0/24/0",
		"nobody.chat.example.org.":  "OPT 1232 81.2.69.0/24/0",
	} {
		if got := ask(t, s, name, dns.TypeA, "8.8.8.8", withSubnet); !strings.HasSuffix(got, want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if got := ask(t, s, "chat.example.org.", dns.TypeA, "8.8.8.8", nil); strings.Contains(got, "OPT") {
		t.Errorf("an OPT record that nobody asked for: %s", got)
	}
	badVersion := func(m *dns.Msg) { m.SetEdns0(4096, false); m.IsEdns0().SetVersion(1) }
	// 16 means BADVERS in an OPT record, BADSIG elsewhere; the library knows one name.
	if got := ask(t, s, "chat.example.org.", dns.TypeA, "8.8.8.8", badVersion); got != "BADSIG | OPT 1232" {
		t.Errorf("EDNS version 1: got %s", got)
	}
}

// What does not fit is left out whole, with TC set: at 512 bytes or what the asker can take. TCP gives all of it.
func TestTruncation(t *testing.T) {
	many := make([]netip.Addr, 100)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{127, 1, 0, byte(i)})
	}
	s := server(t, func(o *Options) { o.Regions[1].Addresses = many })
	for _, c := range []struct {
		size uint16
		tcp  bool
		max  int
		full bool
	}{{0, false, 512, false}, {100, false, 512, false}, {1000, false, 1000, false}, {4096, false, udpBytes, false}, {0, true, dns.MaxMsgSize, true}} {
		q := new(dns.Msg)
		q.SetQuestion("chat.example.org.", dns.TypeA)
		if c.size > 0 {
			q.SetEdns0(c.size, false)
		}
		query, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out := s.Respond(query, netip.MustParseAddr(london), c.tcp)
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Fatal(err)
		}
		want := 0
		if c.full {
			want = len(many)
		}
		if len(out) > c.max || m.Truncated == c.full || len(m.Answer) != want || (m.IsEdns0() != nil) != (c.size > 0) {
			t.Errorf("size %d, tcp %v: %d bytes, tc %v, %d answers", c.size, c.tcp, len(out), m.Truncated, len(m.Answer))
		}
	}
}

// The addresses that come with an SRV answer are left out where they do not fit; the answer is whole without them.
func TestTruncationOfExtras(t *testing.T) {
	many := make([]netip.Addr, 100)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{127, 1, 0, byte(i)})
	}
	s := server(t, func(o *Options) { o.Regions[1].Addresses = many })
	want := "NOERROR aa | chat.example.org. 20 IN SRV 1 1 8443 eu-west.chat.example.org. | OPT 1232"
	if got := ask(t, s, "chat.example.org.", dns.TypeSRV, london, func(m *dns.Msg) { m.SetEdns0(1232, false) }); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What the server tells about itself is the operator's choice: its own words, the machine's name, or nothing.
func TestIdentity(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{config.Off: "", "": "", config.OwnHostname: host, "router 7": "router 7"} {
		s := server(t, func(o *Options) { o.Serving.ID, o.Serving.Version = setting, setting })
		for _, name := range []string{"id.server.", "hostname.BIND.", "version.server.", "version.bind."} {
			text := "REFUSED"
			if want != "" {
				text = fmt.Sprintf("NOERROR aa | %s 0 CH TXT %q", name, want)
			}
			if got := ask(t, s, name, dns.TypeTXT, london, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }); got != text {
				t.Errorf("%q: %s: got %s, want %s", setting, name, got, text)
			}
		}
		m := new(dns.Msg)
		if err := m.Unpack(s.Respond(raw("0003 0000"), netip.MustParseAddr(london), false)); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, o := range m.IsEdns0().Option {
			if id, ok := o.(*dns.EDNS0_NSID); ok {
				got = id.Nsid
			}
		}
		if got != hex.EncodeToString([]byte(want)) {
			t.Errorf("%q: NSID %q", setting, got)
		}
	}
}

// What is no query is answered with an error or not at all, and counted once.
func TestMalformedIsCounted(t *testing.T) {
	for _, c := range shapeCases(t) {
		var n tally
		server(t, func(o *Options) { o.Metrics = &n }).Respond(c.query, netip.MustParseAddr(london), false)
		sum := 0
		for _, count := range n.n {
			sum += count
		}
		unread := c.rcode == "silence" || c.rcode == "FORMERR" && !strings.HasPrefix(c.name, "type ")
		if sum != 1 || (n.n[metricMalformed] == 1) != unread {
			t.Errorf("%s: counts %v", c.name, n.n)
		}
	}
}

// UDP and TCP answer on one port from the address that was asked, also when a wildcard is bound, and stop with ctx.
func TestSockets(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := server(t, nil)
	if err := s.Listen("0.0.0.0:0", false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	_, port, _ := net.SplitHostPort(s.Addr())
	q := new(dns.Msg)
	q.SetQuestion("in.chat.example.org.", dns.TypeA)
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network, Timeout: time.Minute}
		m, _, err := c.Exchange(q, net.JoinHostPort("127.0.0.2", port))
		if err != nil || len(m.Answer) != 1 {
			t.Errorf("%s: %v, %v", network, m, err)
		}
	}
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0, 12, 1, 2, 0, 0}); err != nil { // a query that does not come to its end
		t.Fatal(err)
	}
	other := server(t, nil)
	if err := other.Listen("0.0.0.0:"+port, false); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("a taken port: got %v", err)
	}
	if err := other.Listen("0.0.0.0:"+port, true); err != nil {
		t.Errorf("a free port instead of the taken one: %v", err)
	}
	otherDone := make(chan error, 1)
	otherCtx, stop := context.WithCancel(ctx)
	go func() { otherDone <- other.Run(otherCtx) }()
	stop()
	cancel()
	if err := <-otherDone; err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Options that cannot be served are refused with the key that is wrong.
func TestNewRefuses(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"router.domain":            func(o *Options) { o.Domain = "" },
		"host":                     func(o *Options) { o.Hosts[0].Name = "chat.example.org" },
		"name server":              func(o *Options) { o.NameServers[0].Name = strings.Repeat("x", 64) + ".org" },
		"region ap-south has no":   func(o *Options) { o.Regions = o.Regions[:2] },
		"region ap-south: \"%zz\"": func(o *Options) { o.Regions[2].URL = "%zz" },
		"one in the other":         func(o *Options) { o.Hosts[1].Name = "example.org" },
		"explain.chat.example.org": func(o *Options) { o.Hosts[0].Name = "explain.chat.example.org" },
		"rate_limit.exempt":        func(o *Options) { o.Serving.RateLimit = config.RateLimit{ResponsesPerSecond: 1, Exempt: []string{"x"}} },
		"the secret for cookies":   func(o *Options) { o.CookieSecret = []byte("short") },
	} {
		opts := server(t, nil).opts
		opts.Hosts, opts.Regions, opts.NameServers = slices.Clone(opts.Hosts), slices.Clone(opts.Regions), slices.Clone(opts.NameServers)
		change(&opts)
		if _, err := New(opts); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want invalid with %q", err, want)
		}
	}
}

// No bytes make the server panic, answer an answer, or send what does not unpack, signed zone or not.
func FuzzRespond(f *testing.F) {
	signed, _ := signed(f, nil)
	servers := []*Server{server(f, nil), signed}
	for _, c := range shapeCases(f) {
		f.Add(c.query)
	}
	for _, kind := range []uint16{dns.TypeHTTPS, dns.TypeSRV, dns.TypeTXT, dns.TypeANY, dns.TypeAXFR, dns.TypeSOA, dns.TypeDNSKEY, dns.TypeNSEC, dns.TypeRRSIG} {
		for _, name := range []string{"chat.example.org.", "explain.chat.example.org.", "x.", "."} {
			q := new(dns.Msg)
			q.SetQuestion(name, kind)
			q.SetEdns0(udpBytes, true)
			b, err := q.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		before := bytes.Clone(query)
		for i := range 2 * len(servers) {
			tcp := i%2 == 1
			out := servers[i/2].Respond(query, netip.MustParseAddr(london), tcp)
			if !bytes.Equal(before, query) {
				t.Fatal("the query was changed")
			}
			if out == nil {
				continue
			}
			if len(query) < headerBytes || query[2]&0x80 != 0 {
				t.Fatal("answered what is no query")
			}
			m := new(dns.Msg)
			if err := m.Unpack(out); err != nil {
				t.Fatalf("the answer does not unpack: %v", err)
			}
			if !m.Response || out[0] != query[0] || out[1] != query[1] || !tcp && len(out) > udpBytes {
				t.Fatalf("header %v, %d bytes", m.MsgHdr, len(out))
			}
		}
	})
}

func BenchmarkRespond(b *testing.B) {
	s := server(b, nil)
	query := raw("0008 0007 0001 18 00 51 02 45")
	from := netip.MustParseAddr("8.8.8.8")
	b.ReportAllocs()
	for b.Loop() {
		s.Respond(query, from, false)
	}
}
