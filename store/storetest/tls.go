package storetest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"meridian/chat"
)

// TLSPlace is a server that speaks TLS only, and a client of it.
type TLSPlace struct {
	Server  string         // host:port
	Roots   *x509.CertPool // who has signed its certificate, which is for host
	Secrets []string       // what logs the client in
	// Use makes a client of the server at an address, which is to make sure of it by secure (nil: it speaks in clear), stores text and ends. The
	// error is that of the first thing that fails.
	Use func(address string, secure *tls.Config, text string) error
}

// RunTLS checks that a client works with the server that it trusts and with no other, that it says why, and that nothing that it
// says can be read on the way.
func RunTLS(t *testing.T, p TLSPlace) {
	host, _, err := net.SplitHostPort(p.Server)
	must(t, err)
	wire := newTap(t, p.Server)
	text := "canary " + rand.Text()
	known := func(roots *x509.CertPool, name string) *tls.Config {
		return &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12}
	}
	// use is Use until it ends as it should: a busy machine may be late.
	use := func(secure *tls.Config, as func(error) bool) (err error) {
		for end := time.Now().Add(settleWait); ; time.Sleep(50 * time.Millisecond) {
			if err = p.Use(wire.address, secure, text); as(err) || time.Now().After(end) {
				return err
			}
		}
	}
	if err := use(known(p.Roots, host), func(err error) bool { return err == nil }); err != nil {
		t.Fatalf("with the right authority: %v", err)
	}
	if wire.size() < len(text) {
		t.Fatalf("only %d bytes went over the wire: it was not used", wire.size())
	}
	for name, c := range map[string]struct {
		secure *tls.Config
		says   string
	}{
		"another authority": {known(strangeRoots(t), host), "signed by nobody that ca_file names"},
		"another host":      {known(p.Roots, "elsewhere.example.org"), "for another host"},
	} {
		err := use(c.secure, func(err error) bool { return err == nil || strings.Contains(err.Error(), c.says) })
		if e := chat.AsError(err); e == nil || e.Code != chat.CodeRegionDegraded && e.Code != chat.CodeInvalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, word := range append(p.Secrets, text) {
		if wire.has(word) {
			t.Errorf("%q went over the wire in clear", word)
		}
	}
	if err := p.Use(wire.address, nil, text); err == nil || wire.has(text) {
		t.Errorf("in clear: error %v; the text was sent: %v", err, wire.has(text))
	}
}

// strangeRoots are authorities that have signed nothing.
func strangeRoots(t *testing.T) *x509.CertPool {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, &ca, &ca, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return roots
}

// tap carries connections to a server, and keeps what they say.
type tap struct {
	address string

	mu   sync.Mutex
	said bytes.Buffer
}

func newTap(t *testing.T, server string) *tap {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &tap{address: l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.carry(in, server) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return p
}

// carry ends when both sides have; either side's end is the other's.
func (p *tap) carry(in net.Conn, server string) {
	defer in.Close()
	out, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	var both sync.WaitGroup
	for from, to := range map[net.Conn]net.Conn{in: out, out: in} {
		both.Go(func() {
			_, _ = io.Copy(io.MultiWriter(p, to), from)
			_, _ = in.Close(), out.Close()
		})
	}
	both.Wait()
}

// Write keeps what is said, either way.
func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

func (p *tap) has(word string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.said.Bytes(), []byte(word))
}

func (p *tap) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Len()
}
