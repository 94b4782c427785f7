package auth

import (
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"meridian/chat"
)

var tokenTime = time.Unix(1_800_000_000, 0)

func testRing(t *testing.T, zones ...chat.Zone) *Keyring {
	t.Helper()
	ring, err := LoadOrCreateZoneKeys(t.TempDir(), zones)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func testClaims(zone chat.Zone) Claims {
	return Claims{
		User: chat.UserID{1}, Name: "Bob", Zone: zone, Session: chat.SessionID{2}, SessionAt: 1_799_999_999_123_456,
		IssuedAt: tokenTime, Expires: tokenTime.Add(10 * time.Minute),
	}
}

// What was signed is what is read, with the key of the zone and nothing else.
func TestTokenRoundTrip(t *testing.T) {
	ring := testRing(t, "eu", "world")
	token, err := ring.Only("eu").sign("test", Access, testClaims("eu"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := NewVerifier("test", ring.Only(), Certain(func() time.Time { return tokenTime })).Verify(token, Access)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(testClaims("eu"), got); diff != "" {
		t.Error(diff)
	}
}

// Nothing but a fresh token for this use, signed by the zone that it names, is taken; every refusal is unauthorized.
func TestVerifierRefuses(t *testing.T) {
	ring, foreign := testRing(t, "eu", "world"), testRing(t, "eu", "world")
	good := testClaims("eu")
	body := payload{
		Issuer: "test", Audience: Access, Subject: good.User.String(), Name: "Bob", Zone: "eu", Session: good.Session.String(),
		SessionAt: uint64(good.SessionAt), IssuedAt: good.IssuedAt.Unix(), Expires: good.Expires.Unix(),
	}
	forge := func(method jwt.SigningMethod, key any, kid any, change func(*payload)) string {
		p := body
		if change != nil {
			change(&p)
		}
		token := jwt.NewWithClaims(method, p)
		if kid != nil {
			token.Header["kid"] = kid
		}
		signed, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	eu, world := ring.signing["eu"].key, ring.signing["world"].key
	changed := func(change func(*payload)) string { return forge(jwt.SigningMethodEdDSA, eu, "eu/1", change) }
	public, err := x509.MarshalPKIXPublicKey(ring.public["eu/1"].key)
	if err != nil {
		t.Fatal(err)
	}
	valid := changed(nil)
	parts := strings.Split(valid, ".")
	verifier := NewVerifier("test", ring, Certain(func() time.Time { return tokenTime }))
	if _, err := verifier.Verify(valid, Access); err != nil {
		t.Fatalf("the token that the others are made of: %v", err)
	}
	for name, token := range map[string]string{
		"empty":                   "",
		"garbage":                 "a.b.c",
		"two parts":               parts[0] + "." + parts[1],
		"no signature":            parts[0] + "." + parts[1] + ".",
		"huge":                    valid + strings.Repeat("A", maxTokenBytes),
		"other payload":           parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"zone":"world"}`)) + "." + parts[2],
		"padded":                  valid + "=",
		"alg none":                forge(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "eu/1", nil),
		"alg HMAC, public key":    forge(jwt.SigningMethodHS256, []byte(ring.public["eu/1"].key), "eu/1", nil),
		"alg HMAC, its PKIX":      forge(jwt.SigningMethodHS256, public, "eu/1", nil),
		"forged":                  forge(jwt.SigningMethodEdDSA, foreign.signing["eu"].key, "eu/1", nil),
		"no key id":               forge(jwt.SigningMethodEdDSA, eu, nil, nil),
		"key id traversal":        forge(jwt.SigningMethodEdDSA, eu, "eu/../eu/1", nil),
		"key id is a path":        forge(jwt.SigningMethodEdDSA, eu, "../../etc/passwd", nil),
		"key id is a number":      forge(jwt.SigningMethodEdDSA, eu, 1, nil),
		"unknown serial":          forge(jwt.SigningMethodEdDSA, eu, "eu/2", nil),
		"other zone's key":        forge(jwt.SigningMethodEdDSA, world, "world/1", nil),
		"other zone's key, named": forge(jwt.SigningMethodEdDSA, world, "eu/1", nil),
		"other deployment":        changed(func(p *payload) { p.Issuer = "other" }),
		"refresh token":           changed(func(p *payload) { p.Audience = Refresh }),
		"no audience":             changed(func(p *payload) { p.Audience = "" }),
		"expired":                 changed(func(p *payload) { p.Expires = tokenTime.Add(-3 * time.Second).Unix() }),
		"never expires":           changed(func(p *payload) { p.Expires = 0 }),
		"issued in the future":    changed(func(p *payload) { p.IssuedAt = tokenTime.Add(time.Minute).Unix() }),
		"user is no id":           changed(func(p *payload) { p.Subject = "bob" }),
		"session is no id":        changed(func(p *payload) { p.Session = "" }),
		"zone empty":              changed(func(p *payload) { p.Zone = "" }),
	} {
		if _, err := verifier.Verify(token, Access); chat.CodeOf(err) != chat.CodeUnauthorized {
			t.Errorf("%s: %v, want %s", name, err, chat.CodeUnauthorized)
		}
	}
}

// Whatever bytes come as a token, the answer is a refusal or the claims of a zone whose key signed.
func FuzzVerify(f *testing.F) {
	ring, err := LoadOrCreateZoneKeys(f.TempDir(), []chat.Zone{"eu"})
	if err != nil {
		f.Fatal(err)
	}
	token, err := ring.sign("test", Access, testClaims("eu"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("e30.e30.")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	verifier := NewVerifier("test", ring, Certain(func() time.Time { return tokenTime }))
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := verifier.Verify(s, Access); err == nil && s != token {
			t.Fatalf("taken: %q", s)
		} else if err != nil && chat.CodeOf(err) != chat.CodeUnauthorized {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

// As long as the clock is not certain a token's time is not judged, whether it seems expired or good; all else is.
func TestUncertainClock(t *testing.T) {
	ring := testRing(t, "eu")
	token, err := ring.sign("test", Access, testClaims("eu"))
	if err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{tokenTime, tokenTime.Add(time.Hour), tokenTime.Add(-time.Hour)} {
		uncertain := func() (time.Time, error) { return now, &chat.Error{Code: chat.CodeClockSkew} }
		claims, err := NewVerifier("test", ring, uncertain).Verify(token, Access)
		if chat.CodeOf(err) != chat.CodeClockSkew || claims.Zone != "eu" {
			t.Errorf("at %v: %v, %+v", now, err, claims)
		}
		for name, v := range map[string]*Verifier{"other issuer": NewVerifier("other", ring, uncertain), "other keys": NewVerifier("test", testRing(t, "eu"), uncertain)} {
			if claims, err := v.Verify(token, Access); chat.CodeOf(err) != chat.CodeUnauthorized || claims != (Claims{}) {
				t.Errorf("%s at %v: %v, %+v", name, now, err, claims)
			}
		}
	}
}
