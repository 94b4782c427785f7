package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
)

// TLS is how the public listeners of nodes and routers speak TLS: with certificates from files, or from an ACME server. Empty:
// they speak plain HTTP.
type TLS struct {
	// Certificates are pairs of PEM files; a client gets the first that holds the name it asks for. They are loaded anew when
	// they change.
	Certificates []Certificate `yaml:"certificates"`
	// ACME, if given, gets certificates from an ACME server instead.
	ACME *ACME `yaml:"acme,omitempty"`
}

// Certificate is a pair of PEM files: the certificate with those that link it to its authority, and its key.
type Certificate struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// ACME is where certificates come from and go to. Using it accepts the terms of who runs the server.
type ACME struct {
	// Directory is the server's directory URL.
	Directory string `yaml:"directory"`
	// CAFile holds who signed the server's own certificate; empty: the system's authorities.
	CAFile string `yaml:"ca_file"`
	// Email is whom the server may write to; may be empty.
	Email string `yaml:"email"`
	// ExternalAccount, if given, says to the server whose account ours is (external account binding), where it asks for that.
	ExternalAccount *ExternalAccount `yaml:"external_account,omitempty"`
	// Names are the names that certificates are got for, no others.
	Names []string `yaml:"names"`
	// Dir keeps account and certificates; relative: under data_dir; default: acme. Nodes that share it share their certificates.
	Dir string `yaml:"dir"`
}

// ExternalAccount is an account with who runs an ACME server, as they give it.
type ExternalAccount struct {
	KeyID string `yaml:"key_id"`
	// KeyFile holds the key in base64url, as it was given.
	KeyFile string `yaml:"key_file"`
}

// acmeNamesMax bounds the names: each costs a certificate.
const acmeNamesMax = 100

// On says whether the public listeners speak TLS.
func (t TLS) On() bool { return len(t.Certificates) > 0 || t.ACME != nil }

// BaseURL is where the router is reached over HTTP.
func (r Router) BaseURL() string { return cmp.Or(r.URL, "http://"+r.HTTP) }

// ACMEPath is the directory of the ACME account and its certificates. There must be an ACME.
func (c *Config) ACMEPath() string {
	dir := cmp.Or(c.Network.TLS.ACME.Dir, "acme")
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(c.DataDir, dir)
}

// networks checks a list of networks.
func (v *validator) networks(path string, list []string) {
	for i, cidr := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch prefix, err := netip.ParsePrefix(cidr); {
		case err != nil:
			v.add(at, `%s is not a network; write address/bits, as in "10.0.0.0/8"`, quote(cidr))
		case prefix != prefix.Masked():
			v.add(at, "%s has bits set behind its prefix; did you mean %s?", quote(cidr), prefix.Masked())
		}
	}
}

func (v *validator) checkTLS() {
	const at = "network.tls"
	t := v.config.Network.TLS
	for i, c := range t.Certificates {
		v.filled(fmt.Sprintf("%s.certificates[%d].cert_file", at, i), c.CertFile)
		v.filled(fmt.Sprintf("%s.certificates[%d].key_file", at, i), c.KeyFile)
	}
	if t.ACME != nil {
		v.checkACME(at+".acme", *t.ACME)
		if len(t.Certificates) > 0 {
			v.add(at+".acme", "stands beside network.tls.certificates; certificates come from files or from an ACME server, not from both")
		}
	}
	if !t.On() {
		return
	}
	if r := v.config.Router; r.HTTP != "" && !strings.HasPrefix(r.BaseURL(), "https://") {
		v.add("router.url", "%s is not https, but the listeners speak TLS (network.tls); write https:// and a name that a certificate holds", quote(r.BaseURL()))
	}
	for i, r := range v.config.Regions {
		for _, u := range r.URLs() {
			if !strings.HasPrefix(u, "https://") {
				v.add(fmt.Sprintf("regions[%d].url", i), "%s is not https, but the listeners speak TLS (network.tls); write https:// and a name that a certificate holds, here or for each of its nodes", quote(u))
				break
			}
		}
	}
}

func (v *validator) checkACME(at string, a ACME) {
	if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Hostname() == "" {
		v.add(at+".directory", "%s is not the URL of an ACME directory; allowed: https://", quote(a.Directory))
	}
	if e := a.ExternalAccount; e != nil {
		v.filled(at+".external_account.key_id", e.KeyID)
		v.filled(at+".external_account.key_file", e.KeyFile)
	}
	if len(a.Names) == 0 || len(a.Names) > acmeNamesMax {
		v.add(at+".names", "has %d names; allowed: 1 to %d", len(a.Names), acmeNamesMax)
	}
	for i, name := range a.Names {
		if !domainPattern.MatchString(name) || len(name) > 253 {
			v.add(fmt.Sprintf("%s.names[%d]", at, i), "%s is not a domain name; allowed: lower-case labels joined by dots, without a dot at the end", quote(name))
		}
	}
}
