package link

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"meridian/chat"
)

// Identity is how a node proves its region, and how it checks the others.
type Identity struct {
	Deployment string
	Region     chat.Region

	dir   string
	roots *x509.CertPool
	now   func() time.Time
}

// LoadIdentity opens what Authority.IssueRegion wrote: the authority's certificate, and the region's with its key. The
// authority's own key need not be there. The region's files are read again for every new connection, so that a renewed
// certificate needs no restart. The error has CodeInvalid.
func LoadIdentity(dir string, region chat.Region) (*Identity, error) {
	id := &Identity{Region: region, dir: dir, roots: x509.NewCertPool(), now: time.Now}
	der, err := readPEM(dir, authorityCert, "CERTIFICATE")
	if err != nil {
		return nil, authorityError(chat.CodeInvalid, "read the authority's certificate", err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, authorityError(chat.CodeInvalid, "read the authority's certificate", err)
	}
	id.roots.AddCert(root)
	certFile, keyFile := regionFiles(region)
	cert, _, err := readPair(dir, certFile, keyFile)
	if err != nil {
		return nil, authorityError(chat.CodeInvalid, "read the region's certificate", err)
	}
	deployment, certified, err := parseRegionURI(cert)
	if err != nil || certified != region {
		return nil, authorityError(chat.CodeInvalid, certFile+" is not of region "+string(region), err)
	}
	id.Deployment = deployment
	return id, nil
}

// refusal is why a peer's certificate, or its hello, was not believed; it is also the metric's label.
type refusal string

const (
	refusedAuthority  refusal = "authority"
	refusedExpired    refusal = "expired"
	refusedName       refusal = "name"
	refusedDeployment refusal = "deployment"
	refusedRegion     refusal = "region"
	refusedHello      refusal = "hello"
	refusedVersion    refusal = "version"
)

// refusedError tells a peer that is not who it should be.
type refusedError struct {
	why   refusal
	cause error
}

func (e *refusedError) Error() string {
	if e.cause == nil {
		return "peer refused: " + string(e.why)
	}
	return fmt.Sprintf("peer refused: %s: %v", e.why, e.cause)
}

func (e *refusedError) Unwrap() error { return e.cause }

// verify gives the region that a TLS peer has proved to be of.
func (id *Identity) verify(state tls.ConnectionState) (chat.Region, error) {
	if len(state.PeerCertificates) == 0 {
		return "", &refusedError{why: refusedAuthority, cause: errors.New("no certificate")}
	}
	cert := state.PeerCertificates[0]
	_, err := cert.Verify(x509.VerifyOptions{
		Roots: id.roots, CurrentTime: id.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "", &refusedError{why: refusedExpired, cause: err}
	case err != nil:
		return "", &refusedError{why: refusedAuthority, cause: err}
	}
	deployment, region, err := parseRegionURI(cert)
	if err != nil {
		return "", &refusedError{why: refusedName, cause: err}
	}
	if deployment != id.Deployment {
		return "", &refusedError{why: refusedDeployment, cause: errors.New(deployment)}
	}
	return region, nil
}

// WithinRegion gives the TLS side, either one, of a connection between two processes of this region: each must prove that it
// is of the region.
func (id *Identity) WithinRegion() *tls.Config {
	c := id.tlsConfig(func(proved chat.Region, err error) error {
		if err == nil && proved != id.Region {
			err = &refusedError{why: refusedRegion, cause: errors.New(string(proved))}
		}
		return err
	})
	c.NextProtos = nil
	return c
}

// tlsConfig gives the TLS side of a connection; check decides about the peer's proved region.
func (id *Identity) tlsConfig(check func(chat.Region, error) error) *tls.Config {
	load := func() (*tls.Certificate, error) {
		certFile, keyFile := regionFiles(id.Region)
		cert, key, err := readPair(id.dir, certFile, keyFile)
		if err != nil {
			return nil, err
		}
		return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"http/1.1"},
		ClientAuth: tls.RequireAnyClientCert,
		// Names here are regions, not hosts: VerifyConnection checks chain, life and name itself, on both sides.
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return check(id.verify(state))
		},
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() },
	}
}

func regionURI(deployment string, region chat.Region) *url.URL {
	return &url.URL{Scheme: "meridian", Host: deployment, Path: "/region/" + string(region)}
}

func parseRegionURI(cert *x509.Certificate) (deployment string, region chat.Region, err error) {
	if len(cert.URIs) != 1 {
		return "", "", fmt.Errorf("certificate with %d URIs", len(cert.URIs))
	}
	uri := cert.URIs[0]
	name, ok := strings.CutPrefix(uri.Path, "/region/")
	if !ok || uri.Scheme != "meridian" || !nameRule.MatchString(uri.Host) || !nameRule.MatchString(name) {
		return "", "", fmt.Errorf("certificate of %q", uri)
	}
	return uri.Host, chat.Region(name), nil
}
