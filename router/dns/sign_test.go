package dns

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"meridian/chat"
	"meridian/router/dns/keys"
)

var signedZones = []string{"chat.example.org.", "eu.example.net."}

// clock is a test's time.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// signed gives a server with a key for each of its zones.
func signed(t testing.TB, change func(*Options)) (*Server, *clock) {
	t.Helper()
	return signedFor(t, signedZones, change)
}

// signedFor gives a server with keys for some zones.
func signedFor(t testing.TB, zones []string, change func(*Options)) (*Server, *clock) {
	t.Helper()
	dir := t.TempDir()
	c := &clock{now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)}
	set := keys.Set{}
	for _, zone := range zones {
		k, err := set.Add(zone, c.now)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	return server(t, func(o *Options) {
		o.Now = c.Now
		o.Serving.DNSSEC.KeyDir, o.Serving.DNSSEC.InceptionSkew = dir, time.Hour
		if change != nil {
			change(o)
		}
	}), c
}

// query asks with the DO bit and gives the whole answer.
func query(t testing.TB, s *Server, name string, kind uint16, from string) *dns.Msg {
	t.Helper()
	q := new(dns.Msg).SetQuestion(name, kind)
	q.SetEdns0(udpBytes, true)
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(s.Respond(b, netip.MustParseAddr(from), true)); err != nil {
		t.Fatal(err)
	}
	return m
}

// trusted gives the DNSKEY records of a zone, as a validator would take them by DS records of these keys.
func trusted(t testing.TB, s *Server, zone string, now time.Time, anchors ...*keys.Key) []*dns.DNSKEY {
	t.Helper()
	m := query(t, s, zone, dns.TypeDNSKEY, london)
	var all, anchored []*dns.DNSKEY
	for _, rr := range m.Answer {
		if k, ok := rr.(*dns.DNSKEY); ok {
			all = append(all, k)
			for _, a := range anchors {
				if k.ToDS(dns.SHA256).Digest == a.DS(0).Digest {
					anchored = append(anchored, k)
				}
			}
		}
	}
	if err := verifySection(m.Answer, zone, anchored, now); err != nil {
		t.Fatalf("the keys of %s are not signed by an anchor: %v", zone, err)
	}
	return all
}

// verifySection checks that each RRset of a section that lies in the zone has a signature by one of the keys.
func verifySection(rrs []dns.RR, zone string, by []*dns.DNSKEY, now time.Time) error {
	for _, set := range groups(rrs) {
		h := set[0].Header()
		if !dns.IsSubDomain(zone, h.Name) {
			continue
		}
		good := false
		for _, rr := range rrs {
			sig, ok := rr.(*dns.RRSIG)
			if !ok || sig.TypeCovered != h.Rrtype || sig.Hdr.Name != h.Name { // in the case of what it signs
				continue
			}
			for _, k := range by {
				good = good || sig.KeyTag == k.KeyTag() && sig.ValidityPeriod(now) && sig.Verify(k, set) == nil && sig.Hdr.Ttl == h.Ttl
			}
		}
		if !good {
			return fmt.Errorf("%s %s has no good signature", h.Name, dns.TypeToString[h.Rrtype])
		}
	}
	return nil
}

// proves says whether NSEC records prove that a name has nothing of a type (RFC 4035, 5.4).
func provesNoData(m *dns.Msg, name string, kind uint16) bool {
	for _, rr := range m.Ns {
		nsec, ok := rr.(*dns.NSEC)
		if ok && strings.EqualFold(nsec.Hdr.Name, name) {
			return !slices.Contains(nsec.TypeBitMap, kind) && !slices.Contains(nsec.TypeBitMap, dns.TypeCNAME)
		}
		if ok && covers(nsec, name) && dns.IsSubDomain(name, nsec.NextDomain) {
			return true
		}
	}
	return false
}

func provesNoName(m *dns.Msg, name, closest string) bool {
	denied := func(name string) bool {
		return slices.ContainsFunc(m.Ns, func(rr dns.RR) bool {
			nsec, ok := rr.(*dns.NSEC)
			return ok && covers(nsec, name) && !dns.IsSubDomain(name, nsec.NextDomain)
		})
	}
	return denied(name) && denied("*."+closest)
}

func covers(nsec *dns.NSEC, name string) bool {
	compare := func(a, b string) int { return slices.CompareFunc(labelsOf(a), labelsOf(b), bytes.Compare) }
	after, before := compare(nsec.Hdr.Name, name) < 0, compare(name, nsec.NextDomain) < 0
	if compare(nsec.NextDomain, nsec.Hdr.Name) <= 0 { // the last of the zone
		return after
	}
	return after && before
}

// signedCases are questions to signed zones.
var signedCases = []struct {
	name    string
	kind    uint16
	from    string
	want    int    // answers without signatures
	closest string // of a name that does not exist
}{
	{"chat.example.org.", dns.TypeA, london, 1, ""},
	{"cHaT.eXaMpLe.oRg.", dns.TypeA, london, 1, ""},
	{"cHaT.eXaMpLe.oRg.", dns.TypeMX, london, 0, ""},
	{"nObOdY.cHaT.eXaMpLe.oRg.", dns.TypeA, london, 0, "chat.example.org."},
	{"chat.example.org.", dns.TypeAAAA, london, 1, ""},
	{"chat.example.org.", dns.TypeAAAA, pune, 0, ""}, // others get one
	{"chat.example.org.", dns.TypeHTTPS, london, 1, ""},
	{"chat.example.org.", dns.TypeHTTPS, pune, 0, ""},
	{"chat.example.org.", dns.TypeSOA, london, 1, ""},
	{"chat.example.org.", dns.TypeNS, london, 2, ""},
	{"chat.example.org.", dns.TypeCAA, london, 2, ""},
	{"chat.example.org.", dns.TypeCDS, london, 1, ""},
	{"chat.example.org.", dns.TypeCDNSKEY, london, 1, ""},
	{"chat.example.org.", dns.TypeNSEC, london, 1, ""},
	{"chat.example.org.", dns.TypeANY, london, 1, ""},
	{"chat.example.org.", dns.TypeDS, london, 0, ""},
	{"chat.example.org.", dns.TypeMX, london, 0, ""},
	{"_meridian._tcp.chat.example.org.", dns.TypeSRV, london, 1, ""},
	{"_meridian._tcp.chat.example.org.", dns.TypeA, london, 0, ""},
	{"_tcp.chat.example.org.", dns.TypeA, london, 0, ""}, // only names below it
	{"_tcp.chat.example.org.", dns.TypeNSEC, london, 0, ""},
	{"_tcp.chat.example.org.", dns.TypeRRSIG, london, 0, ""},
	{"explain.chat.example.org.", dns.TypeTXT, london, 4, ""},
	{"ap-south.chat.example.org.", dns.TypeAAAA, london, 0, ""},
	{"in.chat.example.org.", dns.TypeA, london, 1, ""},
	{"eu.example.net.", dns.TypeA, pune, 1, ""},
	{"eu.example.net.", dns.TypeSRV, pune, 1, ""}, // whose target lies in the other zone
	{"eu.example.net.", dns.TypeMX, pune, 0, ""},
	{"nobody.chat.example.org.", dns.TypeA, london, 0, "chat.example.org."},
	{"a.b.c.chat.example.org.", dns.TypeA, london, 0, "chat.example.org."},
	{"x._tcp.chat.example.org.", dns.TypeSRV, london, 0, "_tcp.chat.example.org."},
	{"x.eu-west.chat.example.org.", dns.TypeA, london, 0, "eu-west.chat.example.org."},
	{"*.chat.example.org.", dns.TypeA, london, 0, "chat.example.org."},
	{"a*.chat.example.org.", dns.TypeA, london, 0, "chat.example.org."},
	{`\000.chat.example.org.`, dns.TypeA, london, 0, "chat.example.org."},
	{`\255\255.chat.example.org.`, dns.TypeA, london, 0, "chat.example.org."},
	{"zzz.chat.example.org.", dns.TypeA, london, 0, "chat.example.org."},
	{"aaa.eu.example.net.", dns.TypeA, london, 0, "eu.example.net."},
}

// Every answer of a signed zone validates: what is there by signatures of all its parts, what is not there by NSEC records that
// prove it. Without the DO bit nothing of DNSSEC is sent.
func TestSignedAnswers(t *testing.T) {
	s, c := signed(t, nil)
	anchors := map[string][]*dns.DNSKEY{}
	for _, zone := range signedZones {
		anchors[zone] = trusted(t, s, zone, c.now, s.signer.Load().keys[zone]...)
	}
	for _, q := range signedCases {
		what := fmt.Sprintf("%s %s from %s", q.name, dns.TypeToString[q.kind], q.from)
		m := query(t, s, q.name, q.kind, q.from)
		zone := signedZones[0]
		if dns.IsSubDomain(signedZones[1], q.name) {
			zone = signedZones[1]
		}
		data := slices.DeleteFunc(slices.Clone(m.Answer), func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG })
		if (m.Rcode == dns.RcodeNameError) != (q.closest != "") || !m.Authoritative || len(data) != q.want && q.want < 4 {
			t.Errorf("%s: %s", what, render(m))
		}
		for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
			if err := verifySection(section, signedZones[0], anchors[signedZones[0]], c.now); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if err := verifySection(section, signedZones[1], anchors[signedZones[1]], c.now); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		switch {
		case q.closest != "":
			if !provesNoName(m, q.name, q.closest) {
				t.Errorf("%s: no proof that it does not exist: %s", what, render(m))
			}
		case q.want == 0:
			if !provesNoData(m, q.name, q.kind) {
				t.Errorf("%s: no proof that it has nothing: %s", what, render(m))
			}
		}
		if q.want > 0 && len(m.Ns) > 0 {
			t.Errorf("%s in %s: more than the answer: %s", what, zone, render(m))
		}
		if plain := ask(t, s, q.name, q.kind, q.from, nil); strings.Contains(plain, "RRSIG") && q.kind != dns.TypeNSEC || strings.Contains(plain, "ns: "+zone+" 20 IN NSEC") {
			t.Errorf("%s without DO: %s", what, plain)
		}
	}
	m := query(t, s, "chat.example.org.", dns.TypeRRSIG, london)
	if len(m.Answer) != 1 || m.Answer[0].(*dns.RRSIG).TypeCovered != dns.TypeNSEC {
		t.Errorf("RRSIG: %s", render(m))
	}
}

// The chain never denies what somebody is given: for every name and type, client and state of the regions there is data of a type that the
// name's link lists, or a denial that proves what the answer says.
func TestChainAgreesWithAnswers(t *testing.T) {
	s, _ := signed(t, nil)
	defer live().SetStates(nil)
	kinds := []uint16{
		dns.TypeA, dns.TypeNS, dns.TypeCNAME, dns.TypeSOA, dns.TypePTR, dns.TypeMX, dns.TypeTXT, dns.TypeAAAA, dns.TypeSRV, dns.TypeDNAME, dns.TypeDS, dns.TypeNSEC,
		dns.TypeDNSKEY, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeTLSA, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeSVCB, dns.TypeHTTPS, dns.TypeCAA, 65280,
	}
	for n := 0; n < allStates; n += 7 {
		live().SetStates(statesOf(n))
		for name, node := range s.nodes {
			for _, kind := range kinds {
				m := query(t, s, name, kind, []string{london, pune, "2600::1"}[n%3])
				if len(m.Answer) == 0 {
					if !provesNoData(m, name, kind) {
						t.Errorf("%s %s: no proof: %s", name, dns.TypeToString[kind], render(m))
					}
					continue
				}
				chain := s.chains[node.apex]
				if i, own := chain.at(name); !own || !slices.Contains(chain.links[i].types, kind) {
					t.Errorf("%s %s is answered, and the chain denies it", name, dns.TypeToString[kind])
				}
			}
		}
	}
}

// A denial for one client takes away no type that another gets: its NSEC record leaves out the type that was asked, and no other.
func TestDenialForOneClient(t *testing.T) {
	s, _ := signed(t, nil)
	m := query(t, s, "chat.example.org.", dns.TypeAAAA, pune)
	for _, rr := range m.Ns {
		if nsec, ok := rr.(*dns.NSEC); ok {
			want := []uint16{dns.TypeA, dns.TypeNS, dns.TypeSOA, dns.TypeTXT, dns.TypeSRV, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeHTTPS, dns.TypeCAA}
			if !slices.Equal(nsec.TypeBitMap, want) {
				t.Errorf("got %v", nsec)
			}
			return
		}
	}
	t.Errorf("no NSEC: %s", render(m))
}

// The chain of a zone goes through all its names and back to its beginning.
func TestChainIsClosed(t *testing.T) {
	s, _ := signed(t, nil)
	for apex, c := range s.chains {
		seen := map[string]bool{}
		for at := apex; !seen[at]; {
			i, own := c.at(at)
			if !own {
				t.Fatalf("%s is in no chain", at)
			}
			seen[at] = true
			at = c.record(i, 0).NextDomain
		}
		if len(seen) != len(c.links) {
			t.Errorf("%s: the chain has %d of %d names", apex, len(seen), len(c.links))
		}
	}
}

// Signatures are made once for many answers, hold for the whole of the time that caches may keep them, and are made anew in time:
// each RRset's at another one, and every router that has the keys makes the same ones.
func TestSignatureLife(t *testing.T) {
	const validity = 48 * time.Hour
	s, c := signed(t, func(o *Options) { o.Serving.DNSSEC.Validity = validity })
	twin := server(t, func(o *Options) {
		o.Now, o.Serving = c.Now, s.opts.Serving
	})
	sig := func(s *Server, kind uint16) string {
		for _, rr := range query(t, s, "chat.example.org.", kind, london).Answer {
			if sig, ok := rr.(*dns.RRSIG); ok {
				now := uint32(c.now.Unix())
				if sig.Inception > now-3600 || sig.Expiration < now+24*3600 {
					t.Errorf("at %s from %s to %s", c.now, dns.TimeToString(sig.Inception), dns.TimeToString(sig.Expiration))
				}
				return sig.Signature
			}
		}
		t.Fatal("no signature")
		return ""
	}
	changed := map[uint16][]int{}
	last := map[uint16]string{}
	const hours = 10 * 24
	for hour := range hours {
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSOA} {
			now := sig(s, kind)
			if last[kind] != "" && now != last[kind] {
				changed[kind] = append(changed[kind], hour)
			}
			last[kind] = now
			if hour%7 == 0 && sig(twin, kind) != now {
				t.Errorf("hour %d, %s: two routers sign differently", hour, dns.TypeToString[kind])
			}
		}
		c.now = c.now.Add(time.Hour)
	}
	for kind := range last {
		if at, n := changed[kind], hours/24; len(at) < n-1 || len(at) > n {
			t.Errorf("%s: signatures changed at %v in %d hours", dns.TypeToString[kind], changed[kind], hours)
		}
	}
}

// The cache of signatures has a bound, whatever is asked.
func TestSignatureCacheIsBounded(t *testing.T) {
	s, _ := signed(t, nil)
	g := s.signer.Load()
	for i := range 3 * signatureCacheEntries {
		g.keep(fmt.Sprint(i), signature{})
	}
	if n := len(g.young) + len(g.old); n > 2*signatureCacheEntries {
		t.Errorf("%d signatures are kept", n)
	}
}

// Key files that are damaged or gone change nothing while the server runs, and are said; at the start they are refused.
func TestKeyReloadRefuses(t *testing.T) {
	var n tally
	s, c := signed(t, func(o *Options) { o.Metrics = &n })
	dir := s.opts.Serving.DNSSEC.KeyDir
	files, err := filepath.Glob(filepath.Join(dir, "*.private"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for name, damage := range map[string]func() error{
		"damaged": func() error { return os.WriteFile(files[0], []byte("nonsense"), 0o600) },
		"gone":    func() error { return os.Remove(files[0]) },
	} {
		n.n = nil
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := New(s.opts); name == "damaged" && chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("%s: New gives %v", name, err)
		}
		if s.reloadKeys(); n.n["dns_key_reloads_total refused"] != 1 {
			t.Errorf("%s: counts %v", name, n.n)
		}
		for _, zone := range signedZones {
			trusted(t, s, zone, c.now, s.signer.Load().keys[zone]...)
		}
	}
}

// Keys that are put into the directory, or change there, are taken up while the server runs, once they keep still.
func TestKeyWatch(t *testing.T) {
	s, c := signed(t, nil)
	zone, dir := signedZones[0], s.opts.Serving.DNSSEC.KeyDir
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.watchKeys(ctx); close(ended) }()
		shown := func() int { return len(s.signer.Load().shown(zone, c.now)) }
		set, err := keys.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		second, err := set.Add(zone, c.now)
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Save(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keyWatchEvery + time.Second)
		if n := shown(); n != 1 {
			t.Errorf("after one look %d keys: files that may be under way are taken", n)
		}
		time.Sleep(keyWatchEvery)
		if n := shown(); n != 2 {
			t.Errorf("after two looks %d keys, want 2", n)
		}
		cancel()
		<-ended
	})
}

// A response to a DNSSEC query that does not fit is cut with TC set, within what was asked for.
func TestSignedTruncation(t *testing.T) {
	s, _ := signed(t, nil)
	q := new(dns.Msg).SetQuestion("nobody.chat.example.org.", dns.TypeA)
	q.SetEdns0(512, true)
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	out := s.Respond(b, netip.MustParseAddr(london), false)
	if err := m.Unpack(out); err != nil || !m.Truncated || len(out) > 512 || m.IsEdns0() == nil {
		t.Errorf("%d bytes: %v %s", len(out), err, render(m))
	}
}

func BenchmarkRespondSigned(b *testing.B) {
	s, _ := signed(b, nil)
	q := new(dns.Msg).SetQuestion("chat.example.org.", dns.TypeA)
	q.SetEdns0(udpBytes, true)
	raw, err := q.Pack()
	if err != nil {
		b.Fatal(err)
	}
	from := netip.MustParseAddr(london)
	b.ReportAllocs()
	for b.Loop() {
		s.Respond(raw, from, false)
	}
}
