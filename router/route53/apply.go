package route53

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"meridian/chat"
)

const (
	// What one call may change: values, and characters in them; what is changed counts twice.
	batchValuesMax = 1000
	batchCharsMax  = 32_000
	// syncEvery is between two looks whether all name servers have a change, syncWithin how long that is waited for.
	syncEvery  = 2 * time.Second
	syncWithin = 10 * time.Minute
	nonceChars = 12
)

// Progress takes one line for a person who waits.
type Progress func(line string)

func (p Progress) say(format string, args ...any) {
	if p != nil {
		p(fmt.Sprintf(format, args...))
	}
}

// Apply makes a plan's changes and waits until all name servers have them. What is led to comes before what leads there, so that names are
// answered all the time, also when it is broken off: then a new plan says what is left. A plan that is refused changes nothing. The error
// has CodeVersionConflict when the zone is not as it was planned for; else it is that of the plan or of the API.
func (c *Client) Apply(ctx context.Context, p *Plan, progress Progress) error {
	if err := p.Err(); err != nil {
		return err
	}
	for _, change := range p.Changes {
		if change.CheckIs == nil {
			continue
		}
		if err := c.putCheck(ctx, p, change); err != nil {
			return err
		}
		progress.say("%s %s", change.Action, change.CheckIs)
	}
	if err := c.putRecords(ctx, p, progress); err != nil {
		return err
	}
	for _, change := range p.Changes {
		if change.CheckIs != nil || change.CheckWas == nil {
			continue
		}
		in := &route53.DeleteHealthCheckInput{HealthCheckId: aws.String(change.id)}
		if _, err := call(ctx, c, "Apply", c.api.DeleteHealthCheck, in); err != nil && chat.CodeOf(err) != chat.CodeNotFound {
			return err
		}
		progress.say("delete %s", change.CheckWas)
	}
	return nil
}

// putCheck makes or changes a health check.
func (c *Client) putCheck(ctx context.Context, p *Plan, change Change) error {
	check := change.CheckIs
	h := check.config(p.ids)
	if change.Action == Modify {
		_, err := call(ctx, c, "Apply", c.api.UpdateHealthCheck, &route53.UpdateHealthCheckInput{
			HealthCheckId: aws.String(change.id), ChildHealthChecks: h.ChildHealthChecks, Disabled: h.Disabled, Inverted: h.Inverted,
			FailureThreshold: h.FailureThreshold, HealthThreshold: h.HealthThreshold,
		})
		return err
	}
	made, err := call(ctx, c, "Apply", c.api.CreateHealthCheck, &route53.CreateHealthCheckInput{
		CallerReference: aws.String(check.reference(p.owner, rand.Text()[:nonceChars])), HealthCheckConfig: h,
	})
	if err != nil {
		return err
	}
	id := aws.ToString(made.HealthCheck.Id)
	p.ids[check.Key] = id
	_, err = call(ctx, c, "Apply", c.api.ChangeTagsForResource, &route53.ChangeTagsForResourceInput{
		ResourceType: types.TagResourceTypeHealthcheck, ResourceId: aws.String(id),
		AddTags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("meridian: " + check.Key)}},
	})
	return err
}

// batch is what goes to one hosted zone in one call.
type batch struct {
	zone    string
	changes []types.Change
}

// batches cuts a plan's changes of records, in their order, to what one call may hold.
func (p *Plan) batches() []batch {
	var out []batch
	values, chars := 0, 0
	for _, change := range p.Changes {
		if change.RecordIs == nil && change.RecordWas == nil {
			continue
		}
		zone, one := "", types.Change{}
		switch change.Action {
		case Create, Modify:
			set := change.RecordIs.set(p.ids)
			zone, one = change.RecordIs.Zone, types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: &set}
			if change.Action == Modify {
				one.Action = types.ChangeActionUpsert
			}
		case Delete:
			zone, one = change.RecordWas.Zone, types.Change{Action: types.ChangeActionDelete, ResourceRecordSet: &change.set}
		}
		v, c := size(one)
		if len(out) == 0 || out[len(out)-1].zone != zone || values+v > batchValuesMax || chars+c > batchCharsMax {
			out = append(out, batch{zone: zone})
			values, chars = 0, 0
		}
		last := &out[len(out)-1]
		last.changes = append(last.changes, one)
		values, chars = values+v, chars+c
	}
	return out
}

// size gives how much of a call's limits a change takes. An alias has no value; it counts as one, to be on the safe side.
func size(c types.Change) (values, chars int) {
	values = max(1, len(c.ResourceRecordSet.ResourceRecords))
	for _, r := range c.ResourceRecordSet.ResourceRecords {
		chars += len(aws.ToString(r.Value))
	}
	if a := c.ResourceRecordSet.AliasTarget; a != nil {
		chars += len(aws.ToString(a.DNSName))
	}
	if c.Action == types.ChangeActionUpsert {
		return 2 * values, 2 * chars
	}
	return values, chars
}

func (c *Client) putRecords(ctx context.Context, p *Plan, progress Progress) error {
	all := p.batches()
	var ids []string
	for i, b := range all {
		done, err := call(ctx, c, "Apply", c.api.ChangeResourceRecordSets, &route53.ChangeResourceRecordSetsInput{
			HostedZoneId: aws.String(b.zone), ChangeBatch: &types.ChangeBatch{Changes: b.changes, Comment: aws.String("meridian route53 apply")},
		})
		if err != nil {
			return err
		}
		ids = append(ids, aws.ToString(done.ChangeInfo.Id))
		progress.say("batch %d of %d: %d changes of records are taken", i+1, len(all), len(b.changes))
	}
	end := time.Now().Add(syncWithin)
	for i, id := range ids {
		for {
			got, err := call(ctx, c, "Apply", c.api.GetChange, &route53.GetChangeInput{Id: aws.String(id)})
			if err != nil {
				return err
			}
			if got.ChangeInfo.Status == types.ChangeStatusInsync {
				progress.say("batch %d of %d: all name servers have it", i+1, len(ids))
				break
			}
			if time.Now().After(end) {
				return &chat.Error{Code: chat.CodeBusy, Op: "route53.Apply", Message: fmt.Sprintf("the changes are taken, but not all name servers have them after %s", syncWithin)}
			}
			progress.say("batch %d of %d: %s", i+1, len(ids), got.ChangeInfo.Status)
			if err := pause(ctx, syncEvery); err != nil {
				return err
			}
		}
	}
	return nil
}
