package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"meridian/deploy/local"
)

// `meridian objects check` goes through a file's life on a disk and in S3, leaves nothing behind, and fails where the store refuses.
func TestObjectsCheck(t *testing.T) {
	dir := t.TempDir()
	lines := map[string]string{"disk": fmt.Sprintf("{disk: {dir: %q}}", filepath.Join(dir, "files"))}
	if !testing.Short() {
		lines["s3"] = startS3(t, dir)
	}
	for kind, line := range lines {
		file := objectsConfig(t, dir, kind, line)
		code, out, errs := verb(t, "objects", "check", "--json", "--config", file, "--region", "eu-west")
		var have objectsCheck
		if err := json.Unmarshal([]byte(out), &have); code != exitOK || err != nil || have.Store != kind || have.PutMs == 0 || have.DeleteMs == 0 {
			t.Errorf("%s: exit %d, %v: %s%s", kind, code, err, out, errs)
		}
	}
	wrong := objectsConfig(t, dir, "wrong", fmt.Sprintf("{s3: {address: '127.0.0.1:1', bucket: files, access_key: me, secret_file: %q}}", filepath.Join(dir, "none")))
	if code, _, errs := verb(t, "objects", "check", "--config", wrong, "--region", "eu-west"); code != exitFailed {
		t.Errorf("without its secret: exit %d: %s", code, errs)
	}
	if code, _, errs := verb(t, "objects", "check", "--config", wrong, "--region", "nowhere"); code != exitUsage {
		t.Errorf("an unknown region: exit %d: %s", code, errs)
	}
}

// startS3 starts a server and gives the key objects for it.
func startS3(t *testing.T, dir string) string {
	t.Helper()
	server, err := local.NewVersityGW(t.Context(), filepath.Join(dir, "s3"), nil)
	if err == nil {
		t.Cleanup(func() { _ = server.Kill() })
		err = server.Start(t.Context())
	}
	if err == nil {
		err = server.MakeBucket("files")
	}
	secret := filepath.Join(dir, "secret")
	if err == nil {
		err = os.WriteFile(secret, []byte(server.Secret), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("{s3: {address: %q, bucket: files, access_key: %q, secret_file: %q, ca_file: %q}}", server.Address, server.Access, secret, server.CAFile)
}

func objectsConfig(t *testing.T, dir, name, objects string) string {
	t.Helper()
	file := filepath.Join(dir, name+".yaml")
	text := `
regions:
  - {name: eu-west, country: IE, latitude: 53.35, longitude: -6.26, http: "127.0.0.1:1", admin: "127.0.0.1:2", backbone: "127.0.0.1:3", objects: ` + objects + `}
router: {dns: ""}
zones: [{name: world, regions: [eu-west]}]
home_zones: {default: world}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
