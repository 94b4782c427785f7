package link

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"meridian/chat"
)

// How long certificates live. A region's is made anew by IssueRegion when less than a third is left.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	regionLife    = 397 * 24 * time.Hour
	// clockAllowance: a certificate is valid from a little before it is made, for clocks that are behind.
	clockAllowance = time.Hour
)

const (
	authorityCert = "backbone-ca.crt"
	authorityKey  = "backbone-ca.key"
)

// nameRule is what deployments and regions may be called: the names stand in file names and URIs.
var nameRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

// Authority signs the certificates of a deployment's regions. There is one per deployment; a node needs only what
// IssueRegion gave it, see LoadIdentity. Its files lie in one directory (0700), each readable by the owner only (0600).
type Authority struct {
	dir        string
	deployment string
	cert       *x509.Certificate
	key        *ecdsa.PrivateKey
	now        func() time.Time
}

// LoadOrCreateAuthority opens the authority in dir, or makes one for deployment. The error has CodeInvalid for an unusable
// deployment name, for files that do not fit together, and when dir belongs to another deployment; CodeInternal when the
// disk refuses.
func LoadOrCreateAuthority(dir, deployment string) (*Authority, error) {
	return loadOrCreateAuthority(dir, deployment, time.Now)
}

func loadOrCreateAuthority(dir, deployment string, now func() time.Time) (*Authority, error) {
	if !nameRule.MatchString(deployment) {
		return nil, authorityError(chat.CodeInvalid, "deployment name "+deployment, nil)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, authorityError(chat.CodeInternal, "secrets directory", err)
	}
	a := &Authority{dir: dir, deployment: deployment, now: now}
	var err error
	a.cert, a.key, err = readPair(dir, authorityCert, authorityKey)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return a, a.create()
	case err != nil:
		return nil, authorityError(chat.CodeInvalid, "read the authority", err)
	}
	if got := a.cert.Subject.CommonName; got != authorityName(deployment) {
		return nil, authorityError(chat.CodeInvalid, fmt.Sprintf("the authority in %s is %q, not that of %s", dir, got, deployment), nil)
	}
	return a, nil
}

func (a *Authority) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authorityError(chat.CodeInternal, "make a key", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: authorityName(a.deployment)},
		NotBefore: a.now().Add(-clockAllowance), NotAfter: a.now().Add(authorityLife),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	a.key = key
	a.cert, err = a.sign(template, template, key, authorityCert, authorityKey)
	return err
}

// IssueRegion gives the identity of a node of region: what lies in the directory if it is good for a third of its life
// or more, else a new one.
func (a *Authority) IssueRegion(region chat.Region) (*Identity, error) {
	if !nameRule.MatchString(string(region)) {
		return nil, authorityError(chat.CodeInvalid, "region name "+string(region), nil)
	}
	certFile, keyFile := regionFiles(region)
	cert, _, err := readPair(a.dir, certFile, keyFile)
	if err == nil && cert.CheckSignatureFrom(a.cert) == nil && cert.NotAfter.Sub(a.now()) > regionLife/3 {
		return LoadIdentity(a.dir, region)
	}
	if err := a.issue(region, a.now().Add(-clockAllowance), a.now().Add(regionLife)); err != nil {
		return nil, err
	}
	return LoadIdentity(a.dir, region)
}

func (a *Authority) issue(region chat.Region, notBefore, notAfter time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authorityError(chat.CodeInternal, "make a key", err)
	}
	certFile, keyFile := regionFiles(region)
	_, err = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: string(region)}, URIs: []*url.URL{regionURI(a.deployment, region)},
		NotBefore: notBefore, NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.cert, key, certFile, keyFile)
	return err
}

// sign makes the certificate of key and writes both; the key first, so that a certificate never stands without it.
func (a *Authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey, certFile, keyFile string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, authorityError(chat.CodeInternal, "make a serial number", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		return nil, authorityError(chat.CodeInternal, "sign", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, authorityError(chat.CodeInternal, "encode a key", err)
	}
	if err := writePEM(a.dir, keyFile, "PRIVATE KEY", secret); err != nil {
		return nil, err
	}
	if err := writePEM(a.dir, certFile, "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// writePEM writes a file as a whole or not at all.
func writePEM(dir, name, kind string, der []byte) error {
	f, err := os.CreateTemp(dir, name+".*") // 0600
	if err != nil {
		return authorityError(chat.CodeInternal, "write "+name, err)
	}
	err = errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return authorityError(chat.CodeInternal, "write "+name, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

func readPair(dir, certFile, keyFile string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	der, err := readPEM(dir, certFile, "CERTIFICATE")
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", certFile, err)
	}
	secret, err := readPEM(dir, keyFile, "PRIVATE KEY")
	if err != nil {
		return nil, nil, fmt.Errorf("%s has no key: %v", certFile, err) //nolint:errorlint // %v: only a missing certificate means "make one"
	}
	parsed, err := x509.ParsePKCS8PrivateKey(secret)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("%s is not the key of %s", keyFile, certFile)
	}
	return cert, key, nil
}

func readPEM(dir, name, kind string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(bytes.TrimSpace(b))
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no %s", name, kind)
	}
	return block.Bytes, nil
}

func regionFiles(region chat.Region) (cert, key string) {
	return "backbone-" + string(region) + ".crt", "backbone-" + string(region) + ".key"
}

func authorityName(deployment string) string { return "Meridian backbone of " + deployment }

func authorityError(code chat.Code, message string, cause error) error {
	return &chat.Error{Code: code, Op: "link.Authority", Message: message, Cause: cause}
}
