package front

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
)

// challengePort is where the ACME server connects to.
const challengePort = 8443

// names answers every question for an address with one.
type names struct{ addr net.IP }

func (n names) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	answer := new(dns.Msg).SetReply(query)
	if query.Question[0].Qtype == dns.TypeA {
		answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: query.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: n.addr}}
	}
	_ = w.WriteMsg(answer) // who asked has gone
}

// startPebble starts an ACME server that finds all names at addr and takes accounts only by one key.
func startPebble(t *testing.T, addr, keyID, key string) *local.Pebble {
	t.Helper()
	l, err := net.Listen("tcp", local.ListenAddress())
	must(t, err)
	resolver := &dns.Server{Listener: l, Handler: names{net.ParseIP(addr)}}
	served := make(chan error, 1)
	go func() { served <- resolver.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = l.Close()
		<-served
	})
	p, err := local.NewPebble(t.Context(), local.PebbleOptions{
		Dir: t.TempDir(), Validity: time.Hour, TLSPort: challengePort, DNS: l.Addr().String(), Progress: func(line string) { t.Log(line) },
		ExternalAccounts: map[string]string{keyID: key},
	})
	must(t, err)
	must(t, p.Start(t.Context()))
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

// An ACME server that takes only its customers gives a certificate to who has a key of theirs, and to nobody else, which is told with the reason.
func TestExternalAccounts(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a server")
	}
	const keyID, key = "customer-7", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	addr, err := local.Address(challengePort)
	must(t, err)
	pebble := startPebble(t, addr, keyID, key)
	dir := t.TempDir()
	f := func(name string, account *config.ExternalAccount) *Front {
		cfg := config.Default()
		cfg.DataDir = filepath.Join(dir, name)
		cfg.Network.TLS.ACME = &config.ACME{Directory: pebble.Directory, CAFile: pebble.CAFile, Names: []string{"a.test"}, ExternalAccount: account}
		f, err := New(cfg, slog.New(slog.DiscardHandler))
		must(t, err)
		return f
	}
	keyFile := filepath.Join(dir, "account.key")
	must(t, os.WriteFile(keyFile, []byte(key+"==\n"), 0o600))
	bound := f("bound", &config.ExternalAccount{KeyID: keyID, KeyFile: keyFile})
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "8443"))
	must(t, err)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- bound.Serve(srv, l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		<-ended
	})
	for name, account := range map[string]*config.ExternalAccount{"none": nil, "another": {KeyID: "customer-8", KeyFile: keyFile}} {
		unbound := f(name, account)
		_, err := unbound.certs.get(&tls.ClientHelloInfo{ServerName: "a.test"})
		if list := unbound.Certificates(); err == nil || len(list) != 1 || list[0].Error != err.Error() || name == "none" && !strings.Contains(list[0].Error, "externalAccountRequired") {
			t.Errorf("%s: %v, listed %+v", name, err, list)
		}
	}
	roots, err := pebble.Roots(t.Context())
	must(t, err)
	served := false
	for limit := time.Now().Add(3 * time.Minute); !served && time.Now().Before(limit); time.Sleep(100 * time.Millisecond) { // an attempt that fails is made again after acmeRetryMin
		c, err := (&tls.Dialer{Config: &tls.Config{ServerName: "a.test", RootCAs: roots}}).DialContext(t.Context(), "tcp", l.Addr().String())
		if served = err == nil; served {
			_ = c.Close()
		}
	}
	if list := bound.Certificates(); !served || len(list) != 1 || list[0].Error != "" {
		t.Errorf("listed %+v", list)
	}
}

// A key that cannot be read stops the start, by the name of the key.
func TestBadExternalAccount(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{"missing": "", "empty": " \n", "binary": "\x00\x01\x02"} {
		path := filepath.Join(dir, file)
		if file != "missing" {
			must(t, os.WriteFile(path, []byte(text), 0o600))
		}
		cfg := config.Default()
		cfg.Network.TLS.ACME = &config.ACME{Directory: "https://127.0.0.1:1/dir", Names: []string{"a.test"}, ExternalAccount: &config.ExternalAccount{KeyID: "k", KeyFile: path}}
		_, err := New(cfg, slog.New(slog.DiscardHandler))
		if chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), "network.tls.acme.external_account.key_file") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
