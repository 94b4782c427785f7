package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"meridian/chat"
	"meridian/config"
)

const (
	// acmeCallTimeout bounds one request to the ACME server.
	acmeCallTimeout = 30 * time.Second
	// After a failure a name is tried again after acmeRetryMin (autocert itself waits for a minute), twice as long after each further
	// one, at most acmeRetryMax: an ACME server counts failures and then refuses for an hour.
	acmeRetryMin = 65 * time.Second
	acmeRetryMax = 15 * time.Minute
	// askTimeout bounds asking other nodes for a challenge's answer; asksMax is how many are asked for at once: anybody may start
	// a handshake that asks for one.
	askTimeout = 3 * time.Second
	asksMax    = 4
	// challengeMaxBytes bounds the answer of another node.
	challengeMaxBytes = 16 << 10
)

// MethodChallenge is the call by which a node asks another one for the answer to a challenge that it has under way.
const MethodChallenge = "acme.challenge"

// challengeSuffix ends the keys under which autocert keeps the answers to TLS-ALPN challenges.
const challengeSuffix = "+token"

// ask asks other nodes for what they have under key; nil when none has it.
type ask func(ctx context.Context, key string) []byte

// fromACME gets certificates from an ACME server, by challenge TLS-ALPN-01. The server's connection may end at any node of the
// deployment to which the name leads: a node that has no answer asks the others.
type fromACME struct {
	manager *autocert.Manager
	names   []string // sorted; no others
	log     *slog.Logger
	kept    *challenges

	fetching atomic.Bool
	mu       sync.Mutex
	early    []string // of names, what is got before the first client asks
	leaves   map[string]*x509.Certificate
	failing  map[string]failure
}

// failure is when a name may be tried again.
type failure struct {
	until time.Time
	pause time.Duration
	err   error
}

// openACME prepares an account; nothing is asked of the ACME server before a certificate is needed. The error has CodeInvalid.
func openACME(cfg *config.Config, log *slog.Logger) (*fromACME, error) {
	c := cfg.Network.TLS.ACME
	roots, err := rootsOf(c.CAFile)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "front.New", Message: "network.tls.acme.ca_file: " + err.Error(), Cause: err}
	}
	binding, err := bindingOf(c.ExternalAccount)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "front.New", Message: "network.tls.acme.external_account.key_file: " + err.Error(), Cause: err}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	a := &fromACME{
		names: slices.Sorted(slices.Values(c.Names)), log: log, leaves: make(map[string]*x509.Certificate), failing: make(map[string]failure),
		kept: &challenges{Cache: autocert.DirCache(cfg.ACMEPath()), asking: make(chan struct{}, asksMax)},
	}
	a.manager = &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: a.kept, Email: c.Email, HostPolicy: autocert.HostWhitelist(c.Names...), ExternalAccountBinding: binding,
		Client: &acme.Client{DirectoryURL: c.Directory, UserAgent: "meridian", HTTPClient: &http.Client{Timeout: acmeCallTimeout, Transport: transport}},
	}
	return a, nil
}

// bindingOf reads the key of an account with who runs the server; nil for none.
func bindingOf(account *config.ExternalAccount) (*acme.ExternalAccountBinding, error) {
	if account == nil {
		return nil, nil
	}
	text, err := os.ReadFile(account.KeyFile)
	if err != nil {
		return nil, err
	}
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(string(text)), "="))
	if err != nil || len(key) == 0 {
		return nil, fmt.Errorf("%s holds no key in base64url", account.KeyFile)
	}
	return &acme.ExternalAccountBinding{KID: account.KeyID, Key: key}, nil
}

// rootsOf reads certificates of authorities; nil, the system's, for no file.
func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// get gives a name's certificate, and gets it first where there is none; a client that asks for no name is given the first one's.
func (a *fromACME) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	named := *hello
	named.ServerName = strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if named.ServerName == "" {
		named.ServerName = a.names[0]
	}
	if !slices.Contains(a.names, named.ServerName) {
		return nil, errNoCertificate
	}
	if slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto}) { // the ACME server asks whether the name leads here
		return a.manager.GetCertificate(&named)
	}
	if err := a.mayTry(named.ServerName); err != nil {
		return nil, err
	}
	cert, err := a.manager.GetCertificate(&named)
	a.settle(named.ServerName, cert, err)
	return cert, err
}

// mayTry refuses a name that has failed a short while ago.
func (a *fromACME) mayTry(name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f, ok := a.failing[name]; ok && time.Now().Before(f.until) {
		return f.err
	}
	return nil
}

func (a *fromACME) settle(name string, cert *tls.Certificate, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		delete(a.failing, name)
		a.leaves[name] = cert.Leaf
		return
	}
	f := a.failing[name]
	if time.Now().Before(f.until) {
		return // of several handshakes that waited for one attempt
	}
	f.pause = min(max(2*f.pause, acmeRetryMin), acmeRetryMax)
	f.until, f.err = time.Now().Add(f.pause), err
	a.failing[name] = f
	a.log.Error("no certificate from the ACME server", "name", name, "err", err, "again_in", f.pause)
}

func (a *fromACME) protocols() []string { return []string{"h2", "http/1.1", acme.ALPNProto} }

// look gets the certificates that are got early, and goes on when they are there. Getting one ends with its own time limits.
func (a *fromACME) look(_ context.Context, m Metrics) {
	a.mu.Lock()
	m.Set("acme_failing", float64(len(a.failing)))
	names := slices.Clone(a.early)
	for name := range a.leaves { // renewed meanwhile, perhaps, and no client has come for it
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	a.mu.Unlock()
	if a.fetching.CompareAndSwap(false, true) {
		go func() {
			defer a.fetching.Store(false)
			for _, name := range names {
				_, _ = a.get(&tls.ClientHelloInfo{ // settle has logged the error
					ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
				})
			}
		}()
	}
}

func (a *fromACME) list() []Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Certificate
	for _, name := range a.names {
		c := Certificate{Name: name}
		if leaf := a.leaves[name]; leaf != nil {
			c = certificateOf(leaf)
		}
		if f, failing := a.failing[name]; failing {
			c.Error = f.err.Error()
		}
		if c.ACME = true; !c.Ends.IsZero() || c.Error != "" {
			out = append(out, c)
		}
	}
	return out
}

// own lets the certificates of these names be got early.
func (a *fromACME) own(names []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range names {
		if slices.Contains(a.names, name) && !slices.Contains(a.early, name) {
			a.early = append(a.early, name)
		}
	}
}

// challenges is autocert's cache, with the answers to challenges that other nodes have under way.
type challenges struct {
	autocert.Cache
	others atomic.Pointer[ask]
	asking chan struct{}
}

// Get gives what is kept here, or for a challenge what another node gives.
func (c *challenges) Get(ctx context.Context, key string) ([]byte, error) {
	data, err := c.Cache.Get(ctx, key)
	others := c.others.Load()
	if err == nil || others == nil || !strings.HasSuffix(key, challengeSuffix) {
		return data, err
	}
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
	default:
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if data := (*others)(ctx, key); len(data) > 0 && len(data) <= challengeMaxBytes {
		return data, nil
	}
	return nil, err
}

// AskOthers gives the front a way to ask other nodes, by MethodChallenge, for what they have under a key: nil when none has it.
func (f *Front) AskOthers(how func(ctx context.Context, key string) []byte) {
	if a, ok := f.acme(); ok {
		others := ask(how)
		a.kept.others.Store(&others)
	}
}

// Answer answers another node's MethodChallenge: empty when nothing is under way here. It gives challenges only, no certificate
// and no account.
func (f *Front) Answer(ctx context.Context, key string) []byte {
	a, ok := f.acme()
	if !ok {
		return nil
	}
	name, ok := strings.CutSuffix(key, challengeSuffix)
	if !ok || !slices.Contains(a.names, name) {
		return nil
	}
	data, err := a.kept.Cache.Get(ctx, key)
	if err != nil {
		return nil
	}
	return data
}

func (f *Front) acme() (*fromACME, bool) {
	if f == nil {
		return nil, false
	}
	a, ok := f.certs.(*fromACME)
	return a, ok
}
