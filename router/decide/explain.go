package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"meridian/chat"
)

// Attribution is owed wherever results of the embedded country table are shown.
const (
	Attribution    = "IP Geolocation by DB-IP"
	AttributionURL = "https://db-ip.com"
)

// explainOrder puts the reasons into words, in the order in which they were weighed.
func (m *Model) explainOrder(d *Decision, best class) {
	for i := range d.Regions {
		if c := &d.Regions[i]; c.Text == "" {
			c.Text = m.text(d, i)
		}
	}
	d.Reasons = slices.Concat(d.residencyReasons(), d.stateReasons(best), d.nameReasons(), d.nearnessReasons())
}

func (m *Model) text(d *Decision, i int) string {
	c := d.Regions[i]
	state := d.states[c.Region]
	switch c.ExcludedBy {
	case ByResidency:
		return fmt.Sprintf("not a region of zone %s (%s)", d.zone.Name, join(d.zone.Regions))
	case ByRule:
		return "taken out by the " + ruleName(c)
	case ByHealth:
		return "down: " + orElse(state.Why, "by the probes")
	case ByDrain:
		if state.Forced == HealthDown {
			return takenOut(state)
		}
		return drainText(state)
	}
	return d.orderText(i) + stateText(state)
}

// orderText says why a region that may serve stands where it does.
func (d *Decision) orderText(i int) string {
	c := d.Regions[i]
	var text string
	switch {
	case i > 0:
		text = fmt.Sprintf("%+.1f ms against %s", c.ScoreMs-d.Regions[0].ScoreMs, d.Regions[0].Region)
	case c.held && d.better().Region != c.Region:
		text = fmt.Sprintf("held: %s is %.1f ms better, which is too little or too new", d.better().Region, c.ScoreMs-d.better().ScoreMs)
	case c.rank > 0:
		text = "preferred by the " + ruleName(c)
	case c.Learned != nil:
		return "shortest round trip, " + c.Learned.text(d.now)
	case d.Place.Level == LevelNone:
		text = "shortest mean round trip from everywhere"
	case c.near:
		text = fmt.Sprintf("nearest by distance, within %.0f km", NearKm)
	case d.usable < len(d.Regions):
		text = "shortest round trip of those that may serve"
	default:
		text = "shortest round trip"
	}
	if c.Learned != nil {
		text += "; " + c.Learned.text(d.now)
	}
	return text
}

// stateText says of a region that may serve why it should rather not, or what keeps it in.
func stateText(state State) string {
	switch {
	case state.Forced == HealthUp && state.Health == HealthDown:
		return "; " + keptIn(state)
	case state.class() == classDown:
		return "; down: " + orElse(state.Why, "by the probes")
	case state.Forced == HealthDown:
		return "; " + takenOut(state)
	case state.Draining:
		return "; " + drainText(state)
	case state.Shed > 0:
		return fmt.Sprintf("; at %.0f %% load, sends %.0f %% of the networks elsewhere", state.Load*100, state.Shed*100)
	}
	return ""
}

func takenOut(s State) string { return strings.TrimSpace("taken out by the operator " + s.ForcedWhy) }

func keptIn(s State) string {
	return strings.TrimSpace("kept in by the operator "+s.ForcedWhy) + ", although it is down: " + orElse(s.Why, "by the probes")
}

func ruleName(c Candidate) string {
	if c.network {
		return "network rule"
	}
	return "country rule"
}

// better gives the region that would stand first without a hold, of those that may serve.
func (d *Decision) better() Candidate { return slices.MinFunc(d.Regions[:d.usable], compare) }

func drainText(s State) string {
	if s.DrainUntil.IsZero() {
		return "draining"
	}
	return "draining until " + s.DrainUntil.UTC().Format(time.RFC3339)
}

func (d *Decision) residencyReasons() []string {
	var out []string
	z := d.zone
	switch {
	case z == nil:
	case d.Host == z.Name:
		out = append(out, fmt.Sprintf("residency: host of zone %s names only its regions (%s)", z.Name, join(z.Regions)))
	case z.Transit == chat.TransitDeny:
		out = append(out, fmt.Sprintf("residency: zone %s forbids transit, only %s may serve", z.Name, join(z.Regions)))
	case d.usable > 0 && d.HomeDown:
		out = append(out, fmt.Sprintf("residency: no region of home zone %s (%s) serves: %s takes the socket, and can only say that the home cannot be reached",
			z.Name, join(z.Regions), d.Regions[0].Region))
	case d.usable > 0 && !z.Has(d.Regions[0].Region):
		out = append(out, fmt.Sprintf("residency: home zone %s (%s) allows transit, %s forwards to it and stores nothing",
			z.Name, join(z.Regions), d.Regions[0].Region))
	case d.usable > 0:
		out = append(out, fmt.Sprintf("residency: %s is in home zone %s", d.Regions[0].Region, z.Name))
	}
	return out
}

// stateReasons tells of drain and health what kept better regions out.
func (d *Decision) stateReasons(best class) []string {
	var drained, down []string
	for _, c := range d.Regions[d.usable:] {
		switch c.ExcludedBy {
		case ByDrain:
			drained = append(drained, fmt.Sprintf("drain: %s is %s", c.Region, c.Text))
		case ByHealth:
			down = append(down, fmt.Sprintf("health: %s is %s", c.Region, c.Text))
		}
	}
	out := append(drained, down...)
	switch {
	case d.usable == 0:
		out = append(out, fmt.Sprintf("no region of zone %s may serve", d.zone.Name))
	case best == classDraining:
		out = append(out, "drain: every region that may serve is draining, so they are answered all the same")
	case best >= classDown:
		out = append(out, "health: every region that may serve is down, so the answer goes by geography")
	}
	return out
}

func (d *Decision) nearnessReasons() []string {
	var out []string
	if d.Place.Level == LevelNone {
		out = append(out, "nearest: no data for this address"+detail(d.Place))
	}
	if d.NetworkRule != "" {
		out = append(out, "nearest: network rule "+d.NetworkRule)
	}
	if d.Rule != "" {
		out = append(out, "nearest: country rule "+d.Rule)
	}
	if d.usable == 0 {
		return out
	}
	c := d.Regions[0]
	switch {
	case c.Learned != nil && d.Place.Level == LevelNone:
		out = append(out, fmt.Sprintf("nearest: %s, round trip %.1f ms, %s", c.Region, c.RTTms, c.Text))
	case c.Learned != nil:
		out = append(out, fmt.Sprintf("nearest: %s, %.0f km, round trip %.1f ms, %s", c.Region, c.Km, c.RTTms, c.Text))
	case d.Place.Level == LevelNone:
		out = append(out, fmt.Sprintf("nearest: %s, mean round trip %.1f ms, %s", c.Region, c.RTTms, c.Text))
	default:
		out = append(out, fmt.Sprintf("nearest: %s, %.0f km, round trip %.1f ms from %s, %s", c.Region, c.Km, c.RTTms, c.NetworkPoint, c.Text))
	}
	for _, c := range d.Regions[:d.usable] {
		if s := d.states[c.Region]; s.Shed > 0 {
			out = append(out, fmt.Sprintf("load: %s is at %.0f %%", c.Region, s.Load*100))
		}
	}
	return out
}

// Text renders the decision for people; `meridian explain ip` prints it.
func (d *Decision) Text() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	if d.Simulated {
		row("address", "%s (simulated)", d.Address)
	} else {
		row("address", "%s", d.Address)
	}
	row("record", "%s", d.recordText())
	if d.Place.ASN != 0 {
		row("network", "AS%d %s", d.Place.ASN, d.Place.ASName)
	}
	if d.Place.Level == LevelNone {
		row("network point", "unknown: round trips are means over all network points")
	} else {
		row("placed at", "%.2f, %.2f", d.Place.Latitude, d.Place.Longitude)
		row("network point", "%s, %.0f km away", d.Point, d.PointKm)
	}
	if d.NetworkRule != "" {
		row("network rule", "%s", d.NetworkRule)
	}
	row("country rule", "%s", orElse(d.Rule, "none"))
	switch {
	case d.Host != "":
		row("zone", "%s, by its own host name", d.Host)
	case d.Zone != "":
		row("zone", "%s, transit: %s", d.Zone, d.Transit)
	default:
		row("zone", "none: no token")
	}
	b.WriteByte('\n')
	d.writeRegions(&b)
	b.WriteByte('\n')
	for _, r := range d.Reasons {
		row("reason", "%s", r)
	}
	row("answer", "%s", orElse(string(d.Region), "none: "+string(d.Error)))
	if len(d.nameReasons()) > 0 {
		row("names", "%s", join(d.Names))
	}
	if d.Gen.Learned != "" {
		row("learned", "%s", d.Gen.Learned)
	}
	row("generations", "data %s, config %d, health %d", d.Gen.Data, d.Gen.Config, d.Gen.Health)
	fmt.Fprintf(&b, "%s (%s)\n", Attribution, AttributionURL)
	return b.String()
}

func (d *Decision) recordText() string {
	switch p := d.Place; {
	case p.Level == LevelNone && p.Country != "":
		return fmt.Sprintf("%s, no data on where%s, %s", p.Country, detail(p), d.Prefix)
	case p.Level == LevelNone:
		return fmt.Sprintf("no data%s, %s", detail(p), d.Prefix)
	case p.City != "":
		return fmt.Sprintf("%s, %s (%s level), %s, %s", p.City, p.Country, p.Level, d.Prefix, p.Source)
	default:
		return fmt.Sprintf("%s (%s level), %s, %s", p.Country, p.Level, d.Prefix, p.Source)
	}
}

func (d *Decision) writeRegions(b *strings.Builder) {
	fmt.Fprintf(b, "    %-14s %9s %10s %9s %10s  %s\n", "region", "km", "rtt ms", "bias ms", "score ms", "why")
	for i, c := range d.Regions {
		mark := "-"
		if i < d.usable {
			mark = fmt.Sprint(i + 1)
		}
		km := "?"
		if d.Place.Level != LevelNone {
			km = fmt.Sprintf("%.0f", c.Km)
		}
		why := c.Text
		if c.ExcludedBy != "" {
			why = fmt.Sprintf("out by %s: %s", c.ExcludedBy, c.Text)
		}
		fmt.Fprintf(b, "%3s %-14s %9s %10.1f %9.1f %10.1f  %s\n", mark, c.Region, km, c.RTTms, c.BiasMs, c.ScoreMs, why)
	}
}

func detail(p Place) string {
	if p.Detail == "" {
		return ""
	}
	return " (" + p.Detail + ")"
}

func join(regions []chat.Region) string {
	names := make([]string, len(regions))
	for i, r := range regions {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
