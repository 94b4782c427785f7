package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/net/http2"

	"meridian/config"
)

// secure starts a server with TLS for "a.test", and gives a client's settings for it.
func secure(t *testing.T) (s *scene, a *authority, dir string, client *tls.Config) {
	t.Helper()
	a, dir = newAuthority(t), t.TempDir()
	pairs := []config.Certificate{a.write(t, dir, "a.test", time.Now().Add(time.Hour)), a.write(t, dir, "b.test", time.Now().Add(time.Hour))}
	s = serve(t, func(n *config.Network) { n.TLS.Certificates = pairs })
	return s, a, dir, &tls.Config{RootCAs: a.pool()}
}

// ask asks for /address over HTTP/2, or whatever protocol the client's settings allow.
func (s *scene) ask(t *testing.T, client *tls.Config) (string, *tls.ConnectionState) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: client.Clone(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get("https://" + s.addr + "/address")
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(body), resp.TLS
}

func (s *scene) socket(t *testing.T, client *tls.Config) *websocket.Conn {
	t.Helper()
	ws, _, err := (&websocket.Dialer{TLSClientConfig: client.Clone(), HandshakeTimeout: time.Minute}).Dial("wss://"+s.addr+"/ws", nil)
	must(t, err)
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

func echoes(t *testing.T, ws *websocket.Conn) {
	t.Helper()
	must(t, ws.WriteMessage(websocket.TextMessage, []byte("hello")))
	if _, got, err := ws.ReadMessage(); err != nil || string(got) != "hello 127.0.0.1" {
		t.Fatalf("echoed %q, %v", got, err)
	}
}

// One listener serves REST over HTTP/2, REST over HTTP/1.1 and WebSockets; nothing older than TLS 1.2 comes in, nor plain HTTP.
func TestProtocols(t *testing.T) {
	s, _, _, client := secure(t)
	if got, _ := s.ask(t, client); got != "127.0.0.1 HTTP/2.0" {
		t.Errorf("over HTTP/2: %q", got)
	}
	one := client.Clone()
	one.NextProtos = []string{"http/1.1"}
	transport := &http.Transport{TLSClientConfig: one}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + s.addr + "/address")
	must(t, err)
	resp.Body.Close()
	if resp.ProtoMajor != 1 {
		t.Errorf("over HTTP/1.1: %s", resp.Proto)
	}
	echoes(t, s.socket(t, client))
	asBrowsers := client.Clone()
	asBrowsers.NextProtos = []string{"http/1.1"}
	echoes(t, s.socket(t, asBrowsers))
	old := client.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if c, err := tls.Dial("tcp", s.addr, old); err == nil {
		c.Close()
		t.Error("TLS 1.1 came in")
	}
	if got := s.say(t, get); !strings.Contains(got, "400") {
		t.Errorf("plain HTTP: answered %q", got)
	}
}

// The server tells HTTP/2 clients before anything else how many requests may be under way on a connection.
func TestStreamsAreLimited(t *testing.T) {
	s, _, _, client := secure(t)
	client.NextProtos, client.ServerName = []string{http2.NextProtoTLS}, "a.test"
	c := tls.Client(s.dial(t), client)
	_, err := io.WriteString(c, http2.ClientPreface)
	must(t, err)
	framer := http2.NewFramer(c, c)
	must(t, framer.WriteSettings())
	frame, err := framer.ReadFrame()
	must(t, err)
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("the first frame is %T", frame)
	}
	if got, _ := settings.Value(http2.SettingMaxConcurrentStreams); got != maxConcurrentStreams {
		t.Errorf("%d streams allowed", got)
	}
}

// Files that change are served to new connections within seconds, a socket that is open stays; a broken pair changes nothing and
// is told; each name gets the pair that holds it.
func TestCertificatesAreReloaded(t *testing.T) {
	s, a, dir, client := secure(t)
	serial := func(name string) int64 {
		c := client.Clone()
		c.ServerName = name
		_, state := s.ask(t, c)
		return state.PeerCertificates[0].SerialNumber.Int64()
	}
	if got := [...]int64{serial("a.test"), serial("b.test")}; got != [...]int64{2, 3} {
		t.Fatalf("serving %v", got)
	}
	ws := s.socket(t, client)
	ends := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	pair := a.write(t, dir, "a.test", ends)
	wait(t, "the new pair is served", func() bool { return serial("a.test") == a.last })
	wait(t, "the metric tells its end", func() bool { return s.metrics.get("tls_certificate_ends_seconds a.test") == float64(ends.Unix()) })
	echoes(t, ws)
	before := s.metrics.get("tls_reloads_total refused")
	must(t, os.WriteFile(pair.KeyFile, []byte("half a key"), 0o600))
	wait(t, "the broken key is refused", func() bool { return s.metrics.get("tls_reloads_total refused") > before })
	if got := serial("a.test"); got != a.last {
		t.Errorf("serving %d after the refusal, want %d", got, a.last)
	}
	ended := a.last
	before = s.metrics.get("tls_reloads_total refused")
	a.write(t, dir, "a.test", time.Now().Add(-time.Minute))
	wait(t, "a pair that has ended is refused", func() bool { return s.metrics.get("tls_reloads_total refused") > before })
	if got := serial("a.test"); got != ended {
		t.Errorf("serving %d, want %d", got, ended)
	}
	a.write(t, dir, "a.test", time.Now().Add(time.Hour))
	wait(t, "the repaired pair is served", func() bool { return serial("a.test") == a.last })
	echoes(t, ws)
}

// Behind a load balancer that passes TLS through, the PROXY header comes first, then TLS under HTTP/2 or for a socket.
func TestProxyHeaderBeforeTLS(t *testing.T) {
	a := newAuthority(t)
	pair := a.write(t, t.TempDir(), "a.test", time.Now().Add(time.Hour))
	s := serve(t, func(n *config.Network) {
		listed(n)
		n.TLS.Certificates = []config.Certificate{pair}
	})
	client := &tls.Config{RootCAs: a.pool()}
	dial := func(_ context.Context, network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err == nil {
			_, err = io.WriteString(c, tcp4("198.51.100.7"))
		}
		return c, err
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: client.Clone(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get("https://" + s.addr + "/address")
	must(t, err)
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "198.51.100.7 HTTP/2.0" {
		t.Errorf("answered %q, %v", body, err)
	}
	ws, _, err := (&websocket.Dialer{NetDialContext: dial, TLSClientConfig: client.Clone(), HandshakeTimeout: time.Minute}).Dial("wss://"+s.addr+"/ws", nil)
	must(t, err)
	defer ws.Close()
	must(t, ws.WriteMessage(websocket.TextMessage, []byte("hello")))
	if _, got, err := ws.ReadMessage(); string(got) != "hello 198.51.100.7" {
		t.Errorf("echoed %q, %v", got, err)
	}
}

// A name that leads here and that no pair holds is told in the log.
func TestNamesWithoutCertificateAreTold(t *testing.T) {
	a := newAuthority(t)
	var log bytes.Buffer
	f, err := openFiles([]config.Certificate{a.write(t, t.TempDir(), "a.test", time.Now().Add(time.Hour))}, slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err)
	(&Front{certs: f}).Own([]string{"a.test", "b.test"})
	if got := log.String(); !strings.Contains(got, "name=b.test") || strings.Contains(got, "name=a.test") {
		t.Errorf("logged %q", got)
	}
}

// A pair that cannot be used is told at the start, by the file's name.
func TestBadCertificatesAtTheStart(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	good := a.write(t, dir, "a.test", time.Now().Add(time.Hour))
	ended := a.write(t, dir, "ended.test", time.Now().Add(-time.Minute))
	for name, pair := range map[string]config.Certificate{
		"missing.pem": {CertFile: dir + "/missing.pem", KeyFile: good.KeyFile}, "ended.test.pem": ended,
		"ended.test.key": {CertFile: good.CertFile, KeyFile: ended.KeyFile},
	} {
		_, err := openFiles([]config.Certificate{pair}, nil)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
