package route53_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/route53"
)

// account is a hosted zone and its health checks in memory; it takes changes one after another and refuses an alias that leads to nothing.
type account struct {
	t      *testing.T
	d      route53.Deployment
	sets   []types.ResourceRecordSet
	checks []types.HealthCheck
}

func (a *account) observed() route53.Observed {
	return route53.Observed{Zones: a.d.Zones, Sets: map[string][]types.ResourceRecordSet{"Z1": a.sets}, Checks: a.checks}
}

func (a *account) plan() *route53.Plan {
	return route53.Make(a.d.Owner, render(a.t, a.d), a.observed())
}

func setKey(s types.ResourceRecordSet) string {
	return aws.ToString(s.Name) + " " + string(s.Type) + " " + aws.ToString(s.SetIdentifier)
}

// apply makes the changes.
func (a *account) apply(p *route53.Plan) {
	a.t.Helper()
	a.checks = p.TakeChecks(a.checks)
	now := make(map[string]types.ResourceRecordSet)
	for _, s := range a.sets {
		now[setKey(s)] = s
	}
	for _, batch := range p.Batches() {
		for _, c := range batch {
			k := setKey(*c.ResourceRecordSet)
			_, there := now[k]
			if there == (c.Action == types.ChangeActionCreate) {
				a.t.Errorf("%s %s: is there: %v", c.Action, k, there)
			}
			if c.Action == types.ChangeActionDelete {
				delete(now, k)
			} else {
				now[k] = *c.ResourceRecordSet
			}
			for _, s := range now { // what was made, and what leads to what is gone
				touched := setKey(s) == k || s.AliasTarget != nil && c.Action == types.ChangeActionDelete && *s.AliasTarget.DNSName == *c.ResourceRecordSet.Name
				if touched && s.AliasTarget != nil && !leads(now, s) {
					a.t.Fatalf("after %s %s: %s leads to nothing (%s)", c.Action, k, setKey(s), *s.AliasTarget.DNSName)
				}
			}
		}
	}
	a.sets = slices.Collect(maps.Values(now))
}

// checkSizes holds a plan's calls against what one may change.
func checkSizes(t *testing.T, p *route53.Plan) {
	t.Helper()
	for _, batch := range p.Batches() {
		values, chars := 0, 0
		for _, c := range batch {
			times := 1
			if c.Action == types.ChangeActionUpsert {
				times = 2
			}
			for _, v := range c.ResourceRecordSet.ResourceRecords {
				values, chars = values+times, chars+times*len(*v.Value)
			}
		}
		if values > route53.BatchValuesMax || chars > route53.BatchCharsMax {
			t.Errorf("a call with %d values of %d characters", values, chars)
		}
	}
}

func leads(now map[string]types.ResourceRecordSet, s types.ResourceRecordSet) bool {
	for _, o := range now {
		if *o.Name == *s.AliasTarget.DNSName && o.Type == s.Type {
			return true
		}
	}
	return false
}

// A plan that was made leaves nothing to do; a drain changes what leads to the region, and taking it back undoes that; a region that is gone
// leaves nothing behind. At no moment does an alias lead to nothing.
func TestPlansConverge(t *testing.T) {
	cfg := config.Default()
	d, _ := deployment(t, cfg)
	a := &account{t: t, d: d}
	step := func(what string, create, modify, remove bool) *route53.Plan {
		t.Helper()
		p := a.plan()
		if (p.Count(route53.Create) > 0) != create || (p.Count(route53.Modify) > 0) != modify || (p.Count(route53.Delete) > 0) != remove {
			t.Errorf("%s: %d to create, %d to change, %d to delete", what, p.Count(route53.Create), p.Count(route53.Modify), p.Count(route53.Delete))
		}
		a.apply(p)
		if again := a.plan(); len(again.Changes) > 0 {
			t.Errorf("%s: planned again there are %d changes, as %s %v", what, len(again.Changes), again.Changes[0].Action, again.Changes[0].RecordIs)
		}
		return p
	}
	step("at first", true, false, false)
	a.d.States = decide.States{"eu-west": {Draining: true, DrainWeight: 0.75}}
	step("a drain begins", true, true, false)
	a.d.States = decide.States{"eu-west": {Draining: true, DrainWeight: 0.25}}
	p := step("its next step", false, true, false)
	for _, c := range p.Changes {
		if c.RecordIs != nil && (c.Action != route53.Modify || c.RecordIs.Weight != 25 && c.RecordIs.Weight != 75) {
			t.Errorf("the next step of a drain: %s %s", c.Action, c.RecordIs)
		}
	}
	a.d.States = nil
	step("taken back", false, true, true)
	a.d.States = decide.States{"eu-west": {Forced: decide.HealthDown}}
	step("forced down", true, true, true)
	a.d.States = nil
	step("released", true, true, true)

	cfg.Regions, cfg.Zones = cfg.Regions[1:], []config.Zone{{Name: "world", Regions: []chat.Region{"eu-west", "ap-south"}}}
	without, _ := deployment(t, cfg)
	a.d = without
	step("a region is gone", true, true, true)
	if len(a.checks) != 2 {
		t.Errorf("%d health checks are left", len(a.checks))
	}
	for _, s := range a.sets {
		if strings.Contains(fmt.Sprint(setKey(s), aws.ToString(s.HealthCheckId)), "us-east") || strings.HasSuffix(*s.Name, ".in.chat.meridian.test.") {
			t.Errorf("left: %s", setKey(s))
		}
	}
}

// A record of somebody else in the way, a CNAME, or a delegation is a refusal that names it, and so is a record of another deployment of
// the same name; what only lies beside ours is counted, and left alone.
func TestForeignRecordsAreRefused(t *testing.T) {
	d, _ := deployment(t, config.Default())
	simple := func(name, kind, value string) types.ResourceRecordSet {
		return types.ResourceRecordSet{Name: aws.String(name), Type: types.RRType(kind), TTL: aws.Int64(60), ResourceRecords: []types.ResourceRecord{{Value: aws.String(value)}}}
	}
	other := simple("chat.meridian.test.", "A", "192.0.2.1")
	other.SetIdentifier, other.Weight = aws.String(string(route53.OwnerOf("local", "other.meridian.test"))+"x/y"), aws.Int64(1)
	for why, set := range map[string]types.ResourceRecordSet{
		"chat.meridian.test. has a record of type A that is not ours":      simple("chat.meridian.test.", "A", "192.0.2.1"),
		"chat.meridian.test. has a record of type A that is not ours (192": other,
		"us-east.chat.meridian.test. has a record of type CNAME":           simple("us-east.chat.meridian.test.", "CNAME", "example.org."),
		"chat.meridian.test. is delegated to other name servers":           simple("chat.meridian.test.", "NS", "ns.example.org."),
		"meridian.test. is delegated":                                      simple("elsewhere.meridian.test.", "NS", "ns.example.org."),
	} {
		a := &account{t: t, d: d, sets: []types.ResourceRecordSet{simple("meridian.test.", "NS", "ns.example.org."), simple("chat.meridian.test.", "TXT", `"v=spf1"`), set}}
		p := a.plan()
		err := p.Err()
		if set.Name != nil && strings.HasPrefix(*set.Name, "elsewhere") {
			if err != nil || p.Others != 3 {
				t.Errorf("beside ours: %v, %d others", err, p.Others)
			}
			continue
		}
		if chat.CodeOf(err) != chat.CodeDenied || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %q", err, why)
		}
	}
}

// A region with several nodes is healthy while one of them is: its check is made of theirs, which are made before it. What the operator has
// forced stands in the check.
func TestChecksOfNodes(t *testing.T) {
	d, _ := deployment(t, config.Default())
	d.URLs["eu-west"] = []string{"https://one.example.org", "https://two.example.org:8443"}
	d.States = decide.States{"eu-west": {Forced: decide.HealthDown}, "us-east": {Forced: decide.HealthUp}}
	var got []string
	for _, c := range render(t, d).Checks {
		got = append(got, c.String())
	}
	want := []string{
		"health of us-east: http://127.0.0.1:8101/v1/probe every 10 s, down after 3 failures, forced up",
		"health of eu-west at one.example.org: https://one.example.org:443/v1/probe every 10 s, down after 3 failures",
		"health of eu-west at two.example.org:8443: https://two.example.org:8443/v1/probe every 10 s, down after 3 failures",
		"health of eu-west: one of 2 endpoints, forced down",
		"health of ap-south: http://127.0.0.1:8103/v1/probe every 10 s, down after 3 failures",
	}
	if !slices.Equal(got, want) {
		t.Errorf("checks:\n%s", strings.Join(got, "\n"))
	}
}

// What many regions make is cut to what one call may hold, and comes in an order in which nothing leads to nothing.
func TestBatches(t *testing.T) {
	cfg := twelve(t)
	for i := range cfg.Regions { // many values
		for j := range 150 {
			cfg.Regions[i].Addresses = append(cfg.Regions[i].Addresses, fmt.Sprintf("203.0.%d.%d", i, j+1))
		}
	}
	cfg.Router.Route53.Levels = config.Route53LevelsMax
	d, _ := deployment(t, cfg)
	a := &account{t: t, d: d}
	p := a.plan()
	checkSizes(t, p)
	if n := len(p.Batches()); n < 2 {
		t.Errorf("%d records in %d calls", len(p.Changes), n)
	}
	for i := range cfg.Regions { // few values of many characters
		for j := range cfg.Regions[i].Addresses {
			cfg.Regions[i].Addresses[j] = fmt.Sprintf("2001:db8:1111:2222:3333:4444:%x:%x", 0x1000+i, 0x1000+j)
		}
	}
	long, _ := deployment(t, cfg)
	checkSizes(t, (&account{t: t, d: long}).plan())
	records, longest := make(map[string]int), 0
	for _, c := range p.Changes {
		if r := c.RecordIs; r != nil && r.Location != "" {
			records[r.Name+r.Type]++
		} else if r != nil {
			longest = max(longest, len(r.ID))
		}
	}
	for name, n := range records {
		if n > 100 {
			t.Errorf("%s has %d geolocation records", name, n)
		}
	}
	if longest > 128 {
		t.Errorf("a set identifier of %d characters", longest)
	}
}
