package dns

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
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
	const clients, each, changes = 3, 300, 20
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
	var begun, done, asked atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		conn := dial(t, s.Addr())
		wg.Go(func() {
			for i := range each {
				query := withDO(raw([]string{"0008 0007 0001 18 00 51 02 45", "0008 0007 0001 18 00 31 24 00"}[i%2]))
				binary.BigEndian.PutUint16(query, uint16(c<<12|i))
				from := done.Load()
				m := new(dns.Msg)
				if err := m.Unpack(exchange(t, conn, query)); err != nil || m.Id != uint16(c<<12|i) || len(m.Answer) != 2 {
					t.Errorf("%v, %v", m, err)
					return
				}
				good := false
				for n := from; n <= begun.Load(); n++ {
					good = good || m.Answer[1].(*dns.RRSIG).Verify(records[int(n)%len(records)], m.Answer[:1]) == nil
				}
				if !good {
					t.Errorf("asked after change %d: signed by key %d", from, m.Answer[1].(*dns.RRSIG).KeyTag)
					return
				}
				asked.Add(1)
			}
		})
	}
	for n := int64(1); n <= changes; n++ {
		for asked.Load() < n*clients*each/(changes+1) && !t.Failed() {
			time.Sleep(100 * time.Microsecond)
		}
		begun.Store(n)
		s.use(signers[int(n)%len(signers)])
		done.Store(n)
		s.fast.pieces.Load().renew(time.Now().Add(72*time.Hour), pieceAhead) // what is made ahead is in nobody's way
	}
	wg.Wait()
	if got := asked.Load(); got != clients*each {
		t.Errorf("%d of %d queries were answered", got, clients*each)
	}
}
