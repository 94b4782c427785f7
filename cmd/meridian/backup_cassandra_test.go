package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
)

// A region whose rows lie in Cassandra is backed up while people write, by a snapshot of its cluster, and restored into an empty keyspace: what was
// acknowledged before the backup began is read there. A keyspace with rows is left as it is. `make nightly` has it do so on three nodes.
func TestBackupOfACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real Cassandra: left out of -short")
	}
	dir := t.TempDir()
	nodes := 1
	if n := os.Getenv("MERIDIAN_CASSANDRA_NODES"); n != "" {
		var err error
		if nodes, err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	c := localtest.Own(t, local.CassandraOptions{Dir: filepath.Join(dir, "eu-west", "cassandra"), Nodes: nodes})
	servers, err := json.Marshal(local.Deployment{Regions: map[string]local.RegionAccess{"eu-west": {Cassandra: c.Access()}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "local.json"), servers, 0o600); err != nil {
		t.Fatal(err)
	}
	old, addr := clustered(t, dir, c, "meridian", true)
	mustVerb(t, "schema apply --config "+old, exitOK, "applied")
	stop := runningNode(t, old)
	who := newCorrespondent(t, "eu-west", addr, "eu", "restored-eric", "restored-fay")
	who.say(10)
	before, copied := slices.Clone(who.texts), filepath.Join(dir, "backup")
	if saying(who, func() {
		mustVerb(t, "backup --config "+old+" --region eu-west --to "+copied, exitOK, "keyspace meridian, schema")
	}) == 0 {
		t.Error("nobody wrote while the backup was taken")
	}
	who.say(5)
	who.stop()
	mustVerb(t, "backup check "+copied, exitOK, "intact")
	mustVerb(t, "restore --config "+old+" --region eu-west --from "+copied, exitRefused, "has rows in table")
	stop()

	if err := c.CreateKeyspace(t.Context(), "meridian_new"); err != nil {
		t.Fatal(err)
	}
	bare, bareAddr := clustered(t, dir, c, "meridian_new", false)
	mustVerb(t, "restore --config "+bare+" --region eu-west --from "+copied, exitUsage, "import_command")
	fresh, addr := clustered(t, dir, c, "meridian_new", true)
	mustVerb(t, "restore --config "+fresh+" --region eu-west --from "+copied, exitOK, "It begins a new life")
	stop = runningNode(t, fresh)
	defer stop()
	for _, name := range []string{"restored-eric", "restored-fay"} {
		if have := readTexts(t, addr, name); len(have) < len(before) || !slices.Equal(have[:len(before)], before) {
			t.Errorf("%s has %q, which does not begin with what was acknowledged before the backup, %q", name, have, before)
		}
	}
	stop()
	// Without commands a backup says what to configure.
	runningNode(t, bare)
	mustVerb(t, "backup --config "+bare+" --region eu-west --to "+copied+"2", exitUsage, "set snapshot_command")
	// A message gets through as long as the cluster is there.
	probed(t, bareAddr, http.StatusOK)
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	probed(t, bareAddr, http.StatusServiceUnavailable)
}

// probed waits until the node at an address answers the probe of a message's way with a status.
func probed(t *testing.T, addr string, status int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("the probe to answer %d", status), func() bool {
		resp, err := http.Get("http://" + addr + "/v1/probe")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == status
	})
}

// clustered writes a configuration of one region in a cluster, with the commands that copy its files or without, and gives where people reach it.
func clustered(t *testing.T, dir string, c *local.Cassandra, keyspace string, commands bool) (file, addr string) {
	t.Helper()
	addresses := freeAddresses(t, 3)
	var region config.Region
	local.RegionAccess{Cassandra: c.Access()}.Configure(&region)
	section := region.Cassandra
	text := fmt.Sprintf(`
data_dir: %s
router: {dns: ""}
regions:
  - name: eu-west
    country: IE
    latitude: 53.35
    longitude: -6.26
    http: %q
    admin: %q
    backbone: %q
    cassandra:
      hosts: [%s]
      keyspace: %s
      replicas: %d
      user: %s
      password_file: %s
      owner: %s
      owner_password_file: %s
      ca_file: %s
      cert_file: %s
      key_file: %s
`, append(append([]any{filepath.Join(dir, "data")}, addresses...), strings.Join(section.Hosts, ", "), keyspace, section.Replicas, section.User, section.PasswordFile,
		section.Owner, section.OwnerPasswordFile, section.CAFile, section.CertFile, section.KeyFile)...)
	if commands {
		snapshot, imports := realCopies(dir, "eu-west")
		text += fmt.Sprintf("      snapshot_command: [%s]\n      import_command: [%s]\n", strings.Join(snapshot, ", "), strings.Join(imports, ", "))
	}
	text += "zones: [{name: eu, regions: [eu-west], at_sign_up: true}]\nhome_zones: {default: eu}\n"
	file = filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, addresses[0].(string)
}

// runningNode runs the one node of eu-west until stop is called, or the test ends, and waits until it serves.
func runningNode(t *testing.T, file string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ref := chat.NodeRef{Region: "eu-west", Node: config.OnlyNode}
		err := runNode(ctx, file, ref, func(*config.Config) error { return nil }, func(*deployment) {}, in, io.Discard)
		_ = in.CloseWithError(fmt.Errorf("it ended: %w", err))
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	line := make([]byte, 256)
	n, err := out.Read(line)
	if err != nil || !strings.HasPrefix(string(line[:n]), "ready eu-west") {
		t.Fatalf("the node says %q, error %v", line[:n], err)
	}
	_, admin, _ := strings.Cut(string(line[:n]), " admin=")
	admin, _, _ = strings.Cut(admin, " ")
	waitFor(t, "the node to serve", func() bool {
		resp, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return stop
}
