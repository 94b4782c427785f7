package process

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"meridian/chat"
	meridian "meridian/sdk/go"
	"meridian/test/cluster"
)

// triples is how many (address, person, state of the regions) are asked for; the number is 10,000, which takes twice as long.
var triples = flag.Int("triples", 10000, "how many (address, person, state of the regions) TestExplainIsWhatHappens asks for")

// triplesAtOnce is how many are asked for at a time.
const triplesAtOnce = 8

// explained is what a test reads of GET /v1/explain.
type explained struct {
	Region  chat.Region `json:"region"`
	Error   string      `json:"error"`
	Regions []struct {
		Region   chat.Region `json:"region"`
		Excluded string      `json:"excluded_by"`
	} `json:"regions"`
	Names    []chat.Region `json:"dns_regions"`
	HomeDown bool          `json:"home_unreachable"`
	Text     string        `json:"text"`
}

// usable gives the regions that may serve, best first.
func (e explained) usable() []chat.Region {
	var out []chat.Region
	for _, r := range e.Regions {
		if r.Excluded == "" {
			out = append(out, r.Region)
		}
	}
	return out
}

// routed is what a test reads of GET /v1/route.
type routed struct {
	Code      string             `json:"code"`
	Endpoints []routedByEndpoint `json:"endpoints"`
}

type routedByEndpoint struct {
	Region chat.Region `json:"region"`
}

// regions gives those of the endpoints, in order.
func (r routed) regions() []chat.Region {
	var out []chat.Region
	for _, e := range r.Endpoints {
		out = append(out, e.Region)
	}
	return out
}

// observer asks a deployment what it would do, and looks at what it does.
type observer struct {
	t      *testing.T
	c      *cluster.Cluster
	client *http.Client
	people []observed
	sentOn atomic.Int64 // sockets that were refused where the names led, and sent on to where explain says
}

// observed is one person with a zone and a token; the zero one has not logged in.
type observed struct {
	zone  chat.Zone
	token string
}

func newObserver(t *testing.T, c *cluster.Cluster) *observer {
	t.Helper()
	o := &observer{t: t, c: c, client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * triplesAtOnce}}, people: []observed{{}}}
	for i, zone := range []chat.Zone{"world", "eu", "in", "world", "eu", "in"} {
		near := map[chat.Zone]chat.Region{"world": "us-east", "eu": "eu-west", "in": "ap-south"}[zone]
		api := &meridian.API{BaseURL: c.URL(near), Header: http.Header{"X-Forwarded-For": {addresses[near]}}}
		account, err := signUp(t.Context(), api, meridian.SignUp{Username: fmt.Sprintf("observed-%d", i), Password: password, Zone: string(zone)})
		if err != nil {
			t.Fatal(err)
		}
		o.people = append(o.people, observed{zone, account.Tokens.Access})
	}
	return o
}

// get reads JSON from base+path as somebody at addr with a token does.
func (o *observer) get(base, path, token string, addr netip.Addr, into any) error {
	req, err := http.NewRequest(http.MethodGet, base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Forwarded-For", addr.String())
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := o.client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func (o *observer) router() string { return "http://" + o.c.Config.Router.HTTP }

func (o *observer) explain(addr netip.Addr, zone chat.Zone) (e explained, err error) {
	err = o.get(o.router(), "/v1/explain?"+url.Values{"ip": {addr.String()}, "zone": {string(zone)}}.Encode(), "", addr, &e)
	return e, err
}

// socket opens a socket in a region as a person at addr: it gives the region that welcomes, or the code of the refusal with the regions
// that are named instead.
func (o *observer) socket(region chat.Region, p observed, addr netip.Addr) (welcomed chat.Region, code string, instead []chat.Region, err error) {
	dialer := websocket.Dialer{Subprotocols: []string{"meridian.v1.json"}, HandshakeTimeout: 10 * time.Second}
	conn, _, err := dialer.Dial("ws"+strings.TrimPrefix(o.c.URL(region), "http")+"/v1/ws", http.Header{"X-Forwarded-For": {addr.String()}})
	if err != nil {
		return "", "", nil, err
	}
	defer conn.Close()
	if err := conn.WriteJSON(map[string]string{"t": "hello", "token": p.token, "device": "observer"}); err != nil {
		return "", "", nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", "", nil, err
	}
	var f struct {
		T         string             `json:"t"`
		Code      string             `json:"code"`
		Region    chat.Region        `json:"region"`
		Endpoints []routedByEndpoint `json:"endpoints"`
	}
	if err := conn.ReadJSON(&f); err != nil {
		return "", "", nil, err
	}
	if f.T == "welcome" {
		return f.Region, "", nil, conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	}
	return "", f.Code, routed{Endpoints: f.Endpoints}.regions(), nil
}

// alive gives a region of the phase that answers at all.
func (o *observer) alive(dead []chat.Region, rng *rand.Rand) chat.Region {
	for {
		if r := regions[rng.IntN(len(regions))]; !slices.Contains(dead, r) {
			return r
		}
	}
}

// check asks everything about one triple; what does not agree is the error.
func (o *observer) check(a *asker, addr netip.Addr, p observed, dead []chat.Region, rng *rand.Rand) error {
	e, err := o.explain(addr, p.zone)
	if err != nil {
		return err
	}
	names, err := a.ask(addr, 10*time.Second)
	if err != nil {
		return fmt.Errorf("DNS: %w", err)
	}
	if n := min(o.c.Config.Router.AnswerRegions, len(e.Names)); !slices.Equal(names, e.Names[:n]) {
		return fmt.Errorf("DNS answers %v, explain says %v", names, e.Names[:n])
	}
	for _, base := range []string{o.router(), o.c.URL(o.alive(dead, rng))} {
		var r routed
		if err := o.get(base, "/v1/route", p.token, addr, &r); err != nil {
			return err
		}
		if r.Code != e.Error || !slices.Equal(r.regions(), e.usable()) {
			return fmt.Errorf("the route of %s is %v %s, explain says %v %s", base, r.regions(), r.Code, e.usable(), e.Error)
		}
	}
	if p.token == "" || e.Region == "" {
		return nil
	}
	return o.checkSocket(e, names, p, addr, dead)
}

// checkSocket opens a socket where explain says, and follows the names where they lead.
func (o *observer) checkSocket(e explained, names []chat.Region, p observed, addr netip.Addr, dead []chat.Region) error {
	welcomed, code, _, err := o.socket(e.Region, p, addr)
	switch {
	case err != nil:
		return fmt.Errorf("socket in %s: %w", e.Region, err)
	case e.HomeDown && code != string(chat.CodeZoneUnreachable):
		return fmt.Errorf("explain says that the home cannot be reached from %s, which answers %q %q", e.Region, welcomed, code)
	case !e.HomeDown && welcomed != e.Region:
		return fmt.Errorf("explain says %s, which welcomes as %q or refuses by %q", e.Region, welcomed, code)
	}
	if names[0] == e.Region || slices.Contains(dead, names[0]) {
		return nil
	}
	// The names know no person, and leave a draining region by and by: who comes there is sent on to where explain says, or is served.
	welcomed, code, instead, err := o.socket(names[0], p, addr)
	if err != nil {
		return fmt.Errorf("socket in %s: %w", names[0], err)
	}
	if code == string(chat.CodeWrongRegion) && instead[0] != e.Region {
		return fmt.Errorf("%s sends on to %v, explain says %s", names[0], instead, e.Region)
	}
	if code == string(chat.CodeWrongRegion) {
		o.sentOn.Add(1)
	}
	if code == "" && welcomed != names[0] || code != "" && code != string(chat.CodeWrongRegion) && !e.HomeDown {
		return fmt.Errorf("%s, to which the names lead, welcomes as %q or refuses by %q", names[0], welcomed, code)
	}
	return nil
}

// somewhere gives a random address of either family, most of them where networks are.
func somewhere(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{byte(1 + rng.IntN(222)), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
	}
	var b [16]byte
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	b[0], b[1] = []byte{0x20, 0x24, 0x26, 0x28, 0x2a, 0x2c}[rng.IntN(6)], b[1]&0x0f
	return netip.AddrFrom16(b)
}

// What explain says is what happens, for random addresses, people and states of the regions, asked over the network: DNS answers it,
// discovery names it on the router and on a node, and it is the region that takes the person's socket; a region to which the names lead
// and that does not serve the person sends them there.
func TestExplainIsWhatHappens(t *testing.T) {
	c := start(t, nil)
	o := newObserver(t, c)
	var dead []chat.Region
	phases := []struct {
		name   string
		change func()
		states map[chat.Region]string // why a region is left out for somebody without a zone
	}{
		{"all serve", func() {}, nil},
		{"us-east drains, its names too by and by", func() { c.Drain("us-east", "within=1h") }, map[chat.Region]string{"us-east": "drain"}},
		{"us-east is back, ap-south drains by force and at once", func() {
			c.Undrain("us-east")
			c.Drain("ap-south", "within=0s&force=true")
		}, map[chat.Region]string{"ap-south": "drain"}},
		{"eu-west is killed, ap-south is back", func() {
			c.Undrain("ap-south")
			c.Kill("eu-west")
			dead = append(dead, "eu-west")
		}, map[chat.Region]string{"eu-west": "health"}},
		{"eu-west is dead, us-east drains", func() { c.Drain("us-east", "within=1h") }, map[chat.Region]string{"eu-west": "health", "us-east": "drain"}},
	}
	asked := 0
	for i, phase := range phases {
		phase.change()
		o.settle(phase.name, dead, phase.states)
		n := *triples / len(phases)
		if i == 0 {
			n += *triples % len(phases)
		}
		began := time.Now()
		o.ask(phase.name, n, uint64(i), dead)
		asked += n
		fmt.Printf("process: %s: %d triples agree, asked in %v\n", phase.name, n, time.Since(began).Round(time.Millisecond))
	}
	fmt.Printf("process: %d sockets came to where the names led, and were sent on to where explain says\n", o.sentOn.Load())
	if asked != *triples || o.sentOn.Load() == 0 {
		t.Errorf("%d of %d triples were asked for, %d sockets were sent on", asked, *triples, o.sentOn.Load())
	}
}

// settle waits until the router and every node know the state of the regions.
func (o *observer) settle(phase string, dead []chat.Region, states map[chat.Region]string) {
	o.t.Helper()
	at := netip.MustParseAddr(addresses["eu-west"])
	waitUntil(o.t, 60*time.Second, phase, func() bool {
		e, err := o.explain(at, "")
		if err != nil {
			return false
		}
		for _, r := range e.Regions {
			if r.Excluded != states[r.Region] {
				return false
			}
		}
		for _, r := range regions {
			var out routed
			if slices.Contains(dead, r) {
				continue
			}
			if err := o.get(o.c.URL(r), "/v1/route", "", at, &out); err != nil || !slices.Equal(out.regions(), e.usable()) {
				return false
			}
		}
		return true
	})
}

// ask asks for n triples.
func (o *observer) ask(phase string, n int, seed uint64, dead []chat.Region) {
	o.t.Helper()
	var next, failed atomic.Int64
	var done sync.WaitGroup
	for w := range triplesAtOnce {
		a := askerOf(o.t, o.c)
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		done.Go(func() {
			for next.Add(1) <= int64(n) && failed.Load() < 10 {
				addr, p := somewhere(rng), o.people[rng.IntN(len(o.people))]
				if err := o.check(a, addr, p, dead, rng); err != nil {
					failed.Add(1)
					e, _ := o.explain(addr, p.zone)
					o.t.Errorf("%s: %s of zone %q: %v\n%s", phase, addr, p.zone, err, e.Text)
				}
			}
		})
	}
	done.Wait()
	if o.t.Failed() {
		o.t.FailNow()
	}
}
