package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/miekg/dns"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
	regionnode "meridian/region-node"
)

// acmePort is where the nodes listen for clients, each on an address of its own.
const acmePort = 8443

// The names of the region that gets its certificates by ACME.
const (
	ownName    = "n1.acme.test"   // leads to node n1
	sharedName = "chat.acme.test" // leads to either node
)

// acmeScene is a region of two nodes that get their certificates from a real ACME server. The nodes share no directory.
type acmeScene struct {
	dir    string
	hosts  [2]string // of the nodes
	nodes  [2]*regionnode.Node
	pebble *local.Pebble
	roots  *x509.CertPool
}

// leads is a DNS server that gives one address for every name.
type leads struct {
	mu sync.Mutex
	to string
}

func (l *leads) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer := new(dns.Msg).SetReply(query)
	if query.Question[0].Qtype == dns.TypeA {
		answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: query.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(l.to)}}
	}
	_ = w.WriteMsg(answer) // who asked has gone
}

// startACME starts everything. All names lead to the first node.
func startACME(t *testing.T, validity time.Duration) *acmeScene {
	t.Helper()
	dir := t.TempDir()
	s := &acmeScene{dir: dir}
	for i := range s.hosts {
		var err error
		s.hosts[i], err = local.Address(acmePort, 8201, 8301)
		must(t, err)
	}
	l, err := net.Listen("tcp", local.ListenAddress())
	must(t, err)
	names := &dns.Server{Listener: l, Handler: &leads{to: s.hosts[0]}}
	served := make(chan error, 1)
	go func() { served <- names.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = l.Close()
		<-served
	})
	s.pebble, err = local.NewPebble(t.Context(), local.PebbleOptions{
		Dir: filepath.Join(dir, "pebble"), Validity: validity, TLSPort: acmePort, DNS: l.Addr().String(), Progress: func(line string) { t.Log(line) },
	})
	must(t, err)
	must(t, s.pebble.Start(t.Context()))
	t.Cleanup(func() { _ = s.pebble.Kill() })
	s.roots, err = s.pebble.Roots(t.Context())
	must(t, err)
	s.startNodes(t, dir)
	return s
}

// startNodes starts the region's store and nodes, and waits for the link between them.
func (s *acmeScene) startNodes(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(dir, "acme.yaml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `
data_dir: %[1]s
router: {dns: "", http: ""}
regions:
  - name: eu-west
    country: IE
    latitude: 53.35
    longitude: -6.26
    store: %[2]q
    nodes:
      - {name: n1, http: "%[3]s:8443", admin: "%[3]s:8201", backbone: "%[3]s:8301", url: "https://%[5]s:8443"}
      - {name: n2, http: "%[4]s:8443", admin: "%[4]s:8201", backbone: "%[4]s:8301", url: "https://n2.acme.test:8443"}
zones: [{name: eu, regions: [eu-west]}]
home_zones: {default: eu}
network: {tls: {acme: {directory: %[6]q, ca_file: %[7]q, names: [%[5]s, %[8]s]}}}
`, filepath.Join(dir, "data"), freeAddresses(t, 1)[0], s.hosts[0], s.hosts[1], ownName, s.pebble.Directory, s.pebble.CAFile, sharedName), 0o600))
	runningStore(t, file)
	for i, name := range []chat.NodeID{"n1", "n2"} {
		cfg, err := config.Load(file)
		must(t, err)
		cfg.Network.TLS.ACME.Dir = filepath.Join(dir, "acme-"+string(name))
		d, err := newDeployment(cfg, io.Discard, false)
		must(t, err)
		r, _ := cfg.Region("eu-west")
		n, _ := r.Node(name)
		ls, err := rebind(n)
		must(t, err)
		s.nodes[i], err = d.startNode(t.Context(), chat.NodeRef{Region: "eu-west", Node: name}, ls)
		must(t, err)
		t.Cleanup(s.nodes[i].Kill)
	}
	eventually(t, "the link between the nodes", func() bool { return s.nodes[0].Nodes()["eu-west/n2"].Up && s.nodes[1].Nodes()["eu-west/n1"].Up })
}

// eventually waits for what takes an ACME server and its client some time, two minutes at most.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(250 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// client gives the settings of one who trusts the ACME server's root and takes a certificate at its first moment: on a busy machine
// a short one may have ended by now.
func (s *acmeScene) client(name string, protocols ...string) *tls.Config {
	return &tls.Config{ServerName: name, NextProtos: protocols, InsecureSkipVerify: true, VerifyConnection: func(c tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, cert := range c.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		leaf := c.PeerCertificates[0]
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: s.roots, Intermediates: between, CurrentTime: leaf.NotBefore.Add(time.Second)})
		return err
	}}
}

// serial gives the number of the certificate that a node serves for a name.
func (s *acmeScene) serial(node int, name string) (string, error) {
	d := tls.Dialer{Config: s.client(name)}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(s.hosts[node], strconv.Itoa(acmePort)))
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// first gives the number of the certificate that a node serves as soon as it has one. A handshake that waits for the ACME server for
// longer than for a request's header is ended; the certificate comes all the same.
func (s *acmeScene) first(t *testing.T, node int, name string) (serial string) {
	t.Helper()
	eventually(t, "a certificate for "+name, func() bool {
		var err error
		serial, err = s.serial(node, name)
		return err == nil
	})
	return serial
}

// another says that a node serves another certificate for a name than it did.
func (s *acmeScene) another(node int, name, before string) bool {
	now, err := s.serial(node, name)
	return err == nil && now != before
}

// A node gets its own name's certificate by itself; it gets one for a name that leads to another node, which answers the challenge;
// HTTP/2 and WebSockets work under them; a certificate is renewed in time and open sockets stay; other names get none.
func TestCertificatesByACME(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a server")
	}
	s := startACME(t, 15*time.Second)
	eventually(t, "the own name's certificate", func() bool { _, err := os.Stat(filepath.Join(s.dir, "acme-n1", ownName)); return err == nil })
	own, shared := s.first(t, 0, ownName), s.first(t, 1, sharedName)
	if _, err := s.serial(1, "other.acme.test"); err == nil {
		t.Error("a name that is not listed has got a certificate")
	}
	ws := s.signedIn(t)
	eventually(t, "a renewed certificate, the socket being open all the while", func() bool {
		pings(t, ws)
		// Either will do: a renewal that fails on a busy machine is tried again only after half an hour.
		return s.another(1, sharedName, shared) || s.another(0, ownName, own)
	})
	pings(t, ws)
	s.endsWithoutServer(t)
}

// endsWithoutServer takes the ACME server away: when a certificate has ended that nobody renews, the status of its node says so.
func (s *acmeScene) endsWithoutServer(t *testing.T) {
	t.Helper()
	must(t, s.pebble.Kill())
	eventually(t, "the status to tell of the end", func() bool {
		status := s.nodes[1].Status(t.Context())
		for _, p := range certificateProblems(regionState{Region: "eu-west", Status: &status}, time.Now()) {
			if strings.Contains(p.Text, sharedName) && strings.Contains(p.Text, "has ended") {
				return true
			}
		}
		return false
	})
}

// pings waits for the answer to a ping.
func pings(t *testing.T, ws *websocket.Conn) {
	t.Helper()
	must(t, ws.WriteMessage(websocket.TextMessage, []byte(`{"t":"ping"}`)))
	for {
		_, frame, err := ws.ReadMessage()
		must(t, err)
		if strings.Contains(string(frame), `"pong"`) {
			return
		}
	}
}

// signedIn signs somebody up at the second node by HTTP/2 and gives a welcomed socket.
func (s *acmeScene) signedIn(t *testing.T) *websocket.Conn {
	t.Helper()
	at := net.JoinHostPort(s.hosts[1], strconv.Itoa(acmePort))
	transport := &http.Transport{TLSClientConfig: s.client(sharedName, "h2", "http/1.1"), ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	var account struct {
		Token string `json:"token"`
	}
	eventually(t, "a sign-up", func() bool {
		resp, err := client.Post("https://"+at+"/v1/signup", "application/json", strings.NewReader(`{"username":"ana","password":"correct horse"}`))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Fatalf("REST over %s", resp.Proto)
		}
		return resp.StatusCode/100 == 2 && json.NewDecoder(resp.Body).Decode(&account) == nil
	})
	ws, _, err := (&websocket.Dialer{TLSClientConfig: s.client(sharedName, "http/1.1"), HandshakeTimeout: time.Minute}).Dial("wss://"+at+"/v1/ws", nil)
	must(t, err)
	t.Cleanup(func() { _ = ws.Close() })
	must(t, ws.WriteJSON(map[string]string{"t": "hello", "token": account.Token, "device": "d"}))
	_, welcome, err := ws.ReadMessage()
	must(t, err)
	if !strings.Contains(string(welcome), `"welcome"`) {
		t.Fatalf("the first frame is %s", welcome)
	}
	return ws
}
