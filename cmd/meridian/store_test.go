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
	"meridian/observe"
	"meridian/store/storetest"
)

// sharing writes a configuration of one region whose two nodes share a store, and gives its path.
func sharing(t *testing.T) string {
	t.Helper()
	var ports []any
	for range 7 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	path := filepath.Join(t.TempDir(), "sharing.yaml")
	text := fmt.Sprintf(`
data_dir: %s
router: {dns: ""}
regions:
  - name: eu-west
    country: IE
    latitude: 53.35
    longitude: -6.26
    store: 127.0.0.1:%d
    nodes:
      - {name: n1, http: "127.0.0.1:%d", admin: "127.0.0.1:%d", backbone: "127.0.0.1:%d"}
      - {name: n2, http: "127.0.0.1:%d", admin: "127.0.0.1:%d", backbone: "127.0.0.1:%d"}
zones: [{name: eu, regions: [eu-west]}]
home_zones: {default: eu}
`, append([]any{filepath.Join(filepath.Dir(path), "data")}, ports...)...)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runningStore runs `meridian store` until the test ends it.
func runningStore(t *testing.T, file string) (end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := runStore(ctx, file, "eu-west", in, io.Discard)
		_ = in.CloseWithError(fmt.Errorf("it ended: %w", err))
		ended <- err
	}()
	line := make([]byte, 256)
	n, err := out.Read(line)
	if err != nil || !strings.HasPrefix(string(line[:n]), "ready eu-west store=127.0.0.1:") {
		t.Fatalf("the store says %q, error %v", line[:n], err)
	}
	return func() error {
		cancel()
		return <-ended
	}
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
