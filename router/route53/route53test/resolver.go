// Package route53test answers from record sets as Amazon Route 53 does by its documentation, so that tests can ask what was rendered.
package route53test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
)

// Client is who asks: where Route 53's data puts it, and its place in [0, 1) for weights.
type Client struct {
	Continent, Country, State string
	Chance                    float64
}

// Resolver answers from the record sets of a hosted zone. Down are the health checks, by id, that fail.
type Resolver struct {
	sets map[[2]string][]types.ResourceRecordSet // by name and type
	Down map[string]bool
}

// New makes a resolver of record sets.
func New(sets []types.ResourceRecordSet) *Resolver {
	r := &Resolver{sets: make(map[[2]string][]types.ResourceRecordSet)}
	for _, s := range sets {
		at := [2]string{fqdn(aws.ToString(s.Name)), string(s.Type)}
		r.sets[at] = append(r.sets[at], s)
	}
	return r
}

func fqdn(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) + "." }

// depthMax bounds a chain of aliases.
const depthMax = 64

// Answer gives the values that a client gets for a name and type. The error names an alias that leads to nothing, or in a circle.
func (r *Resolver) Answer(name, kind string, c Client) ([]string, error) {
	for range depthMax {
		group := r.sets[[2]string{fqdn(name), kind}]
		if len(group) == 0 {
			return nil, fmt.Errorf("%s %s has no records", name, kind)
		}
		one, ok := r.choose(group, c)
		switch {
		case !ok:
			return nil, nil
		case one.AliasTarget == nil:
			var values []string
			for _, v := range one.ResourceRecords {
				values = append(values, aws.ToString(v.Value))
			}
			return values, nil
		}
		name = aws.ToString(one.AliasTarget.DNSName)
	}
	return nil, fmt.Errorf("%s %s leads in a circle", name, kind)
}

// choose picks a record of a group by its routing policy: first among the healthy ones, or, if there are none, as if all were.
func (r *Resolver) choose(group []types.ResourceRecordSet, c Client) (types.ResourceRecordSet, bool) {
	var healthy []types.ResourceRecordSet
	for _, s := range group {
		if r.healthy(s, 0) {
			healthy = append(healthy, s)
		}
	}
	if one, ok := pick(healthy, c); ok {
		return one, true
	}
	return pick(group, c)
}

// pick picks by the policy alone.
func pick(group []types.ResourceRecordSet, c Client) (types.ResourceRecordSet, bool) {
	switch {
	case len(group) == 0:
		return types.ResourceRecordSet{}, false
	case group[0].GeoLocation != nil:
		return pickLocation(group, c)
	case group[0].Failover != "":
		for _, role := range []types.ResourceRecordSetFailover{types.ResourceRecordSetFailoverPrimary, types.ResourceRecordSetFailoverSecondary} {
			for _, s := range group {
				if s.Failover == role {
					return s, true
				}
			}
		}
	case group[0].Weight != nil:
		return pickWeight(group, c)
	}
	return group[0], true
}

// pickLocation goes from the smallest place to the largest.
func pickLocation(group []types.ResourceRecordSet, c Client) (types.ResourceRecordSet, bool) {
	for _, fits := range []func(*types.GeoLocation) bool{
		func(g *types.GeoLocation) bool {
			return c.State != "" && aws.ToString(g.CountryCode) == c.Country && aws.ToString(g.SubdivisionCode) == c.State
		},
		func(g *types.GeoLocation) bool {
			return c.Country != "" && aws.ToString(g.CountryCode) == c.Country && g.SubdivisionCode == nil
		},
		func(g *types.GeoLocation) bool {
			return c.Continent != "" && aws.ToString(g.ContinentCode) == c.Continent
		},
		func(g *types.GeoLocation) bool { return aws.ToString(g.CountryCode) == "*" },
	} {
		for _, s := range group {
			if fits(s.GeoLocation) {
				return s, true
			}
		}
	}
	return types.ResourceRecordSet{}, false
}

// pickWeight picks by the client's chance; who has weight 0 is left for when nobody has more.
func pickWeight(group []types.ResourceRecordSet, c Client) (types.ResourceRecordSet, bool) {
	sorted := slices.SortedFunc(slices.Values(group), func(a, b types.ResourceRecordSet) int {
		return strings.Compare(aws.ToString(b.SetIdentifier), aws.ToString(a.SetIdentifier))
	})
	var sum int64
	for _, s := range sorted {
		sum += aws.ToInt64(s.Weight)
	}
	at := c.Chance * float64(sum)
	for _, s := range sorted {
		if at -= float64(aws.ToInt64(s.Weight)); at < 0 {
			return s, true
		}
	}
	return sorted[0], true
}

// healthy says whether Route 53 takes a record for healthy: without a health check and without one behind its alias it is.
func (r *Resolver) healthy(s types.ResourceRecordSet, depth int) bool {
	if id := aws.ToString(s.HealthCheckId); id != "" && r.Down[id] {
		return false
	}
	if s.AliasTarget == nil || !s.AliasTarget.EvaluateTargetHealth || depth > depthMax {
		return true
	}
	behind := r.sets[[2]string{fqdn(aws.ToString(s.AliasTarget.DNSName)), string(s.Type)}]
	return slices.ContainsFunc(behind, func(t types.ResourceRecordSet) bool { return r.healthy(t, depth+1) })
}
