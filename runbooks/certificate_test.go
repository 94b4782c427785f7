//go:build process

package runbooks_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"meridian/deploy/local"
)

// Every command of the runbook about certificates does what the runbook says, at a node whose certificate nears its end until somebody
// writes a new one.
func TestProcessCertificateRunbook(t *testing.T) {
	binary, err := filepath.Abs("../bin/meridian")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeCertificate(t, dir, 100*24*time.Hour, 5*24*time.Hour)
	file := startSecureNode(t, binary, dir)
	run := func(command string) string {
		cmd := exec.CommandContext(t.Context(), binary, append(strings.Fields(command), "--config", file)...)
		out, _ := cmd.CombinedOutput() // status exits with 3 while there are problems: the output is what counts
		return string(out)
	}
	waitFor(t, "the node to be ready", time.Minute, func() bool { return strings.Contains(run("status"), "serving") })
	renewed := false
	follow(t, "certificate-ends.md", func(command string) string {
		out := run(command)
		if command == "status --json" && !renewed { // step 2 comes next
			writeCertificate(t, dir, time.Hour, 365*24*time.Hour)
			renewed = true
		}
		return out
	})
}

// startSecureNode starts the one node of a region, that serves clients by the certificate in dir, and gives its configuration.
func startSecureNode(t *testing.T, binary, dir string) (file string) {
	t.Helper()
	host, err := local.Address(8443, 8201, 8301)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "secure.yaml")
	text := fmt.Sprintf(`
data_dir: %[1]s/data
router: {dns: "", http: ""}
regions: [{name: eu-west, country: IE, latitude: 53.35, longitude: -6.26, http: "%[2]s:8443", admin: "%[2]s:8201", backbone: "%[2]s:8301", url: "https://chat.example.test:8443"}]
zones: [{name: eu, regions: [eu-west]}]
home_zones: {default: eu}
network: {tls: {certificates: [{cert_file: %[1]s/cert.pem, key_file: %[1]s/key.pem}]}}
`, dir, host)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(startNode(t, binary, file))
	return file
}

func startNode(t *testing.T, binary, file string) (stop func()) {
	t.Helper()
	cmd := exec.Command(binary, "node", "--config", file, "--region", "eu-west")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the node did not end cleanly: %v", err)
		}
	}
}

// writeCertificate writes a certificate that began some time ago and has some time left.
func writeCertificate(t *testing.T, dir string, began, left time.Duration) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"chat.example.test"}, NotBefore: time.Now().Add(-began), NotAfter: time.Now().Add(left)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"key.pem": {Type: "PRIVATE KEY", Bytes: raw}, "cert.pem": {Type: "CERTIFICATE", Bytes: cert}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
