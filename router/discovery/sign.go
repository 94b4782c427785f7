package discovery

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"time"

	"meridian/chat"
)

// Signed gives the bytes that a route's signature covers: UTF-8 lines, each ended by "\n",
//
//	meridian.route.v1
//	region <region>
//	zone <zone>                      empty without one
//	expires <expires>
//	endpoint <region> <url>          one for each, best first
//
// Round trips and reasons are not covered; each route in zones has its own signature.
func Signed(r *Route) []byte {
	var b strings.Builder
	b.WriteString("meridian.route.v1\n")
	b.WriteString("region " + string(r.Region) + "\n")
	b.WriteString("zone " + string(r.Zone) + "\n")
	b.WriteString("expires " + r.Expires + "\n")
	for _, e := range r.Endpoints {
		b.WriteString("endpoint " + string(e.Region) + " " + e.URL + "\n")
	}
	return []byte(b.String())
}

// Sign sets r's signature.
func Sign(r *Route, key ed25519.PrivateKey) {
	r.Signature = base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, Signed(r)))
}

// Verify checks that r, and each of its zones' routes, was signed with the key of public and has not expired. The error
// has CodeInvalid.
func Verify(r *Route, public ed25519.PublicKey, now time.Time) error {
	sig, err := base64.RawURLEncoding.DecodeString(r.Signature)
	if err != nil || !ed25519.Verify(public, Signed(r), sig) {
		return &chat.Error{Code: chat.CodeInvalid, Op: "discovery.Verify", Message: "the route's signature is wrong", Cause: err}
	}
	expires, err := time.Parse(time.RFC3339, r.Expires)
	if err != nil || now.After(expires) {
		return &chat.Error{Code: chat.CodeInvalid, Op: "discovery.Verify", Message: "the route has expired", Cause: err}
	}
	for i := range r.Zones {
		if err := Verify(&r.Zones[i], public, now); err != nil {
			return err
		}
	}
	return nil
}
