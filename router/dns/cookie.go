package dns

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// The server cookie of RFC 9018: version, three zero bytes, the time of its making, a hash of all that and the asker.
const (
	cookieClientBytes    = 8
	cookieServerBytes    = 16
	cookieServerBytesMin = 8 // of other servers: RFC 7873
	cookieServerBytesMax = 32
	cookieVersion        = 1
	// A cookie is good for cookieLife; a younger one than cookieFresh is given back as it is. Clocks may differ by cookieAhead.
	cookieLife  = time.Hour
	cookieFresh = 30 * time.Minute
	cookieAhead = 5 * time.Minute
	// cookieSecretLife is how long one secret makes cookies. It is a day of the clock, so that all routers with one master
	// secret change at one time, and the time in a cookie says which secret made it.
	cookieSecretLife = 24 * time.Hour
)

// CookieSecretBytes is the length of Options.CookieSecret.
const CookieSecretBytes = 32

// cookieJar makes and checks server cookies.
type cookieJar struct {
	master  []byte
	secrets [2]atomic.Pointer[cookieSecret] // of today and a day beside it
}

type cookieSecret struct {
	day    uint32
	k0, k1 uint64
}

// newCookieJar takes the secret that all routers share, or makes one of its own.
func newCookieJar(master []byte) (*cookieJar, error) {
	if len(master) == 0 {
		master = make([]byte, CookieSecretBytes)
		if _, err := rand.Read(master); err != nil {
			return nil, err
		}
	}
	if len(master) != CookieSecretBytes {
		return nil, invalid("the secret for cookies has %d bytes, not %d", len(master), CookieSecretBytes)
	}
	return &cookieJar{master: master}, nil
}

// cookie is the COOKIE option of a query.
type cookie struct {
	client [cookieClientBytes]byte
	server []byte // empty: the asker has none yet
}

// parseCookie reads the option's data. Its two parts have 8, and 0 or 8 to 32 bytes; all else is malformed.
func parseCookie(b []byte) (*cookie, bool) {
	if !cookieFits(len(b)) {
		return nil, false
	}
	return &cookie{client: [cookieClientBytes]byte(b), server: b[cookieClientBytes:]}, true
}

func cookieFits(size int) bool {
	server := size - cookieClientBytes
	return server == 0 || server >= cookieServerBytesMin && server <= cookieServerBytesMax
}

// check says whether the cookie is one that we gave to this address, and gives the option for the answer.
func (j *cookieJar) check(c *cookie, from netip.Addr, now time.Time) (valid bool, option dns.EDNS0) {
	valid, server := j.answer(c.client, c.server, from, now)
	return valid, &dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: append(c.client[:len(c.client):len(c.client)], server[:]...)}
}

// answer says whether server is what we gave to this client and address, and gives what to give now. It does not allocate, but
// once a day.
func (j *cookieJar) answer(client [cookieClientBytes]byte, server []byte, from netip.Addr, now time.Time) (valid bool, give [cookieServerBytes]byte) {
	seconds := uint32(now.Unix())
	if len(server) == cookieServerBytes && server[0] == cookieVersion {
		made := binary.BigEndian.Uint32(server[4:])
		age := time.Duration(int32(seconds-made)) * time.Second // RFC 1982: the seconds run over
		if age <= cookieLife && age >= -cookieAhead {
			ours := j.make(client, [3]byte(server[1:]), made, from)
			valid = subtle.ConstantTimeCompare(server, ours[:]) == 1
		}
		if valid && age <= cookieFresh && age >= 0 {
			return true, [cookieServerBytes]byte(server)
		}
	}
	return valid, j.make(client, [3]byte{}, seconds, from)
}

func (j *cookieJar) make(client [cookieClientBytes]byte, reserved [3]byte, made uint32, from netip.Addr) [cookieServerBytes]byte {
	s := j.secret(made / uint32(cookieSecretLife/time.Second))
	return makeCookie(s.k0, s.k1, client, reserved, made, from)
}

// makeCookie is section 4 of RFC 9018.
func makeCookie(k0, k1 uint64, client [cookieClientBytes]byte, reserved [3]byte, made uint32, from netip.Addr) (out [cookieServerBytes]byte) {
	const head = cookieServerBytes - 8
	var in [cookieClientBytes + head + 16]byte
	copy(in[:], client[:])
	own := in[cookieClientBytes:]
	own[0], own[1], own[2], own[3] = cookieVersion, reserved[0], reserved[1], reserved[2]
	binary.BigEndian.PutUint32(own[4:], made)
	copy(out[:head], own)
	size := cookieClientBytes + head
	if from = from.Unmap(); from.Is4() {
		four := from.As4()
		size += copy(in[size:], four[:])
	} else if from.IsValid() {
		sixteen := from.As16()
		size += copy(in[size:], sixteen[:])
	}
	binary.LittleEndian.PutUint64(out[head:], sipHash(k0, k1, in[:size]))
	return out
}

// secret gives the secret of a day since 1970.
func (j *cookieJar) secret(day uint32) *cookieSecret {
	slot := &j.secrets[day%2]
	if s := slot.Load(); s != nil && s.day == day {
		return s
	}
	mac := hmac.New(sha256.New, j.master)
	mac.Write(binary.BigEndian.AppendUint32([]byte("meridian dns cookie "), day))
	sum := mac.Sum(nil)
	s := &cookieSecret{day: day, k0: binary.LittleEndian.Uint64(sum), k1: binary.LittleEndian.Uint64(sum[8:])}
	slot.Store(s)
	return s
}
