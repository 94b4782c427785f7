package dns

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"meridian/config"
)

func newTestLimiter(t testing.TB, c config.RateLimit) *limiter {
	t.Helper()
	l, err := newLimiter(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A network gets a second's worth at once and then its rate; its neighbours get theirs; every slip-th answer over the limit
// is truncated, the others are dropped.
func TestLimit(t *testing.T) {
	l := newTestLimiter(t, config.RateLimit{ResponsesPerSecond: 100, Slip: 4, Exempt: []string{"127.0.0.0/8"}})
	now := int64(time.Hour)
	ask := func(n int, from string) (got map[verdict]int) {
		got = map[verdict]int{}
		for range n {
			got[l.judge(netip.MustParseAddr(from), now)]++
		}
		return got
	}
	expect := func(what string, got map[verdict]int, sent, truncated, dropped int) {
		t.Helper()
		if want := fmt.Sprint(map[verdict]int{send: sent, truncate: truncated, drop: dropped}); want != fmt.Sprint(map[verdict]int{send: got[send], truncate: got[truncate], drop: got[drop]}) {
			t.Errorf("%s: got %v, want %d sent, %d truncated, %d dropped", what, got, sent, truncated, dropped)
		}
	}
	expect("a burst", ask(200, "192.0.2.1"), 100, 25, 75)
	expect("from beside it", ask(4, "192.0.2.200"), 0, 1, 3)
	expect("from another network", ask(100, "192.0.3.1"), 100, 0, 0)
	expect("mapped into IPv6", ask(4, "::ffff:192.0.2.1"), 0, 1, 3)
	expect("IPv6", ask(104, "2001:db8:0:100::1"), 100, 1, 3)
	expect("the same /56", ask(4, "2001:db8:0:1ff::1"), 0, 1, 3)
	expect("another /56", ask(100, "2001:db8:0:200::1"), 100, 0, 0)
	expect("an exempt network", ask(1000, "127.0.0.1"), 1000, 0, 0)
	now += int64(100 * time.Millisecond)
	expect("a tenth of a second later", ask(14, "192.0.2.1"), 10, 1, 3)
	now += int64(time.Hour)
	expect("after a pause", ask(104, "192.0.2.1"), 100, 1, 3)
	var off *limiter
	if off.judge(netip.MustParseAddr("192.0.2.1"), 0) != send {
		t.Error("no limiter limits")
	}
}

// Who floods from very many forged networks does not take away the answers of others.
func TestLimitFlood(t *testing.T) {
	l := newTestLimiter(t, config.RateLimit{ResponsesPerSecond: 10})
	now := int64(time.Hour)
	for i := range 2000 { // each far over its limit
		from := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		for range 20 {
			l.judge(from, now)
		}
	}
	hurt := 0
	for i := range 5000 {
		if l.judge(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 1}), now) != send {
			hurt++
		}
	}
	if hurt > 25 { // (2000·2 of 131072)² is one in a thousand
		t.Errorf("%d of 5000 networks are limited by what others did", hurt)
	}
}

// To ask the limiter costs no memory.
func TestLimitDoesNotAllocate(t *testing.T) {
	l := newTestLimiter(t, config.RateLimit{ResponsesPerSecond: 10, Slip: 2, Exempt: []string{"127.0.0.0/8", "::1/128"}})
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	if n := testing.AllocsPerRun(1000, func() { l.judge(four, 1); l.judge(six, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Over the limit UDP gets a truncated answer without data or silence, and both are counted; TCP and who shows a good cookie get
// all of it, who shows a bad one does not.
func TestRateLimitedAnswers(t *testing.T) {
	var n tally
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s := server(t, func(o *Options) {
		o.Metrics, o.Now = &n, func() time.Time { return now }
		o.Serving.RateLimit = config.RateLimit{ResponsesPerSecond: 5, Slip: 2}
	})
	from := netip.MustParseAddr(london)
	cookie := "000a 0008 0102030405060708"
	first := new(dns.Msg)
	if err := first.Unpack(s.Respond(raw(cookie), from, false)); err != nil {
		t.Fatal(err)
	}
	good := fmt.Sprintf("000a 0018 %s", first.IsEdns0().Option[0].String())
	for range 4 {
		s.Respond(raw(), from, false)
	}
	silent, truncated := 0, 0
	for range 10 {
		out := s.Respond(raw(cookie), from, false)
		if out == nil {
			silent++
			continue
		}
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Fatal(err)
		}
		if m.Truncated && len(m.Answer) == 0 && m.IsEdns0() != nil && len(m.Question) == 1 {
			truncated++
		}
	}
	if silent != 5 || truncated != 5 || n.n["dns_limited_total dropped"] != 5 || n.n["dns_limited_total truncated"] != 5 {
		t.Errorf("%d silent, %d truncated, counts %v", silent, truncated, n.n)
	}
	if m := new(dns.Msg); m.Unpack(s.Respond(raw(good), from, false)) != nil || len(m.Answer) != 1 {
		t.Errorf("with a good cookie: %s", render(m))
	}
	if m := new(dns.Msg); m.Unpack(s.Respond(raw(), from, true)) != nil || len(m.Answer) != 1 {
		t.Errorf("over TCP: %s", render(m))
	}
	if out := s.Respond(raw(good), netip.MustParseAddr("81.2.69.143"), false); len(out) > 100 {
		t.Error("another's cookie is taken")
	}
	garbage := append(raw()[:12:12], 0xc0, 12, 0, 1, 0, 1)
	answered := 0
	for range 10 {
		if s.Respond(garbage, from, false) != nil {
			answered++
		}
	}
	if answered != 5 {
		t.Errorf("of 10 malformed queries over the limit %d are answered", answered)
	}
}

// Who asks for signatures in another's name makes that one get no more answers than the limit has, none of them larger than what
// a datagram of ours may have, and for the rest no more bytes than were asked with, an OPT record more or less.
func TestLimitBoundsSignedAnswers(t *testing.T) {
	const rate = 20
	s, _ := signed(t, func(o *Options) { o.Serving.RateLimit = config.RateLimit{ResponsesPerSecond: rate, Slip: 2} })
	from := netip.MustParseAddr(london)
	full, other, bytesAsked, bytesOther := 0, 0, 0, 0
	for range 50 {
		for _, kind := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeDNSKEY, dns.TypeANY, dns.TypeMX, dns.TypeRRSIG} {
			query := questionOf(t, "chat.example.org.", kind, true)
			out := fastAnswerOf(s, query, from)
			if out == nil {
				out = s.Respond(query, from, false)
			}
			if len(out) > udpBytes {
				t.Fatalf("%s: %d bytes", dns.TypeToString[kind], len(out))
			}
			if len(out) > 0 && out[2]&0x02 == 0 {
				full++
				continue
			}
			other++
			bytesAsked += len(query)
			bytesOther += len(out)
		}
	}
	if full != rate || bytesOther > bytesAsked {
		t.Errorf("%d whole answers, want %d; to the other %d queries of %d bytes %d bytes", full, rate, other, bytesAsked, bytesOther)
	}
}

func BenchmarkLimit(b *testing.B) {
	l := newTestLimiter(b, config.RateLimit{ResponsesPerSecond: 500, Slip: 2, Exempt: []string{"127.0.0.0/8", "::1/128"}})
	a := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	now := int64(0)
	for b.Loop() {
		now += 1000
		l.judge(a, now)
	}
}
