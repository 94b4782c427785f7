package decide_test

import (
	"slices"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
)

// learned gives round trips to regions, by pairs of name and milliseconds.
func learned(pairs ...any) []decide.Measured {
	var out []decide.Measured
	for i := 0; i < len(pairs); i += 2 {
		ms := 0.0
		switch v := pairs[i+1].(type) {
		case int:
			ms = float64(v)
		case float64:
			ms = v
		}
		out = append(out, decide.Measured{
			Region: chat.Region(pairs[i].(string)), Of: "81.2.64.0/20", P50Ms: ms, Samples: 120 + i, Last: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
		})
	}
	return out
}

// What the sockets have measured of a region stands before the model, also before distance; regions without it keep the model's score,
// of two that are said of one region the first counts, and neither rules nor biases nor health give way to it.
func TestLearnedRoundTrips(t *testing.T) {
	london := at(51.51, -0.13, "GB")
	none := config.Router{}
	for name, c := range map[string]struct {
		router  config.Router
		learned []decide.Measured
		states  decide.States
		want    []chat.Region
		ms      float64
	}{
		"none":                     {none, nil, nil, []chat.Region{"eu-west", "us-east", "ap-south"}, 0},
		"better than near":         {none, learned("us-east", 5), nil, []chat.Region{"us-east", "eu-west", "ap-south"}, 5},
		"worse than the model":     {none, learned("eu-west", 200), nil, []chat.Region{"us-east", "ap-south", "eu-west"}, 0},
		"all":                      {none, learned("eu-west", 30, "us-east", 20, "ap-south", 10), nil, []chat.Region{"ap-south", "us-east", "eu-west"}, 10},
		"the network, then the AS": {none, learned("eu-west", 30, "eu-west", 300), nil, []chat.Region{"eu-west", "us-east", "ap-south"}, 30},
		"a region that is gone":    {none, learned("mars", 1), nil, []chat.Region{"eu-west", "us-east", "ap-south"}, 0},
		"prefer":                   {config.Router{Prefer: map[string][]chat.Region{"GB": {"ap-south"}}}, learned("us-east", 5), nil, []chat.Region{"ap-south", "us-east", "eu-west"}, 0},
		"never":                    {config.Router{Never: map[string][]chat.Region{"GB": {"us-east"}}}, learned("us-east", 5), nil, []chat.Region{"eu-west", "ap-south"}, 0},
		"bias":                     {config.Router{BiasMs: map[chat.Region]float64{"us-east": 100}}, learned("us-east", 5), nil, []chat.Region{"eu-west", "us-east", "ap-south"}, 0},
		"down":                     {none, learned("us-east", 5), down("us-east"), []chat.Region{"eu-west", "ap-south"}, 0},
	} {
		d, err := model(t, &config.Config{Regions: three, Router: c.router}).Decide(decide.Input{Address: client, Place: london, Learned: c.learned, States: c.states})
		if err != nil || !slices.Equal(usable(d), c.want) {
			t.Errorf("%s: got %v, %v, want %v", name, usable(d), err, c.want)
			continue
		}
		first := d.Regions[0]
		if c.ms > 0 && (first.Learned == nil || first.RTTms != c.ms || first.ScoreMs != c.ms) || c.ms == 0 && first.Learned != nil {
			t.Errorf("%s: the first is %+v", name, first)
		}
	}
}

// What is learned moves nobody for less than 10 ms and 10 %, nor before it has held for three builds.
func TestLearnedRoundTripsAreHeld(t *testing.T) {
	m := model(t, &config.Config{Regions: three})
	for name, c := range map[string]struct {
		ms     float64
		builds int
		want   chat.Region
	}{
		"too little":        {52, 2, "eu-west"},
		"too little a part": {100, 2, "eu-west"},
		"too new":           {20, 1, "eu-west"},
		"clear":             {20, 2, "us-east"},
	} {
		eu := 60.0
		if name == "too little a part" {
			eu = 110.5
		}
		k := m.Rank(at(51.51, -0.13, "GB"), learned("us-east", c.ms, "eu-west", eu)...)
		k.Hold(decide.Held{Region: "eu-west", Builds: c.builds})
		if got := k.Order[0].Region; got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}
