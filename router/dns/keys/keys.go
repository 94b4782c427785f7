// Package keys holds the DNSSEC keys of the zones that GeoDNS signs, as files that all routers of a deployment share. A zone has
// one kind of key, which signs everything (a combined signing key, ECDSA P-256 with SHA-256, RFC 6605): a rollover is one walk
// of a key through the states published, active, retired and removed. The files have BIND's format, so that its tools read them.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"time"

	"github.com/miekg/dns"

	"meridian/chat"
)

const (
	// flags of a key that signs the zone and that the parent's DS names.
	flags     = dns.ZONE | dns.SEP
	protocol  = 3
	algorithm = dns.ECDSAP256SHA256
)

// State is what a key does at a time.
type State string

// The states, in the order of a key's life.
const (
	// Published keys are in DNSKEY, so that caches know them before they sign.
	Published State = "published"
	// Active keys sign everything.
	Active State = "active"
	// Retired keys sign nothing new but the keys, until no cache has signatures of theirs or a DS that names only them.
	Retired State = "retired"
	// Removed keys are gone from the zone.
	Removed State = "removed"
)

// Times say when a key enters a state; the zero time is never.
type Times struct{ Created, Activate, Inactive, Delete time.Time }

// Key is one signing key of a zone.
type Key struct {
	// Zone is lower-case, with its final dot.
	Zone string
	Times
	record  dns.DNSKEY
	private *ecdsa.PrivateKey
}

// New makes a key of a zone that is published from now on, and not active. Its tag differs from those of others.
func New(zone string, others []*Key, now time.Time) (*Key, error) {
	for {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		secret, err := private.Bytes()
		if err != nil {
			return nil, err
		}
		k, err := fromSecret(zone, secret)
		if err != nil {
			return nil, err
		}
		k.Created = now.UTC().Truncate(time.Second)
		if k.Tag() != 0 && !hasTag(others, k.Tag()) { // resolvers and people tell keys apart by their tags
			return k, nil
		}
	}
}

func hasTag(all []*Key, tag uint16) bool {
	for _, k := range all {
		if k.Tag() == tag {
			return true
		}
	}
	return false
}

// fromSecret makes a key from its private half.
func fromSecret(zone string, secret []byte) (*Key, error) {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), secret)
	if err != nil {
		return nil, err
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	return &Key{Zone: zone, private: private, record: dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET},
		Flags: flags, Protocol: protocol, Algorithm: algorithm, PublicKey: base64.StdEncoding.EncodeToString(point[1:]), // without the mark of an uncompressed point
	}}, nil
}

// Tag gives the key tag of RFC 4034.
func (k *Key) Tag() uint16 { return k.record.KeyTag() }

// State gives what the key does at a time.
func (k *Key) State(now time.Time) State {
	reached := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case reached(k.Delete):
		return Removed
	case reached(k.Inactive):
		return Retired
	case reached(k.Activate):
		return Active
	}
	return Published
}

// Record gives the key as a DNSKEY record.
func (k *Key) Record(ttl uint32) *dns.DNSKEY {
	r := k.record
	r.Hdr.Ttl = ttl
	return &r
}

// DS gives what the parent zone must have of the key: a digest by SHA-256.
func (k *Key) DS(ttl uint32) *dns.DS { return k.Record(ttl).ToDS(dns.SHA256) }

// deterministic signs as RFC 6979 says: one key gives one text one signature, whoever makes it.
type deterministic struct{ *ecdsa.PrivateKey }

// Sign takes no chance, whatever random is.
func (d deterministic) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return d.PrivateKey.Sign(nil, digest, opts)
}

// Sign signs an RRset in the name of the key's zone. The same RRset and times give the same signature.
func (k *Key) Sign(rrset []dns.RR, inception, expiration time.Time) (*dns.RRSIG, error) {
	h := rrset[0].Header()
	sig := &dns.RRSIG{
		Hdr: dns.RR_Header{Name: h.Name, Rrtype: dns.TypeRRSIG, Class: h.Class, Ttl: h.Ttl}, OrigTtl: h.Ttl,
		Algorithm: algorithm, KeyTag: k.Tag(), SignerName: k.Zone,
		Inception: uint32(inception.Unix()), Expiration: uint32(expiration.Unix()),
	}
	return sig, sig.Sign(deterministic{k.private}, rrset)
}

// errTimes says that a key's times are not in the order of its life.
var errTimes = errors.New("its times are not in order: created, activate, inactive, delete")

func (t Times) check() error {
	last := t.Created
	if last.IsZero() {
		return errors.New("it does not say when it was created")
	}
	for _, next := range []time.Time{t.Activate, t.Inactive, t.Delete} {
		if next.IsZero() {
			continue
		}
		if next.Before(last) {
			return errTimes
		}
		last = next
	}
	if t.Activate.IsZero() && !t.Inactive.IsZero() {
		return errTimes
	}
	return nil
}

func invalid(file string, err error) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "keys.Load", Message: "key file " + file + " cannot be used: " + err.Error(), Cause: err}
}
