package table

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/geotest"
)

// ends are two regions far from the middle of North America, whose western half is nearer to Tokyo by round trips.
func ends(router config.Router) *config.Config {
	return &config.Config{Router: router, Regions: []config.Region{
		{Name: "eu-west", Latitude: 53.35, Longitude: -6.26}, {Name: "ap-northeast", Latitude: 35.68, Longitude: 139.69},
	}}
}

// town gives data that has 81.2.69.0/24 and 2a00:23c4::/32 in a town at these coordinates.
func town(t *testing.T, country string, lat, lon float64) *geo.Data {
	t.Helper()
	there := geotest.Nested(country, "Town", lat, lon)
	file := geotest.File(t, "", "GeoLite2-City", 1780272000, geotest.Networks{"81.2.69.0/24": there, "2a00:23c4::/32": there})
	d, err := geo.Load([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// firstOf gives the first region for both networks of town, which table and Decide must agree on.
func firstOf(t *testing.T, l *Live) chat.Region {
	t.Helper()
	var first chat.Region
	for _, s := range []string{"81.2.69.142", "2a00:23c4::1"} {
		a := netip.MustParseAddr(s)
		numbers, _ := l.Answer(nil, General, a)
		d, err := l.Decide(Query{Address: a})
		if err != nil {
			t.Fatal(err)
		}
		var decided []chat.Region
		for i, c := range d.Usable() {
			decided = append(decided, c.Region)
			if got := l.Model().Regions()[numbers[i]]; got != c.Region {
				t.Fatalf("%s: place %d of the table is %s, of Decide %s\n%s", s, i+1, got, c.Region, d.Text())
			}
		}
		if first != "" && decided[0] != first {
			t.Fatalf("IPv4 goes to %s, IPv6 to %s", first, decided[0])
		}
		first = decided[0]
	}
	return first
}

// Between builds of the table nobody is moved by noise: where data puts a network into another town nearby, it changes its
// region when that has been clearly better for three builds, and back in the same way. Data that moves it far, to another country,
// or rules that an operator changes count at once.
func TestBuildsDoNotFlap(t *testing.T) {
	model := geotest.Model(t, ends(config.Router{}))
	east, west := town(t, "US", 43.5, -97.5), town(t, "US", 43.5, -98.5) // 81 km apart, nearest to Ashburn and to Boardman
	far := town(t, "US", 45.8, -119.7)
	live, err := New(model, east, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := geotest.Model(t, ends(config.Router{Prefer: map[string][]chat.Region{"FR": {"eu-west"}}}))
	for i, step := range []struct {
		model *decide.Model
		data  *geo.Data
		want  chat.Region
	}{
		{model, east, "eu-west"},
		{model, west, "eu-west"}, // one build
		{model, east, "eu-west"}, // and back: counted anew
		{model, west, "eu-west"},
		{model, west, "eu-west"},
		{model, west, "ap-northeast"}, // the third in a row
		{model, west, "ap-northeast"},
		{model, east, "ap-northeast"},
		{other, east, "eu-west"}, // other rules
		{other, west, "eu-west"},
		{other, far, "ap-northeast"}, // far away
		{other, town(t, "CA", 45.8, -119.7), "ap-northeast"},
	} {
		if err := live.Replace(step.model, step.data, nil); err != nil {
			t.Fatal(err)
		}
		if got := firstOf(t, live); got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
		// What is held on to gives way to health as ever.
		live.SetStates(decide.States{step.want: {Health: decide.HealthDown}})
		if got := firstOf(t, live); got == step.want {
			t.Errorf("step %d: %s is down and answered first", i, got)
		}
		live.SetStates(nil)
	}
}

// Data and rules that give more rankings than a table can tell apart are refused with an error that counts them.
func TestTooManyRankings(t *testing.T) {
	_, err := compile(geotest.Model(t, ends(config.Router{})), town(t, "US", 43.5, -98.5), nil, nil, nil, 2)
	if chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), "3 orders of regions, more than the 2") {
		t.Errorf("got %v", err)
	}
	s, err := compile(geotest.Model(t, ends(config.Router{})), town(t, "US", 43.5, -98.5), nil, nil, nil, 3)
	if err != nil || len(s.rankings) != 3 || slices.Equal(s.rankings[0].order, s.rankings[1].order) {
		t.Errorf("got %v", err)
	}
}
