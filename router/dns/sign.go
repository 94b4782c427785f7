package dns

import (
	"bytes"
	"hash/fnv"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"meridian/router/dns/keys"
)

// signatureCacheEntries bounds the signatures that are kept, twice: those of the current half and of the one before.
const signatureCacheEntries = 4096

// signer signs the zones that have keys. It is swapped as a whole when the keys change.
type signer struct {
	keys     keys.Set
	validity time.Duration
	skew     time.Duration

	mu         sync.Mutex
	young, old map[string]signature
}

// signature is one RRset's signatures and the time within which they are what everybody is given.
type signature struct {
	sigs []*dns.RRSIG
	span span
}

// span is a time from a moment on and until another, in nanoseconds since 1970.
type span struct{ from, until int64 }

// always is a span without ends.
var always = span{math.MinInt64, math.MaxInt64}

func (s span) holds(now int64) bool { return s.from <= now && now < s.until }

// and gives the time that is in both.
func (s span) and(other span) span {
	return span{max(s.from, other.from), min(s.until, other.until)}
}

func newSigner(set keys.Set, validity, skew time.Duration) *signer {
	return &signer{keys: set, validity: validity, skew: skew, young: map[string]signature{}}
}

// signs says whether a zone is signed.
func (s *signer) signs(apex string) bool { return s != nil && len(s.keys[apex]) > 0 }

// shown gives the keys of a zone that stand in DNSKEY.
func (s *signer) shown(apex string, now time.Time) []*keys.Key {
	var out []*keys.Key
	for _, k := range s.keys[apex] {
		if k.State(now) != keys.Removed {
			out = append(out, k)
		}
	}
	return out
}

// signers gives the keys that sign a type: the active ones; all of them what a parent or a cache checks by any of them. A zone
// is never left unsigned because nothing is active by this machine's clock.
func (s *signer) signers(apex string, kind uint16, now time.Time) []*keys.Key {
	active := s.keys.In(apex, keys.Active, now)
	if kind == dns.TypeDNSKEY || kind == dns.TypeCDS || kind == dns.TypeCDNSKEY || len(active) == 0 {
		return s.shown(apex, now)
	}
	return active
}

// wanted gives the keys that the parent is to have DS records of: all but those on their way out.
func (s *signer) wanted(apex string, now time.Time) []*keys.Key {
	out := s.keys.In(apex, keys.Active, now)
	return append(out, s.keys.In(apex, keys.Published, now)...)
}

// steady gives the time around now within which no key of a zone changes its state.
func (s *signer) steady(apex string, now time.Time) span {
	out := always
	for _, k := range s.keys[apex] {
		for _, t := range []time.Time{k.Activate, k.Inactive, k.Delete} {
			switch {
			case t.IsZero():
			case t.After(now):
				out.until = min(out.until, t.UnixNano())
			default:
				out.from = max(out.from, t.UnixNano())
			}
		}
	}
	return out
}

// period gives the time around now within which an RRset keeps its signatures: half of their validity long. Each RRset has another
// beginning, by the hash of its key, so that not all are made anew at once.
func (s *signer) period(key string, now time.Time) span {
	half := int64(s.validity / 2)
	hash := fnv.New64a()
	hash.Write([]byte(key))
	shift := int64(hash.Sum64()%uint64(half)) / int64(time.Second) * int64(time.Second)
	from := now.UnixNano() - (now.UnixNano()+shift)%half
	return span{from, from + half}
}

// keyRecords adds DNSKEY, CDS or CDNSKEY records at the apex of a signed zone.
func (s *signer) keyRecords(name, apex string, kind uint16, ttl uint32, now time.Time) []dns.RR {
	list := s.wanted(apex, now)
	if kind == dns.TypeDNSKEY {
		list = s.shown(apex, now)
	}
	var out []dns.RR
	for _, k := range list {
		var rr dns.RR
		switch kind {
		case dns.TypeDNSKEY:
			rr = k.Record(ttl)
		case dns.TypeCDNSKEY:
			rr = k.Record(ttl).ToCDNSKEY()
		case dns.TypeCDS:
			rr = k.DS(ttl).ToCDS()
		default:
			return nil
		}
		rr.Header().Name = name
		out = append(out, rr)
	}
	return out
}

// section gives a section with the signatures of each of its RRsets that lie in signed zones, behind it. apexOf gives the zone of
// an owner. span is the time within which the same would come out.
func (s *signer) section(rrs []dns.RR, apexOf func(name string) string, now time.Time) (out []dns.RR, span span, err error) {
	out, span = rrs, always
	for _, set := range groups(rrs) {
		apex := apexOf(set[0].Header().Name)
		if !s.signs(apex) {
			continue
		}
		made, err := s.set(set, apex, now)
		if err != nil {
			return nil, span, err
		}
		span = span.and(made.span).and(s.steady(apex, now))
		for _, sig := range made.sigs {
			own := *sig
			own.Hdr.Name = set[0].Header().Name // in the case that was asked
			out = append(out, &own)
		}
	}
	return out, span, nil
}

// groups gives the RRsets of a section. Signatures and what belongs to the message are none.
func groups(rrs []dns.RR) [][]dns.RR {
	var out [][]dns.RR
next:
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype == dns.TypeOPT || h.Rrtype == dns.TypeRRSIG {
			continue
		}
		for i, set := range out {
			if first := set[0].Header(); first.Rrtype == h.Rrtype && strings.EqualFold(first.Name, h.Name) {
				out[i] = append(set, rr)
				continue next
			}
		}
		out = append(out, []dns.RR{rr})
	}
	return out
}

// set gives an RRset's signatures, made now or before. They are the same in every cache and at every router that has the keys: the
// time that they begin with is the period's, and there is no chance in them.
func (s *signer) set(rrset []dns.RR, apex string, now time.Time) (signature, error) {
	by := s.signers(apex, rrset[0].Header().Rrtype, now)
	key, err := cacheKey(rrset, by)
	if err != nil {
		return signature{}, err
	}
	made, ok := s.cached(key)
	if ok && made.span.holds(now.UnixNano()) {
		return made, nil
	}
	made = signature{span: s.period(key, now)}
	from := time.Unix(0, made.span.from)
	for _, k := range by {
		sig, err := k.Sign(rrset, from.Add(-s.skew), from.Add(s.validity))
		if err != nil {
			return signature{}, err
		}
		made.sigs = append(made.sigs, sig)
	}
	s.keep(key, made)
	return made, nil
}

func (s *signer) cached(key string) (signature, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.young[key]
	if !ok {
		if found, ok = s.old[key]; ok {
			s.put(key, found)
		}
	}
	return found, ok
}

func (s *signer) keep(key string, made signature) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, made)
}

// put makes room by forgetting what was not asked for since the last time that room was made.
func (s *signer) put(key string, made signature) {
	if len(s.young) >= signatureCacheEntries {
		s.old, s.young = s.young, make(map[string]signature, signatureCacheEntries)
	}
	s.young[key] = made
}

// cacheKey gives the RRset's bytes, its owner in lower case, and who signs.
func cacheKey(rrset []dns.RR, by []*keys.Key) (string, error) {
	var buf []byte
	for _, k := range by {
		buf = append(buf, byte(k.Tag()>>8), byte(k.Tag()))
	}
	for _, rr := range rrset {
		off := len(buf)
		buf = append(buf, make([]byte, dns.Len(rr)+1)...)
		end, err := dns.PackRR(rr, buf, off, nil, false)
		if err != nil {
			return "", err
		}
		buf = buf[:end]
		owner := buf[off:skipName(buf, off)]
		copy(owner, bytes.ToLower(owner))
	}
	return string(buf), nil
}
