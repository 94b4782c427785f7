package route53

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
)

// ContinentOf gives a country's continent.
func ContinentOf(country string) string { return continentOf[country] }

// Sets gives records as the API takes them, each health check under its key as id.
func Sets(records []Record, checks []Check) []types.ResourceRecordSet {
	ids := make(map[string]string)
	for _, c := range checks {
		ids[c.Key] = c.Key
	}
	var out []types.ResourceRecordSet
	for _, r := range records {
		out = append(out, r.set(ids))
	}
	return out
}

// Batches gives what Apply would send, call by call.
func (p *Plan) Batches() [][]types.Change {
	var out [][]types.Change
	for _, b := range p.batches() {
		out = append(out, b.changes)
	}
	return out
}

// BatchValuesMax and BatchCharsMax are what one call may change.
const (
	BatchValuesMax = batchValuesMax
	BatchCharsMax  = batchCharsMax
)

// TakeChecks gives the health checks after a plan's changes of them.
func (p *Plan) TakeChecks(have []types.HealthCheck) []types.HealthCheck {
	for _, c := range p.Changes {
		if c.CheckIs == nil && c.CheckWas == nil {
			continue
		}
		id := c.id
		if c.Action == Create {
			id = c.CheckIs.identity()
			p.ids[c.CheckIs.Key] = id
		}
		have = slices.DeleteFunc(slices.Clone(have), func(h types.HealthCheck) bool { return *h.Id == id })
		if c.CheckIs != nil {
			have = append(have, types.HealthCheck{Id: aws.String(id), CallerReference: aws.String(c.CheckIs.reference(p.owner, "nonce")), HealthCheckConfig: c.CheckIs.config(p.ids)})
		}
	}
	return have
}
