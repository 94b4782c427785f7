// Package limits bounds what an address and a person may ask of a region: a token bucket for each of them and each class of
// requests, held by a chat.Limiter, which counts for all nodes of the region where they share one.
package limits

import (
	"context"
	"net/netip"

	"meridian/chat"
	"meridian/config"
)

// Class is a kind of requests with a limit of its own; it is also the label of the metric.
type Class string

// The classes. Of an address: Requests counts every REST call and socket where it enters the region, Auth those that may cost a
// password check. Of a person: REST calls that only read, and that change something; names looked up; sends over a socket.
const (
	Requests Class = "requests"
	Auth     Class = "auth"
	Reads    Class = "reads"
	Writes   Class = "writes"
	Lookups  Class = "lookups"
	Sends    Class = "sends"
)

// How many seconds' worth may come at once. A log-in is rare, and a person who opens a page looks many names up.
const (
	burstSeconds       = 10
	authBurstSeconds   = 60
	lookupBurstSeconds = 60
)

// Metrics counts by names of the project's list.
type Metrics interface {
	Count(name string, labels ...string)
}

// Limits takes from the buckets.
type Limits struct {
	limiter chat.Limiter
	metrics Metrics
	classes map[Class]rule
}

type rule struct {
	chat.Limit
	refusal string
}

// New makes Limits of the configured sizes.
func New(limiter chat.Limiter, l config.Limits, metrics Metrics) *Limits {
	of := func(perSecond, seconds float64, refusal string) rule {
		return rule{chat.Limit{PerSecond: perSecond, Burst: perSecond * seconds}, refusal}
	}
	return &Limits{limiter: limiter, metrics: metrics, classes: map[Class]rule{
		Requests: of(l.AddressRequestsPerSecond, burstSeconds, "too many requests from this address"),
		Auth:     of(l.AuthPerMinute/60, authBurstSeconds, "too many sign-ups and log-ins from this address"),
		Reads:    of(l.UserReadsPerSecond, burstSeconds, "too many requests"),
		Writes:   of(l.UserWritesPerSecond, burstSeconds, "too many changes"),
		Lookups:  of(l.LookupsPerSecond, lookupBurstSeconds, "too many look-ups of names"),
		Sends:    of(l.SendsPerSecond, burstSeconds, "too many sends"),
	}}
}

// Take takes one request of a class from who's bucket. The error has CodeRateLimited with RetryAfter.
func (l *Limits) Take(ctx context.Context, class Class, who Who) error {
	r := l.classes[class]
	ok, wait := l.limiter.Take(ctx, string(class)+":"+string(who), r.Limit, 1)
	if ok {
		return nil
	}
	l.metrics.Count("rate_limited_total", string(class))
	return &chat.Error{Code: chat.CodeRateLimited, Op: "limits.Take", Message: r.refusal, RetryAfter: wait}
}

// Who is whose bucket it is.
type Who string

// User names a person.
func User(id chat.UserID) Who { return Who("u:" + id.String()) }

// Address names a client's address: the address for IPv4, the /64 for IPv6, since one subscriber has as many IPv6 addresses as he
// likes. Unknown addresses share one.
func Address(addr netip.Addr) Who {
	addr = addr.Unmap()
	if addr.Is6() {
		if prefix, err := addr.WithZone("").Prefix(64); err == nil {
			return Who("a:" + prefix.String())
		}
	}
	return Who("a:" + addr.String())
}
