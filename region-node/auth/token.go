package auth

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"meridian/chat"
)

// Audience says what a token is good for.
type Audience string

// The audiences.
const (
	Access  Audience = "access"
	Refresh Audience = "refresh"
)

const (
	// maxTokenBytes bounds what is looked at; our own tokens have some 500.
	maxTokenBytes = 4 << 10
	// tokenLeeway is how far the clocks of issuer and verifier may differ.
	tokenLeeway = 2 * time.Second
)

// Claims is what a token says about its bearer.
type Claims struct {
	User    chat.UserID
	Name    string // username, as shown
	Zone    chat.Zone
	Session chat.SessionID
	// SessionAt is when the session began: refreshed tokens keep it.
	SessionAt chat.HLC
	IssuedAt  time.Time
	Expires   time.Time
}

// Owner gives the bearer as ops name him.
func (c Claims) Owner() chat.Owner { return chat.Owner{ID: c.User, Zone: c.Zone, Name: c.Name} }

// payload is the JSON of a token (RFC 7519): times in seconds, but for sat.
type payload struct {
	Issuer    string   `json:"iss"`
	Audience  Audience `json:"aud"`
	Subject   string   `json:"sub"`
	Name      string   `json:"name"`
	Zone      string   `json:"zone"`
	Session   string   `json:"sid"`
	SessionAt uint64   `json:"sat"` // start of the session, HLC time: microseconds since 1970
	IssuedAt  int64    `json:"iat"`
	Expires   int64    `json:"exp"`
}

// The methods of jwt.Claims.

func (p payload) GetIssuer() (string, error)  { return p.Issuer, nil }
func (p payload) GetSubject() (string, error) { return p.Subject, nil }
func (p payload) GetAudience() (jwt.ClaimStrings, error) {
	return jwt.ClaimStrings{string(p.Audience)}, nil
}
func (p payload) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (p payload) GetIssuedAt() (*jwt.NumericDate, error)       { return seconds(p.IssuedAt), nil }
func (p payload) GetExpirationTime() (*jwt.NumericDate, error) { return seconds(p.Expires), nil }

func seconds(s int64) *jwt.NumericDate {
	if s == 0 {
		return nil
	}
	return jwt.NewNumericDate(time.Unix(s, 0))
}

// sign makes a token with the zone's newest key. The error has CodeInternal: a zone is served without its key.
func (k *Keyring) sign(deployment string, aud Audience, c Claims) (string, error) {
	key, ok := k.signing[c.Zone]
	if !ok {
		return "", &chat.Error{Code: chat.CodeInternal, Op: "auth.Keyring.sign", Message: "no token key of zone " + string(c.Zone)}
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, payload{
		Issuer: deployment, Audience: aud, Subject: c.User.String(), Name: c.Name, Zone: string(c.Zone),
		Session: c.Session.String(), SessionAt: uint64(c.SessionAt), IssuedAt: c.IssuedAt.Unix(), Expires: c.Expires.Unix(),
	})
	token.Header["kid"] = key.id
	signed, err := token.SignedString(key.key)
	if err != nil {
		return "", &chat.Error{Code: chat.CodeInternal, Op: "auth.Keyring.sign", Message: "token cannot be signed", Cause: err}
	}
	return signed, nil
}

// Verifier checks tokens anywhere, without calling home. It is safe for concurrent use.
type Verifier struct {
	ring   *Keyring
	parser *jwt.Parser
	valid  *jwt.Validator
	clock  Clock
	issuer string
}

// Clock gives the time, or why it is not certain.
type Clock func() (time.Time, error)

// Certain is a clock that is always right.
func Certain(now func() time.Time) Clock { return func() (time.Time, error) { return now(), nil } }

// NewVerifier makes a Verifier of the deployment's tokens.
func NewVerifier(deployment string, ring *Keyring, clock Clock) *Verifier {
	now := func() time.Time {
		t, _ := clock() // Verify has seen the error
		return t
	}
	return &Verifier{
		ring: ring, clock: clock, issuer: deployment,
		parser: jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation()),
		valid: jwt.NewValidator(
			jwt.WithIssuer(deployment), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(tokenLeeway), jwt.WithTimeFunc(now)),
	}
}

// Verify gives what token says, if it is signed with a key of the zone that it names as home, meant for aud, and not expired.
// Whether its session still stands only the home zone knows (Service.CheckSession). Every refusal has CodeUnauthorized. As long as
// the time is not certain a token that is good but for its time gets the clock's error, with what it says: a client that is told that its
// token is bad forgets it.
func (v *Verifier) Verify(token string, aud Audience) (Claims, error) {
	refuse := func(message string, cause error) (Claims, error) {
		return Claims{}, &chat.Error{Code: chat.CodeUnauthorized, Op: "auth.Verifier.Verify", Message: message, Cause: cause}
	}
	if token == "" {
		return refuse("token is missing", nil)
	}
	if len(token) > maxTokenBytes {
		return refuse("token is not valid", nil)
	}
	var p payload
	var signer publicKey
	_, err := v.parser.ParseWithClaims(token, &p, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string) // a name in a table, never a path
		key, ok := v.ring.public[id]
		if !ok {
			return nil, jwt.ErrTokenUnverifiable
		}
		signer = key
		return key.key, nil
	})
	_, uncertain := v.clock()
	if err == nil && uncertain == nil {
		err = v.valid.Validate(p)
	}
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return refuse("token has expired", err)
	case err != nil:
		return refuse("token is not valid", err)
	case p.Issuer != v.issuer:
		return refuse("token is not valid", nil)
	case p.Audience != aud:
		return refuse("token is not for this use", nil)
	case signer.zone != chat.Zone(p.Zone):
		return refuse("token is not signed by its own zone", nil)
	}
	user, err := chat.ParseUUID(p.Subject)
	if err != nil {
		return refuse("token is not valid", err)
	}
	session, err := chat.ParseUUID(p.Session)
	if err != nil {
		return refuse("token is not valid", err)
	}
	return Claims{
		User: chat.UserID(user), Name: p.Name, Zone: signer.zone, Session: chat.SessionID(session), SessionAt: chat.HLC(p.SessionAt),
		IssuedAt: time.Unix(p.IssuedAt, 0), Expires: time.Unix(p.Expires, 0),
	}, uncertain
}
