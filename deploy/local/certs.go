package local

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certYears is how long certificates of a local cluster hold: longer than anybody keeps one.
const certYears = 5

// certs is a server's, or a cluster's, own authority and where its files lie: ca.pem, node-ADDRESS.pem (key and certificate in one, as
// Cassandra reads them), client.pem and client-key.pem.
type certs struct{ dir string }

func (c certs) ca() string                 { return filepath.Join(c.dir, "ca.pem") }
func (c certs) node(address string) string { return filepath.Join(c.dir, "node-"+address+".pem") }
func (c certs) client() string             { return filepath.Join(c.dir, "client.pem") }
func (c certs) clientKey() string          { return filepath.Join(c.dir, "client-key.pem") }

// make makes the authority, and by it a certificate for each node and one for clients, unless they are there. The
// authority's key is kept nowhere: nobody can add to what it has signed.
func (c certs) make(cluster string, addresses []string) error {
	if _, err := os.Stat(c.clientKey()); err == nil { // the last file that is written
		return nil
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	ca := newTemplate(cluster + " authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	caPEM, err := sign(ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	if err := writeFile(c.ca(), string(caPEM)); err != nil {
		return err
	}
	for _, addr := range addresses {
		t := newTemplate(cluster + " " + addr)
		t.IPAddresses = []net.IP{net.ParseIP(addr)}
		cert, key, err := issue(t, ca, caKey)
		if err != nil {
			return err
		}
		if err := writeFile(c.node(addr), string(key)+string(cert)); err != nil {
			return err
		}
	}
	cert, key, err := issue(newTemplate(cluster+" client"), ca, caKey)
	if err != nil {
		return err
	}
	return errors.Join(writeFile(c.client(), string(cert)), writeFile(c.clientKey(), string(key)))
}

// newTemplate is a certificate for both ends of a connection: nodes call each other.
func newTemplate(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // crypto/rand does not fail
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(certYears, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func issue(t, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if certPEM, err = sign(t, ca, &key.PublicKey, caKey); err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func sign(t, ca *x509.Certificate, key *ecdsa.PublicKey, caKey *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, ca, key, caKey)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// Trust gives how a client reaches servers whose certificates are signed by the authorities in a file (PEM).
func Trust(caFile string) (*tls.Config, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}
