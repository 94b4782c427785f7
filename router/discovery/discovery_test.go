package discovery_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/discovery"
	"meridian/router/geo"
	"meridian/router/table"
)

var (
	key   = ed25519.NewKeyFromSeed(make([]byte, 32))
	now   = time.Date(2026, 5, 4, 10, 20, 30, 0, time.UTC)
	zones = map[chat.Zone]chat.ZoneSpec{
		"world": {Name: "world", Regions: []chat.Region{"ap-south", "eu-west", "us-east"}, Transit: chat.TransitAllow},
		"in":    {Name: "in", Regions: []chat.Region{"ap-south"}, Transit: chat.TransitDeny},
	}
)

type scene struct {
	live *table.Live
	opts discovery.Options
}

var data = sync.OnceValues(func() (*geo.Data, error) { return geo.Load(nil) })

func newScene(t *testing.T) *scene {
	t.Helper()
	world, err := geo.World()
	if err != nil {
		t.Fatal(err)
	}
	m, err := decide.NewModel(&config.Config{Regions: []config.Region{
		{Name: "us-east", Latitude: 39.04, Longitude: -77.49},
		{Name: "eu-west", Latitude: 53.35, Longitude: -6.26},
		{Name: "ap-south", Latitude: 19.08, Longitude: 72.88},
	}}, world)
	if err != nil {
		t.Fatal(err)
	}
	data, err := data()
	if err != nil {
		t.Fatal(err)
	}
	live, err := table.New(m, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{live: live}
	s.opts = discovery.Options{
		Decide: s.live.Decide,
		URLs:   func(r chat.Region) []string { return []string{"https://" + string(r) + ".example.org"} },
		Zone:   func(z chat.Zone) (chat.ZoneSpec, bool) { spec, ok := zones[z]; return spec, ok },
		TokenZone: func(token string) (chat.Zone, error) {
			if zone, ok := strings.CutPrefix(token, "token-of-"); ok {
				return chat.Zone(zone), nil
			}
			return "", &chat.Error{Code: chat.CodeUnauthorized, Message: "bad token"}
		},
		BucketZones: func(_ context.Context, bucket uint16) ([]chat.Zone, error) {
			return map[uint16][]chat.Zone{0xabcd: {"world", "in", "world"}}[bucket], nil
		},
		Simulate: true, Origins: []string{"https://app.example.org"}, Key: key, Now: func() time.Time { return now },
	}
	return s
}

func (s *scene) get(t *testing.T, path, from string, headers ...string) (*httptest.ResponseRecorder, discovery.Route, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = from
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	discovery.New(s.opts).ServeHTTP(w, r)
	var body struct {
		discovery.Route
		Code string `json:"code"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%s: %v in %q", path, err, w.Body)
	}
	return w, body.Route, body.Code
}

func regions(r discovery.Route) string {
	var names []string
	for _, e := range r.Endpoints {
		names = append(names, string(e.Region))
	}
	return strings.Join(names, " ")
}

// The list is ranked for the asker's address and token, and what is wrong gets the protocol's error.
func TestRoute(t *testing.T) {
	const london, far = "81.2.69.142:5000", "49.36.0.1:5000"
	bearer := func(zone string) []string { return []string{"Authorization", "Bearer token-of-" + zone} }
	for _, c := range []struct {
		name, path, from string
		headers          []string
		change           func(*scene)
		want             string // the regions, or "STATUS code"
	}{
		{"London", "/v1/route", london, nil, nil, "eu-west us-east ap-south"},
		{"Mumbai, IPv6", "/v1/route", "[2405:201::1]:5000", nil, nil, "ap-south eu-west us-east"},
		{"simulated", "/v1/route?as=8.8.8.8", london, nil, nil, "us-east eu-west ap-south"},
		{"simulated where it is not allowed", "/v1/route?as=8.8.8.8", london, nil, func(s *scene) { s.opts.Simulate = false }, "400 invalid"},
		{"simulated nonsense", "/v1/route?as=London", london, nil, nil, "400 invalid"},
		{"a pinned user's token", "/v1/route", london, bearer("in"), nil, "ap-south"},
		{"a token beats zone=", "/v1/route?zone=in", london, bearer("world"), nil, "eu-west us-east ap-south"},
		{"zone= without a token", "/v1/route?zone=in", london, nil, nil, "ap-south"},
		{"no such zone", "/v1/route?zone=moon", london, nil, nil, "400 invalid"},
		{"a bad token", "/v1/route", london, []string{"Authorization", "Bearer x"}, nil, "401 unauthorized"},
		{"not a bearer token", "/v1/route", london, []string{"Authorization", "Basic eDp5"}, nil, "401 unauthorized"},
		{"a token of an unknown zone", "/v1/route", london, bearer("moon"), nil, "503 zone_unreachable"},
		{"the pinned user's zone is down", "/v1/route", london, bearer("in"), func(s *scene) {
			s.live.SetStates(decide.States{"ap-south": {Health: decide.HealthDown}})
		}, "503 zone_unreachable"},
		{"a region is down", "/v1/route", london, nil, func(s *scene) {
			s.live.SetStates(decide.States{"eu-west": {Health: decide.HealthDown}})
		}, "us-east ap-south"},
		{"a region without a URL", "/v1/route", london, nil, func(s *scene) {
			s.opts.URLs = func(r chat.Region) []string { return map[chat.Region][]string{"ap-south": {"https://ap"}}[r] }
		}, "ap-south"},
		{"a region of two nodes", "/v1/route", london, nil, func(s *scene) {
			s.opts.URLs = func(r chat.Region) []string {
				return map[chat.Region][]string{"us-east": {"https://us"}, "eu-west": {"https://eu1", "https://eu2"}}[r]
			}
		}, "eu-west eu-west us-east"},
		{"a bucket", "/v1/route?name=abcd", london, nil, nil, "eu-west us-east ap-south"},
		{"a bucket too long", "/v1/route?name=abcde", london, nil, nil, "400 invalid"},
		{"a bucket with a sign", "/v1/route?name=%2Babc", london, nil, nil, "400 invalid"},
		{"a header that nobody stands for", "/v1/route", far, []string{"X-Forwarded-For", "8.8.8.8"}, nil, "ap-south eu-west us-east"},
	} {
		s := newScene(t)
		if c.change != nil {
			c.change(s)
		}
		w, route, code := s.get(t, c.path, c.from, c.headers...)
		got := regions(route)
		if code != "" {
			got = fmt.Sprintf("%d %s", w.Code, code)
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q: %s", c.name, got, c.want, w.Body)
		}
		if code == "" && (len(route.Reasons) == 0 || discovery.Verify(&route, key.Public().(ed25519.PublicKey), now) != nil) {
			t.Errorf("%s: no reasons or a wrong signature: %s", c.name, w.Body)
		}
		if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: 503 without Retry-After", c.name)
		}
	}
}

// A name's bucket leads to a route for each zone that such names live in, and a zone that is down is left out.
func TestRouteByName(t *testing.T) {
	s := newScene(t)
	_, route, _ := s.get(t, "/v1/route?name=abcd", "81.2.69.142:1")
	if len(route.Zones) != 2 || regions(route.Zones[0]) != "ap-south" || route.Zones[1].Zone != "world" {
		t.Errorf("got %+v", route.Zones)
	}
	s.live.SetStates(decide.States{"ap-south": {Health: decide.HealthDown}})
	if _, route, _ = s.get(t, "/v1/route?name=abcd", "81.2.69.142:1"); len(route.Zones) != 1 || route.Zones[0].Zone != "world" {
		t.Errorf("with the zone in down: got %+v", route.Zones)
	}
	s.opts.BucketZones = nil
	if _, _, code := s.get(t, "/v1/route?name=abcd", "81.2.69.142:1"); code != "invalid" {
		t.Errorf("without a directory: got %q", code)
	}
}

// The signed bytes are exactly what the documentation says, and any change of region, zone, time or endpoint breaks them.
func TestSignature(t *testing.T) {
	s := newScene(t)
	_, route, _ := s.get(t, "/v1/route?zone=in", "81.2.69.142:1")
	want := "meridian.route.v1\nregion ap-south\nzone in\nexpires 2026-05-04T11:20:30Z\nendpoint ap-south https://ap-south.example.org\n"
	if got := string(discovery.Signed(&route)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	public := key.Public().(ed25519.PublicKey)
	for name, change := range map[string]func(*discovery.Route){
		"region":    func(r *discovery.Route) { r.Region = "eu-west" },
		"zone":      func(r *discovery.Route) { r.Zone = "world" },
		"expires":   func(r *discovery.Route) { r.Expires = "2027-05-04T11:20:30Z" },
		"endpoint":  func(r *discovery.Route) { r.Endpoints[0].URL = "https://evil.example.net" },
		"signature": func(r *discovery.Route) { r.Signature = "" },
		"zones":     func(r *discovery.Route) { r.Zones = []discovery.Route{{}} },
	} {
		changed := route
		changed.Endpoints = slices.Clone(route.Endpoints)
		change(&changed)
		if err := discovery.Verify(&changed, public, now); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("a changed %s passes: %v", name, err)
		}
	}
	if err := discovery.Verify(&route, public, now.Add(2*time.Hour)); err == nil {
		t.Error("an expired route passes")
	}
	if err := discovery.Verify(&route, public, now); err != nil {
		t.Error(err)
	}
}

// Browsers of allowed origins may ask with a token, others may not read the answer, and only GET is answered.
func TestOriginsAndMethods(t *testing.T) {
	s := newScene(t)
	for _, c := range []struct {
		method, origin string
		all            bool
		status         int
		allowed        string
	}{
		{"GET", "https://app.example.org", false, 200, "https://app.example.org"},
		{"GET", "https://evil.example.net", false, 200, ""},
		{"GET", "https://evil.example.net", true, 200, "*"},
		{"OPTIONS", "https://app.example.org", false, 204, "https://app.example.org"},
		{"POST", "https://app.example.org", false, 405, "https://app.example.org"},
	} {
		if s.opts.Origins = []string{"https://app.example.org"}; c.all {
			s.opts.Origins = []string{"*"}
		}
		r := httptest.NewRequest(c.method, "/v1/route", nil)
		r.Header.Set("Origin", c.origin)
		w := httptest.NewRecorder()
		discovery.New(s.opts).ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != c.status || got != c.allowed {
			t.Errorf("%s from %s: %d %q", c.method, c.origin, w.Code, got)
		}
		if headers := w.Header().Get("Access-Control-Allow-Headers"); (headers == "Authorization") != (c.method == "OPTIONS") {
			t.Errorf("%s: allowed headers %q", c.method, headers)
		}
	}
}
