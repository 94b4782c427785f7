package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
	"meridian/observe"
	"meridian/store/storetest"
)

// freeAddresses gives loopback addresses that nobody listens on, and that no connection takes for its own end.
func freeAddresses(t *testing.T, n int) (addresses []any) {
	t.Helper()
	at := local.ListenAddress()
	for range n {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

// sharing writes a configuration of one region whose two nodes share a store, and gives its path.
func sharing(t *testing.T) string {
	t.Helper()
	addresses := freeAddresses(t, 7)
	path := filepath.Join(t.TempDir(), "sharing.yaml")
	text := fmt.Sprintf(`
data_dir: %s
router: {dns: ""}
regions:
  - name: eu-west
    country: IE
    latitude: 53.35
    longitude: -6.26
    store: %q
    nodes:
      - {name: n1, http: %q, admin: %q, backbone: %q}
      - {name: n2, http: %q, admin: %q, backbone: %q}
zones: [{name: eu, regions: [eu-west]}]
home_zones: {default: eu}
`, append([]any{filepath.Join(filepath.Dir(path), "data")}, addresses...)...)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runningStore runs `meridian store` until the test ends it, or is over: its files are removed after that.
func runningStore(t *testing.T, file string) (end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ended := make(chan struct{})
	var outcome error
	go func() {
		defer close(ended)
		outcome = runStore(ctx, file, "eu-west", in, io.Discard)
		_ = in.CloseWithError(fmt.Errorf("it ended: %w", outcome))
	}()
	end = func() error {
		cancel()
		<-ended
		return outcome
	}
	t.Cleanup(func() { _ = end() }) // who ended it before has seen what came of it
	line := make([]byte, 256)
	n, err := out.Read(line)
	if err != nil || !strings.HasPrefix(string(line[:n]), "ready eu-west store=127.0.") {
		t.Fatalf("the store says %q, error %v", line[:n], err)
	}
	return end
}

// Two nodes of a region share what `meridian store` keeps: one reads in the clear what the other wrote, the store's files
// hold it sealed only, and a clean end and another start lose nothing.
func TestSharedStore(t *testing.T) {
	file := sharing(t)
	end := runningStore(t, file)
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDeployment(cfg, io.Discard, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	open := func(node chat.NodeID) chat.Store {
		s, _, err := d.openStore(ctx, chat.NodeRef{Region: "eu-west", Node: node}, observe.NewMetrics("eu-west"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Abandon)
		return s
	}
	const canary = "canary-51b6a1d2"
	ann := chat.UserID{1}
	id := chat.NewMessageID(1_790_000_000_000_000, ann, chat.ClientID{1})
	row := chat.MessageRow{Owner: ann, OwnerZone: "eu", ID: id, Sender: ann, Body: []byte("before " + canary + " behind")}
	s1, s2 := open("n1"), open("n2")
	if err := storetest.Commit(s1, &chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{row}}}); err != nil {
		t.Fatal(err)
	}
	check := func(s chat.Store) {
		t.Helper()
		have, ok, err := s.Message(ctx, ann, chat.NoConversation, id)
		if err != nil || !ok || !bytes.Equal(have.Body, row.Body) {
			t.Fatalf("the message reads as %q, ok %v, error %v", have.Body, ok, err)
		}
	}
	check(s2)
	nodes, err := s2.Nodes(ctx)
	if err != nil || len(nodes) != 2 {
		t.Fatalf("%d nodes, error %v", len(nodes), err)
	}
	s1.Abandon()
	s2.Abandon()
	if err := end(); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Join(cfg.DataDir, "eu-west"), func(path string, f fs.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(canary)) {
			t.Errorf("%s holds the text in the clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	end = runningStore(t, file)
	check(open("n1"))
	if err := runStore(ctx, file, "eu-west", io.Discard, io.Discard); err == nil {
		t.Fatal("a second store process started beside the first")
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
}
