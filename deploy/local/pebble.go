package local

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

// The ports of the ACME server, on an address of its own: ACME itself, and what gives its root.
const (
	PebblePort     = 14000
	PebbleRootPort = 15000
)

// pebble is the module that the ACME server is built from; its version is the only one that is tried.
const pebble, pebbleVersion = "github.com/letsencrypt/pebble/v2/cmd/pebble", "v2.10.3"

// pebbleMaxBytes bounds the root that the server gives.
const pebbleMaxBytes = 64 << 10

// Pebble is an ACME server for tests, which forgets everything at its end.
type Pebble struct {
	*Process
	Directory string // URL of the ACME directory
	CAFile    string // who has signed the server's own certificate
	address   string
}

// PebbleOptions say what the server does.
type PebbleOptions struct {
	Dir string
	// Validity is how long its certificates hold.
	Validity time.Duration
	// TLSPort is where it connects to for TLS-ALPN challenges, and DNS the server, host:port over TCP, that it asks for names.
	TLSPort int
	DNS     string
	// ExternalAccounts, if given, are the keys in base64url, by their ids, of which an account needs one.
	ExternalAccounts map[string]string
	Progress         Progress
}

// NewPebble builds the server if need be and gives it; Start starts it.
func NewPebble(ctx context.Context, o PebbleOptions) (*Pebble, error) {
	path, err := installGo(ctx, pebble, pebbleVersion, o.Progress)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	host, err := AddressFor(dir, PebblePort, PebbleRootPort)
	if err != nil {
		return nil, err
	}
	secure := certs{filepath.Join(dir, "certs")}
	if err := secure.make("pebble", []string{host}); err != nil {
		return nil, err
	}
	at := func(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	of := map[string]any{
		"listenAddress": at(PebblePort), "managementListenAddress": at(PebbleRootPort), "certificate": secure.node(host), "privateKey": secure.node(host),
		"tlsPort": o.TLSPort, "retryAfter": map[string]int{"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{"default": map[string]any{"description": "the only one", "validityPeriod": int(o.Validity.Seconds())}},
	}
	if len(o.ExternalAccounts) > 0 {
		of["externalAccountBindingRequired"], of["externalAccountMACKeys"] = true, o.ExternalAccounts
	}
	settings, err := json.Marshal(map[string]any{"pebble": of})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "pebble.json")
	if err := writeFile(file, string(settings)); err != nil {
		return nil, err
	}
	p := &Pebble{Directory: "https://" + at(PebblePort) + "/dir", CAFile: secure.ca(), address: host}
	p.Process = New(Spec{
		Name: "pebble", Dir: dir, Path: path, Progress: o.Progress, Args: []string{"-config", file, "-dnsserver", o.DNS},
		Env: []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0"}, // every certificate by a challenge of its own
		Ready: func(ctx context.Context) error {
			return errors.Join(reachable(ctx, at(PebblePort)), reachable(ctx, at(PebbleRootPort)))
		},
	})
	return p, nil
}

// Roots gives who signs the certificates that the running server issues.
func (p *Pebble) Roots(ctx context.Context) (*x509.CertPool, error) {
	secure, err := Trust(p.CAFile)
	if err != nil {
		return nil, err
	}
	body, err := fetch(ctx, secure, "https://"+net.JoinHostPort(p.address, strconv.Itoa(PebbleRootPort))+"/roots/0")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(body) {
		return nil, errors.New("pebble gives no root")
	}
	return pool, nil
}

func fetch(ctx context.Context, secure *tls.Config, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, pebbleMaxBytes))
}
