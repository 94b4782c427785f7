package dns

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"meridian/router/dns/keys"
)

// roller follows a key rollover as caches see it: it keeps what they had before each step.
type roller struct {
	t          *testing.T
	s          *Server
	clock      *clock
	zone       string
	cached     []dns.RR
	cachedKeys []*dns.DNSKEY
}

// step loads the key files as they are now and checks that all answers validate by each DS record that the parent may have.
func (r *roller) step(what string, wantCDS []*keys.Key, anchors ...*keys.Key) {
	t, s, now := r.t, r.s, r.clock.now
	t.Helper()
	s.reloadKeys()
	answer := query(t, s, r.zone, dns.TypeA, london).Answer
	for _, anchor := range anchors {
		byNow := trusted(t, s, r.zone, now, anchor)
		for name, pair := range map[string]struct {
			rrs []dns.RR
			by  []*dns.DNSKEY
		}{"new answer, new keys": {answer, byNow}, "cached answer, new keys": {r.cached, byNow}, "new answer, cached keys": {answer, r.cachedKeys}} {
			if err := verifySection(pair.rrs, r.zone, pair.by, now); err != nil {
				t.Errorf("%s, DS of key %d: %s: %v", what, anchor.Tag(), name, err)
			}
		}
		// A parent believes only who it has a DS record of (RFC 7344).
		byAnchor := slices.DeleteFunc(slices.Clone(byNow), func(k *dns.DNSKEY) bool { return k.KeyTag() != anchor.Tag() })
		cds := query(t, s, r.zone, dns.TypeCDS, london)
		if err := verifySection(cds.Answer, r.zone, byAnchor, now); err != nil {
			t.Errorf("%s: CDS: %v", what, err)
		}
		var tags, want []uint16
		for _, rr := range cds.Answer {
			if c, ok := rr.(*dns.CDS); ok {
				tags = append(tags, c.KeyTag)
			}
		}
		for _, k := range wantCDS {
			want = append(want, k.Tag())
		}
		slices.Sort(tags)
		slices.Sort(want)
		if !slices.Equal(tags, want) {
			t.Errorf("%s: CDS names %v, want %v", what, tags, want)
		}
	}
	r.cached, r.cachedKeys = answer, trusted(t, s, r.zone, now, anchors[0])
}

// While a key is rolled every answer validates for everybody: by the parent's DS of the old key, of both, of the new one; with the
// keys and signatures of the step before still in caches. What CDS wants follows.
func TestRollValidates(t *testing.T) {
	s, c := signed(t, nil)
	zone, dir := signedZones[0], s.opts.Serving.DNSSEC.KeyDir
	waits := keys.Waits{Key: time.Hour, Data: time.Minute, Parent: 24 * time.Hour}
	set, err := keys.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	first := set[zone][0]
	r := &roller{t: t, s: s, clock: c, zone: zone, cached: query(t, s, zone, dns.TypeA, london).Answer, cachedKeys: trusted(t, s, zone, c.now, first)}
	save := func(all ...*keys.Key) {
		t.Helper()
		for _, k := range all {
			if err := k.Save(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.step("before", []*keys.Key{first}, first)
	second, err := set.Add(zone, c.now)
	if err != nil {
		t.Fatal(err)
	}
	save(second)
	r.step("published", []*keys.Key{first, second}, first)
	c.now = c.now.Add(time.Hour)
	r.step("caches have it", []*keys.Key{first, second}, first, second)
	changed, err := set.ActivateKey(second, waits, c.now, false)
	if err != nil {
		t.Fatal(err)
	}
	save(changed[0])
	r.step("activated, and seen by half", []*keys.Key{first, second}, first, second)
	save(changed[1])
	r.step("activated", []*keys.Key{second}, first, second)
	c.now = c.now.Add(24 * time.Hour)
	r.step("the parent has the new DS", []*keys.Key{second}, first, second)
	if err := set.RemoveKey(first, waits, c.now, false); err != nil {
		t.Fatal(err)
	}
	save(first)
	r.step("removed", []*keys.Key{second}, second)
	if n := len(trusted(t, s, zone, c.now, second)); n != 1 {
		t.Errorf("%d keys in the end", n)
	}
}

// While a zone has more keys than a roll brings, what does not fit over UDP is cut, and TCP gives all of it.
func TestKeysOverUDP(t *testing.T) {
	s, c := signed(t, nil)
	zone, dir := signedZones[0], s.opts.Serving.DNSSEC.KeyDir
	set, err := keys.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[bool]int{}
	for range 6 {
		for _, size := range []uint16{512, udpBytes, 4096} {
			q := new(dns.Msg).SetQuestion(zone, dns.TypeDNSKEY).SetEdns0(size, true)
			raw, err := q.Pack()
			if err != nil {
				t.Fatal(err)
			}
			m := new(dns.Msg)
			out := s.Respond(raw, netip.MustParseAddr(london), false)
			if err := m.Unpack(out); err != nil {
				t.Fatal(err)
			}
			if n := len(set[zone]); len(out) > min(int(size), udpBytes) || m.Truncated == (len(m.Answer) == 2*n) {
				t.Errorf("%d keys, size %d: %d bytes, %s", n, size, len(out), render(m))
			}
			outcomes[m.Truncated]++
		}
		trusted(t, s, zone, c.now, set[zone]...)
		next, err := keys.New(zone, set[zone], c.now)
		if err != nil {
			t.Fatal(err)
		}
		if err := next.Save(dir); err != nil {
			t.Fatal(err)
		}
		set[zone] = append(set[zone], next)
		s.reloadKeys()
	}
	if outcomes[true] == 0 || outcomes[false] == 0 {
		t.Errorf("cut: %v", outcomes)
	}
}
