package route53

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"

	"meridian/chat"
	"meridian/config"
)

const (
	// attemptsMax bounds how often a call is made that was throttled or met a zone which was still changing; in between it waits longer
	// each time, up to backoffMax.
	attemptsMax = 8
	backoffMax  = 10 * time.Second
	// pagesMax bounds a listing.
	pagesMax = 1000
)

// Client speaks to Route 53, with the credentials of Amazon's standard chain: environment, shared files, roles.
type Client struct {
	api   *route53.Client
	every time.Duration

	mu   sync.Mutex
	next time.Time
}

// NewClient makes a client. The error has CodeInvalid: the standard chain's files cannot be read.
func NewClient(ctx context.Context, cfg config.Route53) (*Client, error) {
	all, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(cfg.Region), awsconfig.WithRetryer(func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = attemptsMax, backoffMax })
	}))
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "route53.NewClient", Message: "Amazon's configuration cannot be read", Cause: err}
	}
	api := route53.NewFromConfig(all, func(o *route53.Options) {
		if cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.Endpoint)
		}
	})
	return &Client{api: api, every: time.Second / time.Duration(max(1, cfg.RequestsPerSecond))}, nil
}

// pace waits until the next call may be made.
func (c *Client) pace(ctx context.Context) error {
	c.mu.Lock()
	now := time.Now()
	at := c.next
	if at.Before(now) {
		at = now
	}
	c.next = at.Add(c.every)
	c.mu.Unlock()
	return pause(ctx, at.Sub(now))
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// call makes one call at the allowed pace.
func call[In, Out any](ctx context.Context, c *Client, what string, do func(context.Context, *In, ...func(*route53.Options)) (*Out, error), in *In) (*Out, error) {
	if err := c.pace(ctx); err != nil {
		return nil, err
	}
	out, err := do(ctx, in)
	if err != nil {
		return nil, failure(what, err)
	}
	return out, nil
}

// failure turns an error of the API into ours: CodeVersionConflict when the zone is not as it was listed, CodeUnauthorized and CodeNotFound
// as they say, CodeBusy when Route 53 throttles or does not answer, else CodeInvalid with what it says.
func failure(what string, err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return &chat.Error{Code: chat.CodeBusy, Op: "route53." + what, Message: "Route 53 does not answer, or there are no credentials: " + err.Error(), Cause: err}
	}
	code := chat.CodeInvalid
	switch api.ErrorCode() {
	case "InvalidChangeBatch", "HealthCheckVersionMismatch", "HealthCheckAlreadyExists":
		code = chat.CodeVersionConflict
	case "AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "UnrecognizedClientException":
		code = chat.CodeUnauthorized
	case "NoSuchHostedZone", "NoSuchHealthCheck", "NoSuchChange":
		code = chat.CodeNotFound
	case "Throttling", "ThrottlingException", "PriorRequestNotComplete", "ServiceUnavailable", "InternalFailure":
		code = chat.CodeBusy
	}
	return &chat.Error{Code: code, Op: "route53." + what, Message: "Route 53 says " + api.ErrorCode() + ": " + api.ErrorMessage(), Cause: err}
}

// HostedZones looks up hosted zones. The errors are those of the API; CodeInvalid for a private zone, which knows no geolocation.
func (c *Client) HostedZones(ctx context.Context, ids []string) ([]HostedZone, error) {
	var out []HostedZone
	for _, id := range ids {
		answer, err := call(ctx, c, "HostedZones", c.api.GetHostedZone, &route53.GetHostedZoneInput{Id: aws.String(id)})
		if err != nil {
			return nil, err
		}
		if z := answer.HostedZone; z.Config != nil && z.Config.PrivateZone {
			return nil, &chat.Error{Code: chat.CodeInvalid, Op: "route53.HostedZones", Message: "hosted zone " + id + " is private: geolocation records need a public one"}
		}
		out = append(out, HostedZone{ID: id, Name: lower(aws.ToString(answer.HostedZone.Name))})
	}
	return out, nil
}

// Observe lists what there is in the hosted zones, and all health checks.
func (c *Client) Observe(ctx context.Context, zones []HostedZone) (Observed, error) {
	o := Observed{Zones: zones, Sets: make(map[string][]types.ResourceRecordSet)}
	for _, z := range zones {
		var err error
		if o.Sets[z.ID], err = c.sets(ctx, z.ID); err != nil {
			return o, err
		}
	}
	var err error
	o.Checks, err = c.checks(ctx)
	return o, err
}

// sets lists the record sets of a zone. A page may begin again with what the last one ended with.
func (c *Client) sets(ctx context.Context, zone string) ([]types.ResourceRecordSet, error) {
	var out []types.ResourceRecordSet
	seen := make(map[key]bool)
	in := &route53.ListResourceRecordSetsInput{HostedZoneId: aws.String(zone)}
	for range pagesMax {
		page, err := call(ctx, c, "Observe", c.api.ListResourceRecordSets, in)
		if err != nil {
			return nil, err
		}
		fresh := false
		for _, set := range page.ResourceRecordSets {
			if k := recordOf(zone, set, nil).key(); !seen[k] {
				seen[k], fresh = true, true
				out = append(out, set)
			}
		}
		if !page.IsTruncated {
			return out, nil
		}
		if !fresh {
			break
		}
		in.StartRecordName, in.StartRecordType, in.StartRecordIdentifier = page.NextRecordName, page.NextRecordType, page.NextRecordIdentifier
	}
	return nil, &chat.Error{Code: chat.CodeInternal, Op: "route53.Observe", Message: "the records of hosted zone " + zone + " cannot be listed to the end"}
}

func (c *Client) checks(ctx context.Context) ([]types.HealthCheck, error) {
	var out []types.HealthCheck
	in := &route53.ListHealthChecksInput{}
	for range pagesMax {
		page, err := call(ctx, c, "Observe", c.api.ListHealthChecks, in)
		if err != nil {
			return nil, err
		}
		for _, h := range page.HealthChecks {
			if h.Id != nil && h.HealthCheckConfig != nil {
				out = append(out, h)
			}
		}
		if !page.IsTruncated {
			return out, nil
		}
		in.Marker = page.NextMarker
	}
	return nil, &chat.Error{Code: chat.CodeInternal, Op: "route53.Observe", Message: "the health checks cannot be listed to the end"}
}
