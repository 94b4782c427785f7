package process

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"meridian/chat"
	"meridian/config"
	meridian "meridian/sdk/go"
)

// The load of TestLossUnderLoad.
var (
	lossQueries = flag.Int("loss-queries", 5000, "DNS queries per second of TestLossUnderLoad")
	lossSockets = flag.Int("loss-sockets", 1000, "open sockets of TestLossUnderLoad")
)

const (
	// lossAskers are the resolvers that ask, each one query at a time. Who is late asks the next one at once.
	lossAskers = 32
	// lossBefore and lossAfter are how long queries are asked before and after the loss. Before it the failures of the start are
	// forgotten, or fewer than Down would do.
	lossBefore = 6 * time.Second
	lossAfter  = 10 * time.Second
	// changedWithin is what the issue allows from the loss to the change of all answers.
	changedWithin = 8 * time.Second
	// queryWithin is when a query counts as unanswered.
	queryWithin = 5 * time.Second
	// lossPlaces is how many addresses all over the world are asked for.
	lossPlaces = 200
	// lossPeople share the sockets.
	lossPeople = 20
)

// answered is one answer of the name server.
type answered struct {
	asked time.Time
	addr  netip.Addr
	names []chat.Region
}

// A region that is killed under queries and sockets leaves all DNS answers within 8 s; no query stays unanswered before, during or after,
// every answer after the change is the one that explain gives, and all its sockets are served again by a region that explain names.
func TestLossUnderLoad(t *testing.T) {
	c := start(t, func(cfg *config.Config) {
		cfg.Router.Health = config.Health{Interval: 2 * time.Second, Timeout: time.Second, Down: 3, OK: 2, Up: 15}
		cfg.Limits.SocketsPerUser, cfg.Limits.SocketsPerAddress = 200, 2000
	})
	o := newObserver(t, c)
	o.settle("all serve", nil, nil)
	people := o.crowd(lossPeople)
	var sockets []*kept
	for i := range *lossSockets {
		s := &kept{o: o, p: people[i%len(people)], addr: netip.MustParseAddr(fmt.Sprintf("81.2.69.%d", i%256))}
		s.open(time.Now().Add(patience))
		sockets = append(sockets, s)
	}
	for _, s := range sockets {
		if s.region != "eu-west" {
			t.Fatalf("%s is served by %q before the loss", s.addr, s.region)
		}
	}
	load := o.queries(lossBefore + lossAfter)
	time.Sleep(lossBefore)
	lost := time.Now()
	c.Kill("eu-west")
	var again sync.WaitGroup
	for _, s := range sockets {
		again.Go(func() { s.reopen(lost.Add(30 * time.Second)) })
	}
	again.Wait()
	slowest := time.Duration(0)
	for _, s := range sockets {
		slowest = max(slowest, s.since.Sub(lost))
		if s.region != "us-east" {
			t.Errorf("%s is served by %q after the loss", s.addr, s.region)
		}
	}
	answers, unanswered := load()
	o.judge(answers, unanswered, lost, slowest)
}

// judge looks at all answers.
func (o *observer) judge(answers []answered, unanswered []error, lost time.Time, slowest time.Duration) {
	o.t.Helper()
	var last time.Time // an answer with the lost region
	for _, a := range answers {
		if slices.Contains(a.names, "eu-west") && a.asked.After(last) {
			last = a.asked
		}
	}
	expected, wrong, after := map[netip.Addr][]chat.Region{}, 0, 0
	for _, a := range answers {
		if !a.asked.After(last) {
			continue
		}
		if expected[a.addr] == nil {
			e, err := o.explain(a.addr, "")
			if err != nil {
				o.t.Fatal(err)
			}
			expected[a.addr] = e.Names[:min(o.c.Config.Router.AnswerRegions, len(e.Names))]
		}
		if after++; !slices.Equal(a.names, expected[a.addr]) {
			wrong++
		}
	}
	fmt.Printf("process: %d DNS queries around the loss of a region, %d unanswered; answers changed %v after the loss, then %d of %d were wrong; %d sockets were served again within %v\n",
		len(answers), len(unanswered), last.Sub(lost).Round(time.Millisecond), wrong, after, *lossSockets, slowest.Round(time.Millisecond))
	if len(unanswered) > 0 {
		o.t.Errorf("%d queries had no answer, the first: %v", len(unanswered), unanswered[0])
	}
	if took := last.Sub(lost); took > changedWithin || took < 0 || wrong > 0 || after == 0 {
		o.t.Errorf("answers changed %v after the loss; after it %d of %d were wrong", took, wrong, after)
	}
	if slowest > elsewhere {
		o.t.Errorf("the last socket was served again after %v", slowest)
	}
	if asked := float64(*lossQueries) * (lossBefore + lossAfter).Seconds(); float64(len(answers)) < asked/2 {
		o.t.Errorf("only %d of %.0f queries were asked: the load was not there", len(answers), asked)
	}
}

// crowd makes people of zone world.
func (o *observer) crowd(n int) []observed {
	o.t.Helper()
	api := &meridian.API{BaseURL: o.c.URL("us-east"), Header: http.Header{"X-Forwarded-For": {addresses["us-east"]}}}
	var out []observed
	for i := range n {
		account, err := signUp(o.t.Context(), api, meridian.SignUp{Username: fmt.Sprintf("crowd-%d", i), Password: password, Zone: "world"})
		if err != nil {
			o.t.Fatal(err)
		}
		out = append(out, observed{"world", account.Tokens.Access})
	}
	return out
}

// queries asks the name server at the load's pace for so long; the answers are there when it is over.
func (o *observer) queries(length time.Duration) (wait func() ([]answered, []error)) {
	places := make([]netip.Addr, lossPlaces)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range places {
		places[i] = somewhere(rng)
	}
	var mu sync.Mutex
	var all []answered
	var unanswered []error
	var done sync.WaitGroup
	begin, pace := time.Now(), time.Second*lossAskers/time.Duration(*lossQueries)
	for w := range lossAskers {
		a := askerOf(o.t, o.c)
		done.Go(func() {
			var own []answered
			for due := pace * time.Duration(w) / lossAskers; due < length; due += pace {
				time.Sleep(time.Until(begin.Add(due)))
				i := w + int(due/pace)
				one := answered{asked: time.Now(), addr: places[i%len(places)]}
				var err error
				if one.names, err = a.ask(one.addr, queryWithin); err != nil || len(one.names) == 0 {
					mu.Lock()
					unanswered = append(unanswered, fmt.Errorf("%s: %v, %w", one.addr, one.names, err))
					mu.Unlock()
				}
				own = append(own, one)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	return func() ([]answered, []error) {
		done.Wait()
		return all, unanswered
	}
}

// kept is a socket that is opened again when it is lost, as a client does: by the list that it got.
type kept struct {
	o      *observer
	p      observed
	addr   netip.Addr
	conn   *websocket.Conn
	region chat.Region
	since  time.Time
	list   []chat.Region
}

// open asks for the way and walks down the list until somebody serves.
func (k *kept) open(deadline time.Time) {
	for time.Now().Before(deadline) {
		var r routed
		if k.o.get(k.o.router(), "/v1/route", k.p.token, k.addr, &r) == nil && len(r.Endpoints) > 0 {
			k.list = r.regions()
		}
		if slices.ContainsFunc(k.list, k.try) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	k.o.t.Errorf("%s is not served by any of %v", k.addr, k.list)
}

func (k *kept) try(region chat.Region) bool {
	dialer := websocket.Dialer{Subprotocols: []string{"meridian.v1.json"}, HandshakeTimeout: 10 * time.Second}
	conn, _, err := dialer.Dial("ws"+strings.TrimPrefix(k.o.c.URL(region), "http")+"/v1/ws", http.Header{"X-Forwarded-For": {k.addr.String()}})
	if err != nil {
		return false
	}
	f := map[string]any{}
	err = conn.WriteJSON(map[string]string{"t": "hello", "token": k.p.token, "device": "kept"})
	if err == nil {
		err = conn.ReadJSON(&f)
	}
	if err != nil || f["t"] != "welcome" {
		_ = conn.Close()
		return false
	}
	k.o.t.Cleanup(func() { _ = conn.Close() })
	k.conn, k.region, k.since = conn, chat.Region(fmt.Sprint(f["region"])), time.Now()
	return true
}

// reopen waits for the end of the socket and opens it again.
func (k *kept) reopen(deadline time.Time) {
	_ = k.conn.SetReadDeadline(deadline)
	for {
		if _, _, err := k.conn.ReadMessage(); err != nil {
			break
		}
	}
	k.open(deadline)
}
