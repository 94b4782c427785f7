package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// NameServer configures what GeoDNS does beside naming regions.
type NameServer struct {
	// CAA says who may issue certificates for the domain and the zones' own hosts (RFC 8659); empty: nothing is said.
	CAA []CAA `yaml:"caa"`
	// ID answers id.server, hostname.bind and NSID, Version version.bind and version.server; "off" hides it, "hostname" is
	// the machine's name.
	ID      string `yaml:"id"`
	Version string `yaml:"version"`
	// TCPConnections bounds the connections at once, TCPPerNetwork those of one /24 or /56. TCPIdle closes who is silent.
	TCPConnections int           `yaml:"tcp_connections"`
	TCPPerNetwork  int           `yaml:"tcp_per_network"`
	TCPIdle        time.Duration `yaml:"tcp_idle"`
	RateLimit      RateLimit     `yaml:"rate_limit"`
	DNSSEC         DNSSEC        `yaml:"dnssec"`
}

// CAA is one property of a CAA record; a Critical one forbids whoever does not know it.
type CAA struct {
	Critical bool   `yaml:"critical"`
	Tag      string `yaml:"tag"`
	Value    string `yaml:"value"`
}

// RateLimit bounds the answers over UDP to one /24 or /56, where a source may be forged. Who shows a valid cookie or uses TCP
// is not limited.
type RateLimit struct {
	// ResponsesPerSecond is the rate, a second's worth at once; 0: not limited.
	ResponsesPerSecond int `yaml:"responses_per_second"`
	// Slip: every so many answers over the limit one is sent truncated, so that who really asked comes by TCP; 0: none.
	Slip int `yaml:"slip"`
	// Exempt are networks that are never limited.
	Exempt []string `yaml:"exempt"`
}

// DNSSEC configures online signing. A zone is signed when there are keys for it.
type DNSSEC struct {
	// KeyDir holds the keys (`meridian dns key`); relative: under security.secrets_dir.
	KeyDir string `yaml:"key_dir"`
	// Validity is how long a signature holds; it is made anew after half of that. InceptionSkew dates it back, for clocks that
	// go behind.
	Validity      time.Duration `yaml:"validity"`
	InceptionSkew time.Duration `yaml:"inception_skew"`
	// KeyTTL is the time to live of DNSKEY, CDS and CDNSKEY, ParentDSTTL that of the parent's DS records, KeySpread how long new
	// key files may take to reach all routers: steps of a key rollover wait for them.
	KeyTTL      time.Duration `yaml:"key_ttl"`
	ParentDSTTL time.Duration `yaml:"parent_ds_ttl"`
	KeySpread   time.Duration `yaml:"key_spread"`
}

// Off hides what a name server may tell about itself; OwnHostname tells the machine's name.
const (
	Off         = "off"
	OwnHostname = "hostname"
)

func defaultNameServer() NameServer {
	return NameServer{
		ID: Off, Version: "meridian", TCPConnections: 256, TCPPerNetwork: 64, TCPIdle: 10 * time.Second,
		RateLimit: RateLimit{ResponsesPerSecond: 500, Slip: 2, Exempt: []string{"127.0.0.0/8", "::1/128"}},
		DNSSEC:    DNSSEC{KeyDir: "dnssec", Validity: 3 * day, InceptionSkew: time.Hour, KeyTTL: time.Hour, ParentDSTTL: day, KeySpread: 10 * time.Minute},
	}
}

// WithDefaults fills in the sizes and times that are not given.
func (n NameServer) WithDefaults() NameServer {
	d := defaultNameServer()
	fill(&n.TCPConnections, d.TCPConnections)
	fill(&n.TCPPerNetwork, d.TCPPerNetwork)
	fill(&n.TCPIdle, d.TCPIdle)
	fill(&n.DNSSEC.Validity, d.DNSSEC.Validity)
	fill(&n.DNSSEC.KeyTTL, d.DNSSEC.KeyTTL)
	return n
}

// DNSZones gives the zones that GeoDNS serves, in lower case and without a final dot: the domain, and the zones' hosts outside.
func (c *Config) DNSZones() []string {
	zones := []string{c.Router.Domain}
	for _, z := range c.Zones {
		if z.Host != "" && z.Host != c.Router.Domain && !strings.HasSuffix(z.Host, "."+c.Router.Domain) {
			zones = append(zones, z.Host)
		}
	}
	return zones
}

// KeyPath is the directory of the zones' signing keys.
func (c *Config) KeyPath() string {
	dir := c.Router.NameServer.DNSSEC.KeyDir
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(c.SecretsPath(), dir)
}

var (
	caaTag = regexp.MustCompile(`^[a-z0-9]{1,15}$`)
	// caaValue and serverText go into answers as they stand.
	caaValue   = regexp.MustCompile(`^[ -~]{0,255}$`)
	serverText = regexp.MustCompile(`^[ -~]{1,64}$`)
)

func (v *validator) checkNameServer() {
	const at = "router.name_server"
	n := v.config.Router.NameServer
	for i, c := range n.CAA {
		path := fmt.Sprintf("%s.caa[%d]", at, i)
		if !caaTag.MatchString(c.Tag) {
			v.add(path+".tag", `%s is not a CAA property; allowed: 1 to 15 of a-z and 0-9, as in "issue"`, quote(c.Tag))
		}
		if !caaValue.MatchString(c.Value) {
			v.add(path+".value", "%s is not allowed; allowed: at most 255 printable ASCII characters", quote(c.Value))
		}
	}
	v.serverText(at+".id", n.ID)
	v.serverText(at+".version", n.Version)
	within(v, at+".tcp_connections", n.TCPConnections, 1, 65536)
	within(v, at+".tcp_per_network", n.TCPPerNetwork, 1, 65536)
	within(v, at+".tcp_idle", n.TCPIdle, 100*time.Millisecond, 10*time.Minute)
	within(v, at+".rate_limit.responses_per_second", n.RateLimit.ResponsesPerSecond, 0, 1_000_000)
	within(v, at+".rate_limit.slip", n.RateLimit.Slip, 0, 10)
	for i, text := range n.RateLimit.Exempt {
		if p, err := netip.ParsePrefix(text); err != nil || p != p.Masked() {
			v.add(fmt.Sprintf("%s.rate_limit.exempt[%d]", at, i), `%s is not a network; write address/bits without bits behind, as in "10.0.0.0/8"`, quote(text))
		}
	}
	v.checkDNSSEC(at+".dnssec", n.DNSSEC)
}

func (v *validator) serverText(path, value string) {
	if !serverText.MatchString(value) {
		v.add(path, "%s is not allowed; allowed: 1 to 64 printable ASCII characters; %s hides it", quote(value), Off)
	}
}

func (v *validator) checkDNSSEC(at string, d DNSSEC) {
	v.filled(at+".key_dir", d.KeyDir)
	within(v, at+".validity", d.Validity, time.Hour, 30*day)
	within(v, at+".inception_skew", d.InceptionSkew, 0, day)
	within(v, at+".key_ttl", d.KeyTTL, time.Second, day)
	within(v, at+".parent_ds_ttl", d.ParentDSTTL, time.Second, 7*day)
	within(v, at+".key_spread", d.KeySpread, 0, day)
	// A signature that is half used up lies in a cache for a TTL more.
	if longest := max(v.config.Router.TTL, d.KeyTTL); d.Validity < 4*longest {
		v.add(at+".validity", "%v is shorter than four times the longest time to live (%v)", d.Validity, longest)
	}
}
