package config

import (
	"fmt"
	"net/url"
	"regexp"
	"time"
)

// Route53 configures `meridian route53`, for those who keep their DNS at Amazon Route 53 instead of asking GeoDNS.
type Route53 struct {
	// HostedZones are the ids of public hosted zones; the domain, and each zone's own host, must lie in one of them.
	HostedZones []string `yaml:"hosted_zones"`
	// Endpoint is the API's base URL; empty: Amazon's. Region is the one that requests are signed for.
	Endpoint string `yaml:"endpoint"`
	Region   string `yaml:"region"`
	// Levels is how many regions of an order become records: whoever is nearest to the first gets the next when it is down, and so on.
	Levels int `yaml:"levels"`
	// HealthInterval is how often Route 53 asks a region's /v1/probe, 10s or 30s; it is down after HealthFailures in a row.
	HealthInterval time.Duration `yaml:"health_interval"`
	HealthFailures int           `yaml:"health_failures"`
	// RequestsPerSecond bounds the calls; Amazon allows an account five.
	RequestsPerSecond int `yaml:"requests_per_second"`
}

// Route53LevelsMax bounds Route53.Levels: each is one more alias on the way to an address.
const Route53LevelsMax = 8

func defaultRoute53() Route53 {
	return Route53{Region: "us-east-1", Levels: 3, HealthInterval: 10 * time.Second, HealthFailures: 3, RequestsPerSecond: 4}
}

var (
	hostedZonePattern = regexp.MustCompile(`^[A-Z0-9]{1,32}$`)
	awsRegionPattern  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z0-9]{1,16}){1,4}$`)
)

func (v *validator) checkRoute53() {
	const at = "router.route53"
	r := v.config.Router.Route53
	for i, id := range r.HostedZones {
		if !hostedZonePattern.MatchString(id) {
			v.add(fmt.Sprintf("%s.hosted_zones[%d]", at, i), `%s is not the id of a hosted zone; allowed: 1 to 32 of A-Z and 0-9, as in "Z0123456789ABCDEFGHIJ"`, quote(id))
		}
	}
	if r.Endpoint != "" {
		if u, err := url.Parse(r.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			v.add(at+".endpoint", "%s is not a URL; it begins with http:// or https://", quote(r.Endpoint))
		}
	}
	if !awsRegionPattern.MatchString(r.Region) {
		v.add(at+".region", `%s is not a region of Amazon's, as in "us-east-1"`, quote(r.Region))
	}
	within(v, at+".levels", r.Levels, 1, Route53LevelsMax)
	if r.HealthInterval != 10*time.Second && r.HealthInterval != 30*time.Second {
		v.add(at+".health_interval", "%v is not allowed; Route 53 knows 10s and 30s", r.HealthInterval)
	}
	within(v, at+".health_failures", r.HealthFailures, 1, 10)
	within(v, at+".requests_per_second", r.RequestsPerSecond, 1, 100)
}
