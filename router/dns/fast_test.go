package dns

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
)

// regionStates are all that a region can be in, as far as answers go.
var regionStates = []decide.State{
	{}, {Health: decide.HealthDown}, {Draining: true}, {Forced: decide.HealthDown}, {Shed: 0.5, Load: 0.9},
}

// allStates is how many combinations three regions have.
const allStates = 5 * 5 * 5

// statesOf gives the n-th combination.
func statesOf(n int) decide.States {
	out := decide.States{}
	for _, name := range []chat.Region{"us-east", "eu-west", "ap-south"} {
		out[name] = regionStates[n%len(regionStates)]
		n /= len(regionStates)
	}
	return out
}

// fastNow is the clock's time in these tests: cookies hold it.
var fastNow = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// fastServers gives servers with one, two and three regions in an answer, for each with no zone signed, all, and each alone.
func fastServers(t testing.TB) []*Server {
	var out []*Server
	for n := range 3 {
		for _, zones := range [][]string{nil, signedZones, signedZones[:1], signedZones[1:]} {
			s, _ := signedFor(t, zones, func(o *Options) {
				o.AnswerRegions, o.TTLDegraded, o.Now = n+1, 7*time.Second, func() time.Time { return fastNow }
				o.CookieSecret = bytes.Repeat([]byte{7}, CookieSecretBytes)
				if n == 2 { // a name in our zone that only stands in records
					o.NameServers = []NameServer{{Name: "ns.deep.eu.example.net"}}
				}
			})
			out = append(out, s)
		}
	}
	return out
}

// used is full of what earlier queries left in it, as that of a socket is.
var used fastQuery

// fastAnswerOf gives what the fast path answers, nil when it leaves the query to the slow one.
func fastAnswerOf(s *Server, query []byte, from netip.Addr) []byte {
	buf := bytes.Repeat([]byte{0xee}, max(len(query)+nameRoom, udpBytes))
	copy(buf, query)
	used.from, used.now = from, s.opts.Now()
	size := s.fast.make(buf, len(query), &used)
	switch size {
	case fastDrop:
		return []byte{}
	case 0:
		if !bytes.Equal(buf[:len(query)], query) {
			panic("the fast path changed a query that it does not answer")
		}
		return nil
	}
	return buf[:size]
}

// agree fails when the two paths answer differently, and says whether the fast one answered.
func agree(t testing.TB, s *Server, query []byte, from netip.Addr) bool {
	t.Helper()
	got := fastAnswerOf(s, query, from)
	if got == nil {
		return false
	}
	if want := s.Respond(query, from, false); !bytes.Equal(got, want) {
		t.Fatalf("%s asks\n%sfast path: %s\n%sslow path: %s\n%s", from, hex.Dump(query), rendered(got), hex.Dump(got), rendered(want), hex.Dump(want))
	}
	return true
}

func rendered(raw []byte) string {
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil {
		return err.Error()
	}
	return render(m)
}

// asked is a random query in the making.
type asked struct {
	rng   *rand.Rand
	jar   *cookieJar // whose cookies are good
	from  netip.Addr
	plain bool // nothing in it that is the slow path's
}

func pick[T any](rng *rand.Rand, all ...T) T { return all[rng.IntN(len(all))] }

// rarely says yes once in n times; then the query is no longer plain.
func (a *asked) rarely(n int) bool {
	yes := a.rng.IntN(n) == 0
	a.plain = a.plain && !yes
	return yes
}

// query makes a query: mostly what the fast path takes, often with one thing about it that it does not.
func (a *asked) query() []byte {
	a.plain = true
	name := pick(a.rng, "chat.example.org.", "in.chat.example.org.", "eu.example.net.", "_meridian._tcp.chat.example.org.",
		"_meridian._tcp.eu.example.net.", "us-east.chat.example.org.", "eu-west.chat.example.org.", "ap-south.chat.example.org.", "ns.chat.example.org.",
		"explain.chat.example.org.", "_tcp.chat.example.org.")
	if a.rng.IntN(4) == 0 { // what does not exist
		name = pick(a.rng, "nobody.", "*.", "a.b.c.", "eu-wesu.", "eu-wes.", "\\000.", "\\255z.", "eu-west\\000.", fmt.Sprintf("\\%03d\\%03d.", a.rng.IntN(256), a.rng.IntN(256))) + name
	}
	if a.rarely(20) {
		name = pick(a.rng, "ns.deep.eu.example.net.", "x.deep.eu.example.net.", "hostmaster.chat.example.org.", "x.hostmaster.eu.example.net.", "a.b.c.d.e.chat.example.org.", "example.org.", ".", "chat\\.example.org.", "chat.example.org.x.")
	}
	kind := pick(a.rng, fastTypes[:]...)
	if a.rarely(20) {
		kind = pick(a.rng, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeANY, dns.TypeAXFR, dns.TypeMX, uint16(a.rng.Uint32()))
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(a.rng.Uint32()))
	flags := uint16(a.rng.Uint32()) & 0x0130
	if a.rarely(20) {
		flags = uint16(a.rng.Uint32()) &^ 0x8000
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, 0, 1, 0, 0, 0, 0, 0, 0)
	wire := make([]byte, nameBytesMax)
	end, err := dns.PackDomainName(name, wire, 0, nil, false)
	if err != nil {
		panic(err)
	}
	capitals := pick(a.rng, 0, end, a.rng.IntN(end)) // in none of it, in all of it, or in its beginning
	for i, c := range wire[:end] {
		if c >= 'a' && c <= 'z' && i < capitals && a.rng.IntN(2) == 0 {
			c -= 0x20
		}
		b = append(b, c)
	}
	class := uint16(dns.ClassINET)
	if a.rarely(30) {
		class = uint16(a.rng.IntN(300))
	}
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, kind), class)
	if a.rng.IntN(4) > 0 {
		b = a.opt(b)
	}
	return a.damage(b)
}

// opt appends an OPT record.
func (a *asked) opt(b []byte) []byte {
	b[11]++
	size := pick(a.rng, 0, 512, 1232, 4096, uint16(a.rng.Uint32()))
	var flags uint32
	if a.rng.IntN(2) == 0 {
		flags = doFlag
	}
	if a.rarely(20) {
		flags = pick(a.rng, 0x10000, 1, 0x1000000, a.rng.Uint32())
	}
	var data []byte
	cookieAt := a.rng.IntN(4) // none, or before or behind the subnet
	if cookieAt == 1 {
		data = append(data, a.cookie()...)
	}
	if a.rng.IntN(4) > 0 {
		data = append(data, a.subnet()...)
	}
	if cookieAt == 2 {
		data = append(data, a.cookie()...)
	}
	if a.rarely(20) {
		data = append(data, pick(a.rng, "\x00\x0a\x00\x07abcdefg", "\x00\x0a\x00\x08abcdefgh\x00\x0a\x00\x08abcdefgh", "\x00\x03\x00\x00", "\xfd\xe9\x00\x02ab", "\x00\x08\x00\x04\x00\x01\x00\x00", "\x00")...)
	}
	b = binary.BigEndian.AppendUint16(append(b, 0, 0, byte(dns.TypeOPT)), size)
	b = binary.BigEndian.AppendUint32(b, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// cookie gives a cookie option: without the server's part, with a good one of any age, or with a bad one of any length.
func (a *asked) cookie() []byte {
	client := [cookieClientBytes]byte{byte(a.rng.Uint32()), 2, 3, 4, 5, 6, 7, 8}
	var server []byte
	switch a.rng.IntN(3) {
	case 0:
	case 1:
		_, give := a.jar.answer(client, nil, a.from, fastNow.Add(-time.Duration(a.rng.IntN(100)-10)*time.Minute))
		server = give[:]
	default:
		server = make([]byte, cookieServerBytesMin+a.rng.IntN(cookieServerBytesMax-cookieServerBytesMin+1))
		server[0] = cookieVersion
	}
	option := []byte{0, dns.EDNS0COOKIE, 0, byte(len(client) + len(server))}
	return append(append(option, client[:]...), server...)
}

// subnet gives a client subnet option.
func (a *asked) subnet() []byte {
	family, longest := uint16(1), 32
	if a.rng.IntN(3) == 0 {
		family, longest = 2, 128
	}
	bits := a.rng.IntN(longest + 1)
	addr := make([]byte, (bits+7)/8)
	for i := range addr {
		addr[i] = byte(a.rng.Uint32())
	}
	if family == 2 && len(addr) > 1 {
		copy(addr, pick(a.rng, "\x20\x01", "\x24\x05", "\x26\x00", "\x2a\x00", "\x20\x02", "\x00\x00"))
	}
	if n := len(addr); n > 0 && bits%8 != 0 {
		addr[n-1] &= byte(0xff << (8 - bits%8))
	}
	data := append([]byte{byte(family >> 8), byte(family), byte(bits), 0}, addr...)
	if a.rarely(20) { // any byte may be wrong
		data[a.rng.IntN(len(data))] = byte(a.rng.Uint32())
	}
	return append([]byte{0, dns.EDNS0SUBNET, 0, byte(len(data))}, data...)
}

// damage changes, cuts or lengthens some.
func (a *asked) damage(b []byte) []byte {
	switch {
	case a.rarely(20):
		b[a.rng.IntN(len(b))] ^= 1 << a.rng.IntN(8)
	case a.rarely(50):
		b = b[:a.rng.IntN(len(b))]
	case a.rarely(50):
		b = append(b, byte(a.rng.Uint32()))
	}
	return b
}

func anyAddr(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
	}
	b := [16]byte{0x2a, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())}
	return netip.AddrFrom16(b)
}

// In every state of the regions the fast path gives the same bytes as the slow one for whatever it answers, and it answers
// all that it is there for.
func TestFastAgreesWithSlow(t *testing.T) {
	const each = 400
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	a := &asked{rng: rand.New(rand.NewPCG(seed, 1))}
	servers := fastServers(t)
	a.jar = servers[0].cookies
	defer live().SetStates(nil)
	taken, plain := 0, 0
	for n := range allStates {
		live().SetStates(statesOf(n))
		for range each {
			a.from = anyAddr(a.rng)
			s, query, from := pick(a.rng, servers...), a.query(), a.from
			if agree(t, s, query, from) {
				taken++
			} else if a.plain {
				t.Fatalf("seed %d: the fast path leaves %s\n%sto the slow one", seed, rendered(s.Respond(query, from, false)), hex.Dump(query))
			}
			if a.plain {
				plain++
			}
		}
	}
	t.Logf("%d queries, %d plain, %d answered by the fast path", allStates*each, plain, taken)
	if taken < allStates*each/4 {
		t.Errorf("the fast path answered only %d of %d", taken, allStates*each)
	}
}

// At every size that an answer or an asker can have, both paths agree on what fits, signed or not.
func TestFastSizes(t *testing.T) {
	outcomes := map[string]int{}
	for n := 1; n <= 80; n += 1 + n/20 {
		many := make([]netip.Addr, n)
		for i := range many {
			many[i] = netip.AddrFrom4([4]byte{127, 1, 0, byte(i)})
			if i%3 == 0 {
				many[i] = netip.AddrFrom16([16]byte{0x20, 1, 13, 0xb8, 15: byte(i)})
			}
		}
		s, _ := signed(t, func(o *Options) { o.Regions[1].Addresses, o.AnswerRegions = many, 2 })
		for _, kind := range fastTypes {
			for _, size := range []uint16{0, 512, 513, 600, 777, 1000, 1001, 1231, 1232, 4096} {
				for _, do := range []bool{false, true} {
					q := new(dns.Msg)
					q.SetQuestion("chat.example.org.", kind)
					if size > 0 {
						q.SetEdns0(size, do)
					}
					query, err := q.Pack()
					if err != nil {
						t.Fatal(err)
					}
					from := netip.MustParseAddr(london)
					if !agree(t, s, query, from) {
						t.Errorf("%d addresses, %s, size %d: left to the slow path", n, dns.TypeToString[kind], size)
					}
					m := new(dns.Msg)
					if err := m.Unpack(fastAnswerOf(s, query, from)); err != nil {
						t.Fatal(err)
					}
					switch {
					case m.Truncated:
						outcomes["cut"]++
					case kind == dns.TypeSRV && len(m.Extra) <= 1:
						outcomes["bare"]++
					case kind == dns.TypeSRV:
						outcomes["full"]++
					}
				}
			}
		}
	}
	for _, what := range []string{"cut", "bare", "full"} {
		if outcomes[what] < 10 {
			t.Errorf("outcomes %v", outcomes)
		}
	}
}

// Of all bytes only A to Z become lower case, wherever in a word they stand.
func TestLower(t *testing.T) {
	for c := range 256 {
		want := byte(c)
		if c >= 'A' && c <= 'Z' {
			want += 'a' - 'A'
		}
		for at := range wordBytes {
			for _, around := range []uint64{0, 0x5a5a5a5a5a5a5a5a, ^uint64(0)} { // nothing, Z and the highest bytes beside it
				w := around&^(0xff<<(8*at)) | uint64(c)<<(8*at)
				if got := byte(lower(w) >> (8 * at)); got != want {
					t.Errorf("%#x at %d beside %#x: got %#x, want %#x", c, at, around, got, want)
				}
			}
		}
	}
}

// An answer of the fast path allocates nothing, whatever is asked: with or without a client subnet, a cookie and signatures, also
// that there is nothing.
func TestFastAllocatesNothing(t *testing.T) {
	s, c := signed(t, func(o *Options) {
		o.AnswerRegions = 2
		o.Regions[2].Addresses, o.Regions[2].URL = addrs("127.0.0.13", "2001:db8::13"), "https://ap.example.org"
		o.Serving.RateLimit = config.RateLimit{ResponsesPerSecond: 1_000_000, Slip: 2, Exempt: []string{"127.0.0.0/8"}}
	})
	defer live().SetStates(nil)
	buf, q := make([]byte, queryBytes), &fastQuery{from: netip.MustParseAddr(london), now: c.now}
	_, ours := s.cookies.answer([cookieClientBytes]byte{1, 2, 3, 4, 5, 6, 7, 8}, nil, q.from, q.now)
	none := func(what string, query []byte) {
		t.Helper()
		copy(buf, query)
		s.fast.make(buf, len(query), q)
		if got := testing.AllocsPerRun(100, func() {
			copy(buf, query)
			if s.fast.answer(buf, len(query), q) == 0 {
				t.Fatalf("%s: left to the slow path", what)
			}
		}); got != 0 {
			t.Errorf("%s: %v allocations", what, got)
		}
	}
	options := map[string][]string{
		"no EDNS": nil, "EDNS": {""}, "IPv4 subnet": {"0008 0007 0001 18 00 51 02 45"}, "IPv6 subnet": {"0008 000b 0002 38 00 24 05 02 01 00 00 00"},
		"cookie": {"000a 0008 0102030405060708"}, "cookie of ours": {"000a 0018 0102030405060708" + hex.EncodeToString(ours[:])},
	}
	for _, states := range []int{0, 7, 4} { // all up, some not, one that sheds load
		live().SetStates(statesOf(states))
		for _, kind := range fastTypes {
			for name, option := range options {
				query := raw(option...)
				query[headerBytes+len("\x04chat\x07example\x03org\x00")+1] = byte(kind)
				what := dns.TypeToString[kind] + ", " + name
				none(what, query)
				if option != nil {
					none(what+", signed", withDO(query))
				}
			}
		}
	}
	for _, name := range []string{"explain.chat.example.org.", "eXplain.chat.Example.org.", "nobody.chat.example.org.", "a.B.eu-west.Chat.example.org."} {
		none("nothing at "+name, questionOf(t, name, dns.TypeAAAA, false))
		none("nothing, signed, at "+name, questionOf(t, name, dns.TypeAAAA, true))
	}
}

// withDO gives a query of raw's with the DO bit.
func withDO(query []byte) []byte {
	query = bytes.Clone(query)
	query[bytes.Index(query, []byte{0, 0, byte(dns.TypeOPT), 0x04, 0xd0})+7] = 0x80
	return query
}

// questionOf gives a query with EDNS.
func questionOf(t testing.TB, name string, kind uint16, do bool) []byte {
	t.Helper()
	query, err := new(dns.Msg).SetQuestion(name, kind).SetEdns0(udpBytes, do).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return query
}

// The fast path keeps to the rate limit as the slow one does: the same queries of one network are answered, cut and dropped, and
// who shows a good cookie is always answered.
func TestFastKeepsTheLimit(t *testing.T) {
	limited := func(o *Options) {
		o.Now, o.CookieSecret = func() time.Time { return fastNow }, bytes.Repeat([]byte{7}, CookieSecretBytes)
		o.Serving.RateLimit = config.RateLimit{ResponsesPerSecond: 5, Slip: 3}
	}
	a, _ := signed(t, limited)
	b := server(t, func(o *Options) { limited(o); o.Serving.DNSSEC = a.opts.Serving.DNSSEC })
	from := netip.MustParseAddr(london)
	_, ours := a.cookies.answer([cookieClientBytes]byte{1, 2, 3, 4, 5, 6, 7, 8}, nil, from, fastNow)
	good := raw("000a 0018 0102030405060708" + hex.EncodeToString(ours[:]) + "0008 0007 0001 18 00 51 02 45")
	outcomes := map[string]int{}
	for i := range 60 {
		query := [][]byte{questionOf(t, "nobody.chat.example.org.", dns.TypeA, i%2 == 0), withDO(raw("0008 0007 0001 18 00 51 02 45")), good}[i%3]
		got, want := fastAnswerOf(a, query, from), b.Respond(query, from, false)
		if got == nil || !bytes.Equal(got, want) {
			t.Fatalf("query %d: fast path %s, slow path %s", i, rendered(got), rendered(want))
		}
		switch {
		case len(got) == 0:
			outcomes["dropped"]++
		case got[2]&0x02 != 0:
			outcomes["cut"]++
		default:
			outcomes["answered"]++
		}
	}
	if outcomes["dropped"] != 24 || outcomes["cut"] != 11 || outcomes["answered"] != 20+5 {
		t.Errorf("got %v", outcomes)
	}
}

// While a region that a host may answer is down or draining, the host's answers live shorter, also that there is none; those
// of names that do not depend on it live as ever.
func TestTTLFollowsHealth(t *testing.T) {
	s := server(t, func(o *Options) { o.TTLDegraded = 7 * time.Second })
	defer live().SetStates(nil)
	for _, c := range []struct {
		states decide.States
		name   string
		kind   uint16
		want   uint32
	}{
		{nil, "chat.example.org.", dns.TypeA, 20},
		{decide.States{"ap-south": {Draining: true}}, "chat.example.org.", dns.TypeA, 7},
		{decide.States{"us-east": {Health: decide.HealthDown}}, "chat.example.org.", dns.TypeSRV, 7},
		{decide.States{"us-east": {Forced: decide.HealthDown}}, "chat.example.org.", dns.TypeTXT, 7},
		{decide.States{"us-east": {Shed: 0.5}}, "chat.example.org.", dns.TypeA, 20},
		{decide.States{"eu-west": {Health: decide.HealthDown}, "us-east": {Health: decide.HealthDown}}, "chat.example.org.", dns.TypeAAAA, 7}, // no AAAA in ap-south
		{decide.States{"us-east": {Health: decide.HealthDown}}, "in.chat.example.org.", dns.TypeA, 20},
		{decide.States{"ap-south": {Health: decide.HealthDown}}, "in.chat.example.org.", dns.TypeA, 7},
		{decide.States{"us-east": {Health: decide.HealthDown}}, "us-east.chat.example.org.", dns.TypeA, 20},
		{decide.States{"us-east": {Health: decide.HealthDown}}, "chat.example.org.", dns.TypeSOA, 20},
		{decide.States{"us-east": {Health: decide.HealthDown}}, "nobody.chat.example.org.", dns.TypeA, 20},
	} {
		live().SetStates(c.states)
		q := new(dns.Msg)
		q.SetQuestion(c.name, c.kind)
		query, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(s.Respond(query, netip.MustParseAddr(london), false)); err != nil {
			t.Fatal(err)
		}
		if rrs := append(m.Answer, m.Ns...); len(rrs) == 0 || rrs[0].Header().Ttl != c.want {
			t.Errorf("%v, %s %s: got %v, want TTL %d", c.states, c.name, dns.TypeToString[c.kind], rrs, c.want)
		}
	}
}

// Whatever bytes are asked, in whatever state the regions are: what the fast path answers is what the slow one answers.
func FuzzFast(f *testing.F) {
	servers := fastServers(f)
	a := &asked{rng: rand.New(rand.NewPCG(1, 2)), jar: servers[0].cookies, from: netip.MustParseAddr("81.2.69.0")}
	for i := range 64 {
		f.Add(a.query(), uint8(i), []byte{81, 2, 69, byte(i)})
	}
	f.Fuzz(func(t *testing.T, query []byte, state uint8, from []byte) {
		addr, ok := netip.AddrFromSlice(from)
		if !ok || len(query) > queryBytes {
			return
		}
		live().SetStates(statesOf(int(state)))
		for _, s := range servers {
			agree(t, s, query, addr.Unmap())
		}
	})
}

func BenchmarkFast(b *testing.B) {
	s, c := signed(b, nil)
	ecs := raw("0008 0007 0001 18 00 51 02 45")
	for name, query := range map[string][]byte{
		"plain": raw(), "ecs": ecs, "signed": withDO(raw("")), "signed-ecs": withDO(ecs), "signed-nothing": questionOf(b, "ap-south.Chat.example.org.", dns.TypeAAAA, true),
		"missing": questionOf(b, "x1234.chat.example.org.", dns.TypeA, false), "signed-missing": questionOf(b, "x1234.chat.example.org.", dns.TypeA, true),
	} {
		b.Run(name, func(b *testing.B) {
			buf, q := make([]byte, queryBytes), &fastQuery{from: netip.MustParseAddr("8.8.8.8"), now: c.now, making: true}
			b.ReportAllocs()
			for b.Loop() {
				copy(buf, query)
				if s.fast.answer(buf, len(query), q) == 0 {
					b.Fatalf("left to the slow path: %x", query)
				}
			}
		})
	}
}
