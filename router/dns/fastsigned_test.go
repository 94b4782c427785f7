package dns

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"meridian/router/dns/keys"
)

// signedBy checks the signatures of an answer by the keys of all zones: each is by a key that is active then, verifies, and covers
// an RRset that is there; and every RRset of a signed zone has one.
func signedBy(s *Server, raw []byte, set keys.Set, now time.Time) error {
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil {
		return err
	}
	for zone, all := range set {
		var active []*dns.DNSKEY
		for _, k := range all {
			if k.State(now) == keys.Active {
				active = append(active, k.Record(0))
			}
		}
		for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
			if err := verifySection(section, zone, active, now); err != nil {
				return err
			}
			for _, rr := range section {
				if sig, ok := rr.(*dns.RRSIG); ok && s.apexOf(sig.Hdr.Name) == zone && sig.KeyTag != active[0].KeyTag() {
					return fmt.Errorf("a signature by key %d, where %d is active: %s", sig.KeyTag, active[0].KeyTag(), sig)
				}
			}
		}
	}
	return nil
}

// While a key is rolled, by its times and by other files, and regions fail, whatever the fast path answers validates by the key that
// is active at that moment, and has the bytes of the slow path.
func TestFastFollowsKeys(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	a := &asked{rng: rand.New(rand.NewPCG(seed, 2))}
	s, c := signed(t, func(o *Options) { o.AnswerRegions, o.TTLDegraded = 2, 7*time.Second })
	a.jar = s.cookies
	defer live().SetStates(nil)
	zone, dir := signedZones[0], s.opts.Serving.DNSSEC.KeyDir
	set, err := keys.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	first := set[zone][0]
	second, err := set.Add(zone, c.now)
	if err != nil {
		t.Fatal(err)
	}
	roll := c.now.Add(30 * time.Hour)
	second.Activate, first.Inactive, first.Delete = roll, roll, roll.Add(24*time.Hour)
	for _, k := range set[zone] {
		if err := k.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	s.reloadKeys()
	signed := 0
	ask := func(each int) {
		t.Helper()
		for range each {
			a.from = anyAddr(a.rng)
			query := a.query()
			got := fastAnswerOf(s, query, a.from)
			if got == nil || !agree(t, s, query, a.from) {
				continue
			}
			if m := new(dns.Msg); m.Unpack(got) != nil || m.IsEdns0() == nil || !m.IsEdns0().Do() || m.Truncated {
				continue
			}
			if err := signedBy(s, got, set, c.now); err != nil {
				t.Fatalf("seed %d: at %s: %v: %s", seed, c.now, err, rendered(got))
			}
			signed++
		}
	}
	for _, at := range []time.Duration{0, time.Hour, 29 * time.Hour, 30*time.Hour - time.Nanosecond, 30 * time.Hour, 31 * time.Hour, 54 * time.Hour, 70 * time.Hour} {
		c.now = roll.Add(at - 30*time.Hour)
		live().SetStates(statesOf(a.rng.IntN(allStates)))
		ask(150)
	}
	// The old key's files go, and a new key is there at once.
	for _, end := range []string{".private", ".key"} {
		if err := os.Remove(filepath.Join(dir, fmt.Sprintf("K%s+013+%05d%s", zone, second.Tag(), end))); err != nil {
			t.Fatal(err)
		}
	}
	third, err := keys.New(zone, set[zone], c.now)
	if err != nil {
		t.Fatal(err)
	}
	third.Activate = third.Created
	if err := third.Save(dir); err != nil {
		t.Fatal(err)
	}
	set[zone] = []*keys.Key{third}
	s.reloadKeys()
	ask(150)
	if signed < 200 {
		t.Errorf("only %d signed answers of the fast path were checked", signed)
	}
}

// What is asked when an answer holds one region is signed before it is asked, and again before its signatures end: at no time does a
// query wait for a signature, as long as somebody looks once a minute.
func TestFastSignsAhead(t *testing.T) {
	s, c := signed(t, func(o *Options) { o.Serving.DNSSEC.Validity, o.TTLDegraded = 2*time.Hour, 7*time.Second })
	defer live().SetStates(nil)
	old := map[string]string{}
	changed := 0
	for minute := range 200 {
		live().SetStates(statesOf(minute % allStates))
		names := append(slices.Collect(maps.Keys(s.nodes)), "nobody.chat.example.org.", "zzz.eu.example.net.", "a.b.eu-west.chat.example.org.")
		for _, name := range names {
			for _, kind := range fastTypes {
				for _, from := range []string{london, pune, "2600::1"} {
					query := questionOf(t, name, kind, true)
					buf := make([]byte, queryBytes)
					copy(buf, query)
					size := s.fast.answer(buf, len(query), &fastQuery{from: netip.MustParseAddr(from), now: c.now})
					if size == 0 {
						t.Fatalf("minute %d: %s %s from %s: there is no signature", minute, name, dns.TypeToString[kind], from)
					}
					if minute%20 > 0 {
						continue
					}
					if want := s.Respond(query, netip.MustParseAddr(from), false); string(want[2:]) != string(buf[2:size]) {
						t.Fatalf("minute %d: got %s, want %s", minute, rendered(buf[:size]), rendered(want))
					}
					what := name + dns.TypeToString[kind] + from
					if old[what] != "" && old[what] != string(buf[2:size]) {
						changed++
					}
					old[what] = string(buf[2:size])
				}
			}
		}
		c.now = c.now.Add(pieceWatchEvery)
		s.fast.pieces.Load().renew(c.now, pieceAhead)
	}
	if changed == 0 {
		t.Error("no signature was ever made anew")
	}
}

// Signatures are kept within a bound: what was put last is there, what had to make room is made again when it is asked.
func TestPiecesAreBounded(t *testing.T) {
	s, c := signed(t, nil)
	b := s.fast.pieces.Load()
	name := &fastName{seed: 12345}
	ids := make([]pieceID, 4*pieceSlots)
	for i := range ids {
		ids[i] = pieceID{name: name, count: 3}
		ids[i].regions = [len(ids[i].regions)]uint8{byte(i), byte(i >> 8), byte(i >> 16)}
		b.put(&piece{id: ids[i], span: always, records: uint16(i)}, c.now.UnixNano())
		if p := b.find(&ids[i], c.now.UnixNano()); p == nil || p.records != uint16(i) {
			t.Fatalf("piece %d is not there", i)
		}
	}
	kept := 0
	for i := range ids {
		if p := b.find(&ids[i], c.now.UnixNano()); p != nil {
			kept++
			if p.id != ids[i] {
				t.Fatalf("piece %d is another", i)
			}
		}
	}
	if kept > pieceSlots || kept < pieceSlots*9/10 {
		t.Errorf("%d pieces are kept in %d slots", kept, pieceSlots)
	}
	query := questionOf(t, "chat.example.org.", dns.TypeA, true)
	if !agree(t, s, query, netip.MustParseAddr(london)) {
		t.Error("what made room is left to the slow path")
	}
}

// While keys change under load, every query is answered, and the signature of each answer is by a key that was in use at some moment
// between the question and the answer.
func TestKeysChangeUnderLoad(t *testing.T) {
	s, _ := signed(t, func(o *Options) { o.Now = time.Now })
	zone := signedZones[0]
	var signers []*signer
	var records []*dns.DNSKEY
	for range 3 {
		set := keys.Set{}
		k, err := set.Add(zone, time.Now().Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		signers, records = append(signers, newSigner(set, 72*time.Hour, time.Hour)), append(records, k.Record(0))
	}
	s.use(signers[0])
	serve(t, s, "127.0.0.1:0")
	load{
		clients: 3, each: 300, changes: 20,
		query:   func(i int) []byte { return withDO(raw(londonOrPune(i))) },
		change:  func(n int) { s.use(signers[n%len(signers)]) },
		changed: func() { s.fast.pieces.Load().renew(time.Now().Add(72*time.Hour), pieceAhead) }, // what is made ahead is in nobody's way
		judge: func(_ int, answer []dns.RR, from, until int) error {
			if len(answer) != 2 {
				return fmt.Errorf("%d records: %v", len(answer), answer)
			}
			signature := answer[1].(*dns.RRSIG)
			for n := from; n <= until; n++ {
				if signature.Verify(records[n%len(records)], answer[:1]) == nil {
					return nil
				}
			}
			return fmt.Errorf("asked after change %d: signed by key %d", from, signature.KeyTag)
		},
	}.run(t, s)
}
