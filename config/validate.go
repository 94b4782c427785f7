package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"meridian/chat"
)

// Validate says all that is wrong with c, as Problems; nil when nothing is. It looks at c only: it opens no file and no
// socket.
func (c *Config) Validate() error {
	v := &validator{config: c, regions: map[chat.Region]bool{}, zones: map[chat.Zone]bool{}}
	v.name("name", c.Name)
	v.filled("data_dir", c.DataDir)
	for _, r := range c.Regions {
		v.regions[r.Name] = true
	}
	for _, z := range c.Zones {
		v.zones[z.Name] = true
	}
	v.checkRegions()
	v.checkZones()
	v.checkHomeZones()
	v.checkRouter()
	v.checkNameServer()
	v.checkNetwork()
	v.checkSecurity()
	v.checkLimits()
	v.checkRetention()
	v.checkTiming()
	v.checkTelemetry()
	if len(v.problems) == 0 {
		return nil
	}
	return v.problems
}

type validator struct {
	config    *Config
	regions   map[chat.Region]bool
	zones     map[chat.Zone]bool
	listeners []listener
	problems  Problems
}

func (v *validator) add(path, format string, args ...any) {
	v.problems = append(v.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	domainPattern  = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	countryPattern = regexp.MustCompile(`^[A-Z]{2}$`)
)

// name checks a name that ends up in certificates, file names and labels.
func (v *validator) name(path, value string) {
	if !namePattern.MatchString(value) {
		v.add(path, "%s is not a name; allowed: 1 to 32 of a-z, 0-9 and, inside, -", quote(value))
	}
}

func (v *validator) filled(path, value string) {
	if strings.TrimSpace(value) == "" {
		v.add(path, "is missing")
	}
}

func (v *validator) country(path, value string) {
	if !countryPattern.MatchString(value) {
		v.add(path, `%s is not a country; allowed: two capital letters of ISO 3166-1, as in "DE"`, quote(value))
	}
}

func (v *validator) region(path string, value chat.Region) {
	if !v.regions[value] {
		v.add(path, "%s is not a region; known: %s", quote(string(value)), join(v.regions))
	}
}

func (v *validator) zone(path string, value chat.Zone) {
	if !v.zones[value] {
		v.add(path, "%s is not a zone; known: %s", quote(string(value)), join(v.zones))
	}
}

// regionList checks regions that are known, each once.
func (v *validator) regionList(path string, list []chat.Region) {
	for i, r := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		v.region(at, r)
		if slices.Contains(list[:i], r) {
			v.add(at, "%s stands in the list twice", quote(string(r)))
		}
	}
}

func join[K ~string](set map[K]bool) string {
	words := make([]string, 0, len(set))
	for _, k := range slices.Sorted(maps.Keys(set)) {
		words = append(words, string(k))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// within checks lo <= value <= hi; NaN is outside.
func within[T cmp.Ordered](v *validator, path string, value, lo, hi T) {
	if !(value >= lo && value <= hi) {
		v.add(path, "%v is out of bounds; allowed: %v to %v", value, lo, hi)
	}
}

// oneOf checks a word against the words that are allowed.
func oneOf[T ~string](v *validator, path string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	v.add(path, "%s is not allowed; allowed: %s", quote(string(value)), strings.Join(words, ", "))
}

// origin checks a base URL: scheme, host, nothing behind.
func (v *validator) origin(path, value string) {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil {
		v.add(path, "%s is not a base URL; allowed: http:// or https://, a host, and nothing behind it", quote(value))
	}
}

func (v *validator) checkHomeZones() {
	v.zone("home_zones.default", v.config.HomeZones.Default)
	for _, country := range slices.Sorted(maps.Keys(v.config.HomeZones.Countries)) {
		v.country("home_zones.countries", country)
		v.zone("home_zones.countries."+country, v.config.HomeZones.Countries[country])
	}
}

func (v *validator) checkRouter() {
	r := v.config.Router
	if r.DNS != "" {
		v.listenAddress("router.dns", r.DNS)
	}
	if r.URL != "" {
		v.origin("router.url", r.URL)
	}
	if !domainPattern.MatchString(r.Domain) || len(r.Domain) > 253 {
		v.add("router.domain", "%s is not a domain name; allowed: lower-case labels joined by dots, without a dot at the end", quote(r.Domain))
	}
	within(v, "router.ttl", r.TTL, time.Second, time.Hour)
	within(v, "router.ttl_degraded", r.TTLDegraded, time.Second, time.Hour)
	within(v, "router.answer_regions", r.AnswerRegions, 1, chat.MaxRegions)
	v.checkGeo()
	v.checkLearned()
	for _, name := range slices.Sorted(maps.Keys(r.BiasMs)) {
		v.region("router.bias_ms", name)
		within(v, "router.bias_ms."+string(name), r.BiasMs[name], -1000, 1000)
	}
	for _, country := range slices.Sorted(maps.Keys(r.Prefer)) {
		v.country("router.prefer", country)
		v.regionList("router.prefer."+country, r.Prefer[country])
	}
	for _, country := range slices.Sorted(maps.Keys(r.Never)) {
		v.country("router.never", country)
		v.regionList("router.never."+country, r.Never[country])
		if len(v.regions) > 0 && len(r.Never[country]) >= len(v.regions) {
			v.add("router.never."+country, "takes out all regions; at least one must remain")
		}
	}
	v.checkOverrides()
	v.checkRoute53()
	h := r.Health
	within(v, "router.health.interval", h.Interval, 100*time.Millisecond, time.Minute)
	within(v, "router.health.timeout", h.Timeout, 50*time.Millisecond, time.Minute)
	if h.Timeout > h.Interval {
		v.add("router.health.timeout", "%v is longer than router.health.interval (%v)", h.Timeout, h.Interval)
	}
	within(v, "router.health.down", h.Down, 1, 100)
	within(v, "router.health.ok", h.OK, 1, 100)
	within(v, "router.health.up", h.Up, 1, 100)
}

func (v *validator) checkNetwork() {
	n := v.config.Network
	within(v, "network.delay_scale", n.DelayScale, 0, 10)
	v.networks("network.trusted_proxies", n.TrustedProxies)
	v.networks("network.proxy_protocol", n.ProxyProtocol)
	v.checkTLS()
	for i, origin := range n.AllowedOrigins {
		if origin != "*" {
			v.origin(fmt.Sprintf("network.allowed_origins[%d]", i), origin)
		}
	}
}

func (v *validator) checkTelemetry() {
	t := v.config.Telemetry
	oneOf(v, "telemetry.log_level", t.LogLevel, "debug", "info", "warn", "error")
	oneOf(v, "telemetry.log_format", t.LogFormat, "text", "json")
	if file, ok := strings.CutPrefix(t.Traces, "file:"); !ok || file == "" {
		if t.Traces != "off" && t.Traces != "log" {
			v.add("telemetry.traces", "%s is not allowed; allowed: off, log, file:PATH", quote(t.Traces))
		}
	}
}
