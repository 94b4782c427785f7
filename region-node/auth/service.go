package auth

import (
	"context"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/cached"
	"meridian/region-node/limits"
	"meridian/replication/claim"
)

// Submitter makes an op durable in this region and gives it as stamped. Errors are of type *chat.Error.
type Submitter interface {
	Submit(ctx context.Context, op chat.Op) (chat.Op, error)
}

// Metrics observes by names of the project's list.
type Metrics interface {
	Observe(name string, value float64, labels ...string)
}

// Store is what auth reads, reserves and confirms; all else it writes by ops.
type Store interface {
	chat.Accounts
	DirectoryStore
}

// Options make a Service. All but Metrics are needed.
type Options struct {
	Self         chat.Region
	Config       *config.Config
	Keys         *Keyring
	DirectoryKey DirectoryKey
	Store        Store
	Submitter    Submitter
	Remote       Remote
	// Serving says why other regions are not answered now: what is known here of names may be old; it gives nil when they are. Not
	// set: always.
	Serving func() *chat.Error
	// Endpoints gives where a zone is served, best first.
	Endpoints func(chat.Zone) []chat.Endpoint
	// Country gives the ISO 3166-1 alpha-2 code of a client's address, "" if unknown.
	Country func(netip.Addr) string
	Now     func() time.Time
	// Clock is Now for who checks tokens, with an error as long as the time is not certain. Not set: it always is.
	Clock Clock
	// Limits bound what an address may cost.
	Limits *limits.Limits
	// Cached keeps what Profile reads; nil: nothing is kept.
	Cached *cached.Layer
	// Metrics, if not nil, is told how long password checks take.
	Metrics Metrics
}

// Service signs people up and in, in the regions of their home zone. It is safe for concurrent use.
type Service struct {
	opt       Options
	topology  chat.Topology
	directory *Directory
	hasher    *Hasher
	verifier  *Verifier
}

// New makes a Service. It hashes one password, which takes as long as a log-in.
func New(opt Options) *Service {
	topology := opt.Config.Topology()
	if opt.Serving == nil {
		opt.Serving = func() *chat.Error { return nil }
	}
	if opt.Clock == nil {
		opt.Clock = Certain(opt.Now)
	}
	return &Service{
		opt: opt, topology: topology, hasher: NewHasher(opt.Config.Security),
		verifier: NewVerifier(opt.Config.Name, opt.Keys, opt.Clock),
		directory: newDirectory(claim.Config{Self: opt.Self, Topology: topology, Timeout: opt.Config.Timing.ClaimTimeout},
			opt.DirectoryKey, opt.Store, opt.Remote, opt.Now),
	}
}

// Prove says why a token that this region signs now would not be taken, nil when it would, of whatever zone. It asks nobody.
func (s *Service) Prove() error {
	now := s.opt.Now()
	for _, zone := range s.opt.Keys.Signs() {
		token, err := s.opt.Keys.sign(s.opt.Config.Name, Access, Claims{Zone: zone, IssuedAt: now, Expires: now.Add(tokenLeeway)})
		if err != nil {
			return err
		}
		if _, err := s.verifier.Verify(token, Access); err != nil {
			return err
		}
	}
	return nil
}

// Verifier gives the token check of the service's keys.
func (s *Service) Verifier() *Verifier { return s.verifier }

// HandleRequest answers a call of another region: the methods of the directory. The link has proved that it is region from. A
// region whose store may be an old copy has no voice: it may have forgotten whom it gave a name to.
func (s *Service) HandleRequest(ctx context.Context, from chat.Region, method string, payload []byte) ([]byte, error) {
	if e := s.opt.Serving(); e != nil {
		return nil, e
	}
	return s.directory.handle(ctx, from, method, payload)
}

// Mend gives the regions that lack it what is confirmed here of a name: to brought of them; found is false when nothing is.
// Errors: CodeDenied for a zone that this region does not serve, CodeVersionConflict when others have it for another sign-up,
// and of who did not take it.
func (s *Service) Mend(ctx context.Context, key chat.ClaimKey) (found bool, brought int, err error) {
	r, err := s.directory.mend(ctx, key)
	return r.Found, r.Brought, err
}

// Resolve gives the user of that name. Name is as the person wrote it where the account is kept here, else as the caller did.
// It takes at most a second. Errors: CodeUnknownUser, and the store's.
func (s *Service) Resolve(ctx context.Context, username string) (chat.Owner, error) {
	owner, _, err := s.resolve(ctx, username)
	return owner, err
}

// Profile is Resolve for who only wants to see it: it may be as old as the cache lets it be. Of people whose zone this region does
// not serve nothing is kept.
func (s *Service) Profile(ctx context.Context, username string) (chat.Owner, error) {
	if ValidUsername(username, s.opt.Config.Limits.UsernameMaxChars) != nil {
		return s.Resolve(ctx, username)
	}
	return s.opt.Cached.Profile(ctx, s.directory.claimKey(Normalise(username)), func(ctx context.Context) (chat.Owner, bool, error) {
		return s.resolve(ctx, username)
	})
}

// resolve also says whether the account is kept here.
func (s *Service) resolve(ctx context.Context, username string) (owner chat.Owner, here bool, err error) {
	unknown := &chat.Error{Code: chat.CodeUnknownUser, Op: "auth.Service.Resolve", Message: "no such user"}
	if ValidUsername(username, s.opt.Config.Limits.UsernameMaxChars) != nil {
		return chat.Owner{}, false, unknown
	}
	normalised := Normalise(username)
	claim, found, err := s.directory.find(ctx, normalised)
	if err != nil {
		return chat.Owner{}, false, err
	}
	if !found {
		return chat.Owner{}, false, unknown
	}
	owner = chat.Owner{ID: s.directory.blind(normalised, claim.Blinded), Zone: claim.Zone, Name: Canonical(username)}
	if s.topology.InZone(s.opt.Self, owner.Zone) {
		account, ok, err := s.opt.Store.Account(ctx, owner.ID)
		if err != nil && chat.CodeOf(err) != chat.CodeRegionDegraded {
			return chat.Owner{}, false, err
		}
		if err == nil && ok { // the directory knows who it is: messages need no account
			owner.Name, here = account.Username, true
		}
	}
	return owner, here, nil
}

// HomeZone gives the zone of a person who signs up from addr: the one asked for, which pins, or with "" the one of the
// country. Errors: CodeZoneNotAllowed.
func (s *Service) HomeZone(asked chat.Zone, addr netip.Addr) (zone chat.Zone, pinned bool, err error) {
	if asked == "" {
		rule := s.opt.Config.HomeZones
		if zone, ok := rule.Countries[s.opt.Country(addr)]; ok {
			return zone, false, nil
		}
		return rule.Default, false, nil
	}
	if spec, ok := s.topology.Zone(asked); !ok || !spec.AtSignUp {
		return "", false, &chat.Error{Code: chat.CodeZoneNotAllowed, Op: "auth.Service.HomeZone", Message: "zone may not be chosen at sign-up"}
	}
	return asked, true, nil
}

// serves refuses, with CodeWrongRegion and the endpoints, unless this region keeps the zone's data.
func (s *Service) serves(zone chat.Zone) error {
	if s.topology.InZone(s.opt.Self, zone) {
		return nil
	}
	return &chat.Error{
		Code: chat.CodeWrongRegion, Op: "auth.Service", Message: "zone " + string(zone) + " is not served by region " + string(s.opt.Self),
		Endpoints: s.opt.Endpoints(zone),
	}
}

// hash and verify are the Hasher's, measured with the wait.
func (s *Service) hash(ctx context.Context, password string) (string, error) {
	defer s.observeHash(s.opt.Now())
	return s.hasher.Hash(ctx, password)
}

func (s *Service) verify(ctx context.Context, stored, password string) (bool, error) {
	defer s.observeHash(s.opt.Now())
	return s.hasher.Verify(ctx, stored, password)
}

func (s *Service) observeHash(started time.Time) {
	if s.opt.Metrics != nil {
		s.opt.Metrics.Observe("password_hash_seconds", s.opt.Now().Sub(started).Seconds())
	}
}

// allow counts a costly call of a client's address. The error has CodeRateLimited with RetryAfter.
func (s *Service) allow(ctx context.Context, addr netip.Addr) error {
	return s.opt.Limits.Take(ctx, limits.Auth, limits.Address(addr))
}

// cleanLabel gives text (a display name, a device) composed and without spaces around it. Errors: CodeInvalidUTF8;
// CodeInvalid for control characters. Both name field.
func cleanLabel(field, text string) (string, error) {
	const op = "auth.cleanLabel"
	if !utf8.ValidString(text) {
		return "", &chat.Error{Code: chat.CodeInvalidUTF8, Op: op, Message: field + " is not UTF-8"}
	}
	text = strings.TrimSpace(norm.NFC.String(text))
	// Format characters may turn the writing direction of what follows; joiners are letters' company.
	if i := strings.IndexFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' || r == '\u2028' || r == '\u2029'
	}); i >= 0 {
		return "", &chat.Error{Code: chat.CodeInvalid, Op: op, Message: field + " holds a control character"}
	}
	return text, nil
}
