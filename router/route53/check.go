package route53

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
)

// probePath tells whether a message gets through a region now (decision 0028).
const probePath = "/v1/probe"

// Check is a health check of ours: of one endpoint, or of a region with several, which is healthy while one of them is.
type Check struct {
	// Key is "health of REGION", for an endpoint of several with its URL.
	Key      string   `json:"key"`
	Type     string   `json:"type"` // HTTP, HTTPS or CALCULATED
	Host     string   `json:"host,omitempty"`
	Port     int32    `json:"port,omitempty"`
	Interval int32    `json:"interval_seconds,omitempty"`
	Failures int32    `json:"failures,omitempty"`
	Children []string `json:"children,omitempty"` // keys, sorted
	// Forced is the operator's word: up or down whatever is seen.
	Forced decide.Health `json:"forced,omitempty"`
}

// String is how people read it.
func (c Check) String() string {
	text := c.Key + ": "
	if c.Type == string(types.HealthCheckTypeCalculated) {
		text += fmt.Sprintf("one of %d endpoints", len(c.Children))
	} else {
		text += fmt.Sprintf("%s://%s:%d%s every %d s, down after %d failures", strings.ToLower(c.Type), c.Host, c.Port, probePath, c.Interval, c.Failures)
	}
	if c.Forced != "" {
		text += ", forced " + string(c.Forced)
	}
	return text
}

// checksOf gives a region's health checks, the one that its records hang on last. The error has CodeInvalid.
func checksOf(region chat.Region, urls []string, cfg config.Route53, forced decide.Health) ([]Check, error) {
	whole := "health of " + string(region)
	var out []Check
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return nil, invalid("region %s: %q is no URL", region, text)
		}
		c := Check{
			Key: whole + " at " + u.Host, Type: strings.ToUpper(u.Scheme), Host: u.Hostname(),
			Interval: int32(cfg.HealthInterval.Seconds()), Failures: int32(cfg.HealthFailures), Port: 80,
		}
		if c.Type == string(types.HealthCheckTypeHttps) {
			c.Port = 443
		}
		if p, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
			c.Port = int32(p)
		}
		out = append(out, c)
	}
	if len(out) == 1 {
		out[0].Key = whole
	} else {
		all := Check{Key: whole, Type: string(types.HealthCheckTypeCalculated)}
		for _, c := range out {
			all.Children = append(all.Children, c.Key)
		}
		slices.Sort(all.Children)
		out = append(out, all)
	}
	out[len(out)-1].Forced = forced
	return out, nil
}

// config gives the check as the API takes it. A disabled check counts as healthy, a disabled and inverted one as not.
func (c Check) config(ids map[string]string) *types.HealthCheckConfig {
	h := &types.HealthCheckConfig{
		Type: types.HealthCheckType(c.Type), Disabled: aws.Bool(c.Forced != ""), Inverted: aws.Bool(c.Forced == decide.HealthDown),
	}
	if h.Type == types.HealthCheckTypeCalculated {
		h.HealthThreshold = aws.Int32(1)
		for _, child := range c.Children {
			h.ChildHealthChecks = append(h.ChildHealthChecks, ids[child])
		}
		return h
	}
	h.ResourcePath, h.Port = aws.String(probePath), aws.Int32(c.Port)
	h.RequestInterval, h.FailureThreshold = aws.Int32(c.Interval), aws.Int32(c.Failures)
	h.EnableSNI = aws.Bool(h.Type == types.HealthCheckTypeHttps)
	if _, err := netip.ParseAddr(c.Host); err == nil {
		h.IPAddress = aws.String(c.Host)
	} else {
		h.FullyQualifiedDomainName = aws.String(c.Host)
	}
	return h
}

// identity is what of a check cannot be changed, or is not: another endpoint is another check.
func (c Check) identity() string {
	return short(fmt.Sprintf("%s %s %s %d %d", c.Key, c.Type, c.Host, c.Port, c.Interval))
}

// reference gives what the API calls the caller's reference, which tells whose a check is. That of a check which was deleted may never be
// used again, so nonce makes it new.
func (c Check) reference(owner Owner, nonce string) string {
	return owner.references() + c.identity() + "/" + nonce
}

// references is how the references of the deployment's checks begin; a whole one has at most 64 characters.
func (o Owner) references() string { return "meridian/" + short(string(o)) + "/" }

// checkOf reads what the API gives; keys are those of our checks by their ids.
func checkOf(h types.HealthCheck, keys map[string]string) Check {
	f := h.HealthCheckConfig
	c := Check{Key: keys[aws.ToString(h.Id)], Type: string(f.Type)}
	switch {
	case aws.ToBool(f.Disabled) && aws.ToBool(f.Inverted):
		c.Forced = decide.HealthDown
	case aws.ToBool(f.Disabled):
		c.Forced = decide.HealthUp
	}
	if f.Type == types.HealthCheckTypeCalculated {
		for _, id := range f.ChildHealthChecks {
			c.Children = append(c.Children, cmp.Or(keys[id], id))
		}
		slices.Sort(c.Children)
		return c
	}
	c.Host = cmp.Or(aws.ToString(f.IPAddress), aws.ToString(f.FullyQualifiedDomainName))
	c.Port, c.Interval, c.Failures = aws.ToInt32(f.Port), aws.ToInt32(f.RequestInterval), aws.ToInt32(f.FailureThreshold)
	return c
}

// same says that two checks of one key need no change.
func (c Check) same(o Check) bool {
	return c.String() == o.String() && slices.Equal(c.Children, o.Children)
}

func invalid(format string, args ...any) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "route53.Render", Message: fmt.Sprintf(format, args...)}
}
