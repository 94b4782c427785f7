package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"meridian/router/decide"
)

// serve runs a server on real sockets until the test ends.
func serve(t *testing.T, s *Server, addr string) {
	t.Helper()
	if err := s.Listen(addr, false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

const answerWait = time.Minute

// exchange asks over a connected socket and gives the answer with the query's id.
func exchange(t *testing.T, conn net.Conn, query []byte) []byte {
	t.Helper()
	if _, err := conn.Write(query); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(answerWait)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, queryBytes)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatalf("no answer to %x: %v", query, err)
	}
	return buf[:n]
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// load asks a server over several sockets without pause while something is changed, the changes spread over the queries, so that
// each state meets many.
type load struct {
	clients, each, changes int
	// query makes query i, whose id is then set; change makes change n, from 1 on; changed, if set, is called when it is whole.
	query   func(i int) []byte
	change  func(n int)
	changed func()
	// judge says what is wrong with the answer to query i: change from was whole when it was asked, and until had begun when it
	// was answered.
	judge func(i int, answer []dns.RR, from, until int) error
}

func (l load) run(t *testing.T, s *Server) {
	t.Helper()
	var begun, done, asked atomic.Int64 // changes; queries
	var wg sync.WaitGroup
	for c := range l.clients {
		conn := dial(t, s.Addr())
		wg.Go(func() {
			for i := range l.each {
				query, id := l.query(i), uint16(c<<12|i)
				binary.BigEndian.PutUint16(query, id)
				from := done.Load()
				m := new(dns.Msg)
				if err := m.Unpack(exchange(t, conn, query)); err != nil || m.Id != id {
					t.Errorf("%v, %v", m, err)
					return
				}
				if err := l.judge(i, m.Answer, int(from), int(begun.Load())); err != nil {
					t.Error(err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for n := 1; n <= l.changes; n++ {
		for int(asked.Load()) < n*l.clients*l.each/(l.changes+1) && !t.Failed() {
			time.Sleep(100 * time.Microsecond)
		}
		begun.Store(int64(n))
		l.change(n)
		done.Store(int64(n))
		if l.changed != nil {
			l.changed()
		}
	}
	wg.Wait()
	if got := int(asked.Load()); got != l.clients*l.each {
		t.Errorf("%d of %d queries were answered", got, l.clients*l.each)
	}
}

// The subnets of London, for even queries, and Pune.
func londonOrPune(i int) string {
	return []string{"0008 0007 0001 18 00 51 02 45", "0008 0007 0001 18 00 31 24 00"}[i%2]
}

// While regions fail, drain and come back under load, every query is answered, and none asked after a change is answered by
// what was before it.
func TestStatesChangeUnderLoad(t *testing.T) {
	s := server(t, nil)
	serve(t, s, "127.0.0.1:0")
	defer live().SetStates(nil)
	// For each state, what London and Pune are answered.
	states := []struct {
		states       decide.States
		london, pune string
	}{
		{nil, "127.0.0.12", "127.0.0.13"},
		{decide.States{"eu-west": {Health: decide.HealthDown}}, "127.0.0.11", "127.0.0.13"},
		{decide.States{"us-east": {Health: decide.HealthDown}, "ap-south": {Draining: true}}, "127.0.0.12", "127.0.0.12"},
		{decide.States{"eu-west": {Draining: true}, "us-east": {Forced: decide.HealthDown}}, "127.0.0.13", "127.0.0.13"},
	}
	load{
		clients: 4, each: 2000, changes: 50,
		query:  func(i int) []byte { return raw(londonOrPune(i)) },
		change: func(n int) { live().SetStates(states[n%len(states)].states) },
		judge: func(i int, answer []dns.RR, from, until int) error {
			if len(answer) != 1 {
				return fmt.Errorf("%d records: %v", len(answer), answer)
			}
			var allowed []string
			for n := from; n <= until; n++ {
				want := states[n%len(states)]
				allowed = append(allowed, []string{want.london, want.pune}[i%2])
			}
			if got := answer[0].(*dns.A).A.String(); !slices.Contains(allowed, got) {
				return fmt.Errorf("asked between changes %d and %d: got %s, allowed %v", from, until, got, allowed)
			}
			return nil
		},
	}.run(t, s)
}

// A burst of all kinds of queries on one socket is answered as if each had come alone, and the answers are counted once.
func TestBurst(t *testing.T) {
	var n lockedTally
	now := time.Now()
	same := func(o *Options) { // one secret and one time, for cookies that are equal
		o.CookieSecret = bytes.Repeat([]byte{1}, CookieSecretBytes)
		o.Now = (&clock{now: now}).Now
	}
	s, _ := signed(t, func(o *Options) { same(o); o.Metrics = &n })
	twin := server(t, func(o *Options) { same(o); o.Serving.DNSSEC = s.opts.Serving.DNSSEC })
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.Listen("127.0.0.1:0", false); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	conn := dial(t, s.Addr())
	queries := [][]byte{
		raw(), raw("0008 0007 0001 18 00 51 02 45"), raw("0008 0007 0001 13 00 51 02 41"), raw("000a 0008 0102030405060708"), raw("0003 0000"), raw("", ""), raw()[:20],
		withDO(raw("0008 0007 0001 18 00 51 02 45")), questionOf(t, "Explain.chat.example.org.", dns.TypeA, true), questionOf(t, "nobody.Chat.example.org.", dns.TypeA, true),
	}
	const rounds = 14 // 140 small datagrams: what any socket's buffer holds
	want := map[uint16][]byte{}
	for i := range rounds * len(queries) {
		query := slices.Clone(queries[i%len(queries)])
		binary.BigEndian.PutUint16(query, uint16(i))
		want[uint16(i)] = twin.Respond(query, netip.MustParseAddr("127.0.0.1"), false)
		if _, err := conn.Write(query); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, queryBytes)
	for len(want) > 0 {
		if err := conn.SetReadDeadline(time.Now().Add(answerWait)); err != nil {
			t.Fatal(err)
		}
		size, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%d queries have no answer: %v", len(want), err)
		}
		id := binary.BigEndian.Uint16(buf)
		if !bytes.Equal(buf[:size], want[id]) {
			t.Errorf("query %d: got %s, want %s", id, rendered(buf[:size]), rendered(want[id]))
		}
		delete(want, id)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := n.get("dns_queries_total A NOERROR"); got != 6*rounds {
		t.Errorf("%v A queries counted, want %d", got, 6*rounds)
	}
	if got := n.get("dns_queries_total A NXDOMAIN"); got != rounds {
		t.Errorf("%v names that do not exist counted, want %d", got, rounds)
	}
	if got := n.get("dns_fast_total"); got != 6*rounds {
		t.Errorf("%v fast answers counted, want %d", got, 6*rounds)
	}
}

// lockedTally counts for a test with many goroutines.
type lockedTally struct {
	mu sync.Mutex
	n  map[string]float64
}

func (c *lockedTally) Count(name string, labels ...string) { c.Add(name, 1, labels...) }
func (c *lockedTally) Add(name string, value float64, labels ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]float64{}
	}
	for _, l := range labels {
		name += " " + l
	}
	c.n[name] += value
}
func (c *lockedTally) Set(string, float64, ...string)     {}
func (c *lockedTally) Remove(string, ...string)           {}
func (c *lockedTally) Observe(string, float64, ...string) {}
func (c *lockedTally) get(name string) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

// On a wildcard address of either family the answer comes from the address that was asked: a connected socket takes no other.
func TestWildcard(t *testing.T) {
	for bind, ask := range map[string][]string{"0.0.0.0": {"127.0.0.2", "127.0.0.1"}, "::": {"::1", "127.0.0.2"}} {
		s := server(t, nil)
		if probe, err := net.ListenPacket("udp6", "[::1]:0"); err == nil {
			probe.Close()
		} else if bind == "::" {
			continue // a machine without IPv6
		}
		serve(t, s, net.JoinHostPort(bind, "0"))
		_, port, _ := net.SplitHostPort(s.Addr())
		for _, host := range ask {
			conn := dial(t, net.JoinHostPort(host, port))
			for _, query := range [][]byte{raw(), raw("", "")} { // one for each path
				if out := exchange(t, conn, query); out[0] != query[0] || out[2]&0x80 == 0 {
					t.Errorf("%s asked at %s: %x", bind, host, out)
				}
			}
		}
	}
}

// The server for every system answers as the one for Linux does.
func TestServePlain(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := server(t, nil)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.servePlain(udp) })
	conn := dial(t, udp.LocalAddr().String())
	for _, query := range [][]byte{raw(), raw("0008 0007 0001 18 00 51 02 45"), raw("", "")} {
		if got, want := exchange(t, conn, query), s.Respond(query, netip.MustParseAddr("127.0.0.1"), false); !bytes.Equal(got, want) {
			t.Errorf("got %s, want %s", rendered(got), rendered(want))
		}
	}
	if err := udp.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
