package redis

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/deploy/local"
)

// startSpecial starts a redis-server with arguments of its own, on port 6379 of a loopback address.
func startSpecial(t *testing.T, dir, host string, args ...string) {
	t.Helper()
	p := local.New(local.Spec{
		Name: "redis", Dir: dir, Path: "redis-server", ReadyWithin: 20 * time.Second,
		Args: append([]string{"--bind", host, "--dir", dir, "--save", "", "--daemonize", "no"}, args...),
		Ready: func(context.Context) error {
			conn, err := net.DialTimeout("tcp", host+":6379", time.Second)
			if err == nil {
				_ = conn.Close()
			}
			return err
		},
	})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
}

// certify writes a certificate for host that it signs itself, and gives who trusts it.
func certify(t *testing.T, dir, host string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(host)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, b := range map[string][]byte{cert: certPEM, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return cert, key, roots
}

// Over TLS the client works with a server that it trusts, and only then; without TLS it gets nothing.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	host, err := local.Address(local.RedisPort)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, roots := certify(t, dir, host)
	startSpecial(t, dir, host, "--port", "0", "--tls-port", "6379", "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	open := func(secure *tls.Config) *Client {
		c, err := Open(Options{Addresses: []string{host + ":6379"}, TLS: secure, Region: "eu-west", Timeout: patient, Log: slog.New(slog.DiscardHandler), Metrics: newCounter()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	trusting := open(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	within(t, "connected", func() bool { return trusting.Status().Up })
	put(t, trusting.Cache(), chat.CacheKey{Class: chat.CacheProfile, Name: "ann"}, "v")
	stranger := open(&tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12})
	within(t, "the stranger's reason", func() bool { return strings.Contains(stranger.Status().Error, "certificate") })
	plain := open(nil)
	within(t, "who speaks in the clear fails", func() bool { return plain.Status().Error != "not connected yet" })
	if stranger.Status().Up || plain.Status().Up {
		t.Error("connected to a server that is not trusted, or in the clear")
	}
}

// In a Redis Cluster everything works too, with the sharded publish and subscribe.
func TestCluster(t *testing.T) {
	dir := t.TempDir()
	host, err := local.Address(local.RedisPort, 10_000+local.RedisPort)
	if err != nil {
		t.Fatal(err)
	}
	startSpecial(t, dir, host, "--port", "6379", "--cluster-enabled", "yes", "--protected-mode", "no")
	conn, err := net.Dial("tcp", host+":6379")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("CLUSTER ADDSLOTSRANGE 0 16383\r\n")); err != nil {
		t.Fatal(err)
	}
	nodes := make([]*Client, 2)
	for i := range nodes {
		if nodes[i], err = Open(Options{Addresses: []string{host + ":6379"}, Region: "eu-west", Timeout: patient, Log: slog.New(slog.DiscardHandler), Metrics: newCounter()}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nodes[i].Close)
	}
	for _, c := range nodes {
		within(t, "connected", func() bool { return c.Status().Up })
	}
	if !sharded(*nodes[0].conn.Load()) {
		t.Fatal("the client does not see a cluster")
	}
	ctx, k := t.Context(), key("ann")
	put(t, nodes[0].Cache(), k, "v")
	within(t, "the other node has it", func() bool { return value(nodes[1].Cache(), k) == "v" })
	if err := nodes[1].Cache().Delete(ctx, k, key("bob")); err != nil {
		t.Fatal(err)
	}
	within(t, "and loses it", func() bool { return value(nodes[0].Cache(), k) == "" })
	heard := make(chan string, 100)
	from, to := nodes[0].Bus(), nodes[1].Bus()
	defer to.Subscribe("t", func(b []byte) { heard <- string(b) })()
	within(t, "a hint arrives", func() bool { from.Publish("t", []byte("x")); return len(heard) > 0 })
	g := chat.JobGroup{Queue: "q", Group: "g", Hold: time.Minute, Attempts: 2}
	id, err := nodes[0].Jobs().Enqueue(ctx, "q", []byte("work"))
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := nodes[1].Jobs().Take(ctx, g, "c", 1, 0)
	if err != nil || len(jobs) != 1 || jobs[0].ID != id {
		t.Fatalf("took %+v, %v", jobs, err)
	}
	if err := nodes[1].Jobs().Fail(ctx, g, jobs[0], "no"); err != nil {
		t.Fatal(err)
	}
	if ok, wait := nodes[0].Limiter(refuseAll{}).Take(ctx, "k", chat.Limit{PerSecond: 1, Burst: 1}, 1); !ok {
		t.Errorf("refused for %v", wait)
	}
	users := []chat.UserID{{1}, {2}, {3}}
	if err := nodes[0].Presences().Online(ctx, chat.NodeRef{Region: "eu-west", Node: "n1"}, users, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if states, err := nodes[1].Presences().Lookup(ctx, users, time.Now()); err != nil || !states[2].Online {
		t.Errorf("%+v, %v", states, err)
	}
}
