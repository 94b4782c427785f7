package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"meridian/config"
)

// scene is a server behind a front, on a real socket of 127.0.0.1.
type scene struct {
	addr    string
	front   *Front
	metrics *counts
}

// serve starts a server with the default configuration, changed. It answers /address with the client's address and /ws with an
// echo.
func serve(t *testing.T, change func(*config.Network)) *scene {
	t.Helper()
	cfg := config.Default()
	change(&cfg.Network)
	f, err := New(cfg, slog.New(slog.DiscardHandler))
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &scene{addr: l.Addr().String(), metrics: &counts{values: make(map[string]float64)}}
	s.front = f.With(s.metrics)
	s.front.every = 20 * time.Millisecond
	mux := http.NewServeMux()
	mux.HandleFunc("/address", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, Address(r), " ", r.Proto) })
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			kind, data, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, append(data, " "+Address(r).String()...)) != nil {
				return
			}
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- s.front.Serve(srv, l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended with %v", err)
		}
	})
	return s
}

// say writes bytes on a connection of its own and gives all that comes back.
func (s *scene) say(t *testing.T, sent string) string {
	t.Helper()
	c := s.dial(t)
	_, err := io.WriteString(c, sent)
	must(t, err)
	answer, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") { // closed with bytes unread
		t.Fatal(err)
	}
	return string(answer)
}

func (s *scene) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetDeadline(time.Now().Add(time.Minute)))
	return c
}

// counts is Metrics that remembers.
type counts struct {
	mu     sync.Mutex
	values map[string]float64
}

func (c *counts) Count(name string, labels ...string) { c.add(name, 1, labels) }

func (c *counts) add(name string, n float64, labels []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[strings.Join(append([]string{name}, labels...), " ")] += n
}

func (c *counts) Set(name string, value float64, labels ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[strings.Join(append([]string{name}, labels...), " ")] = value
}

func (c *counts) Remove(name string, labels ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.values, strings.Join(append([]string{name}, labels...), " "))
}

func (c *counts) get(what string) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values[what]
}

// authority signs certificates for 127.0.0.1 and some name.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}, last: 1}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	must(t, err)
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	return a
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// write makes a new pair of files for name. Each pair has a time of its own: two that are written within one tick of a file system's clock would
// look the same.
func (a *authority) write(t *testing.T, dir, name string, ends time.Time) config.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a.last++
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(a.last), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: ends,
	}, a.cert, &key.PublicKey, a.key)
	must(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	pair := config.Certificate{CertFile: filepath.Join(dir, name+".pem"), KeyFile: filepath.Join(dir, name+".key")}
	must(t, os.WriteFile(pair.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	must(t, os.WriteFile(pair.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	at := time.Now().Add(time.Duration(a.last) * time.Second)
	must(t, errors.Join(os.Chtimes(pair.KeyFile, at, at), os.Chtimes(pair.CertFile, at, at)))
	return pair
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wait waits for something that must come to pass, for a minute.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}
