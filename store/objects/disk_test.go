package objects_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meridian/chat"
	"meridian/store/objects"
	"meridian/store/storetest"
)

var ctx = context.Background()

func openDisk(t testing.TB, dir string) *objects.Disk {
	t.Helper()
	d, err := objects.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// A directory keeps the contract of chat.Objects.
func TestDiskConformance(t *testing.T) {
	storetest.RunObjects(t, func(t testing.TB) (chat.Objects, func() chat.Objects) {
		dir := filepath.Join(t.TempDir(), "objects")
		return openDisk(t, dir), func() chat.Objects { return openDisk(t, dir) }
	})
}

func put(t *testing.T, s chat.Objects, key, text string) {
	t.Helper()
	if err := s.Put(ctx, chat.ObjectInfo{Key: key, Size: int64(len(text)), SHA256: sha256.Sum256([]byte(text))}, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

// fileOf finds the one file that holds a text.
func fileOf(t *testing.T, dir, text string) (path string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, _ := os.ReadFile(name); bytes.Contains(b, []byte(text)) {
				path = name
			}
		}
		return err
	})
	if err != nil || path == "" {
		t.Fatalf("no file holds %q: %v", text, err)
	}
	return path
}

// What the disk has damaged or cut off is noticed by who reads all of it, and never taken for the object.
func TestDamagedObject(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir)
	put(t, d, "a", "the content")
	file := fileOf(t, dir, "the content")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"another byte": bytes.Replace(whole, []byte("content"), []byte("contend"), 1), "cut off": whole[:len(whole)-1], "no head": whole[:20], "empty": nil,
		"something else": bytes.Repeat([]byte("x"), 100),
	} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, _, err := d.Get(ctx, "a", 0, -1)
		if err == nil {
			_, err = io.ReadAll(r)
			_ = r.Close()
		}
		if chat.CodeOf(err) != chat.CodeRegionDegraded {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A link in the directory leads nowhere outside of it.
func TestLinksDoNotLeadOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	d := openDisk(t, dir)
	if err := os.Symlink(outside, filepath.Join(dir, "objects", "out.d")); err != nil {
		t.Fatal(err)
	}
	text := "must stay inside"
	err := d.Put(ctx, chat.ObjectInfo{Key: "out/x", Size: int64(len(text)), SHA256: sha256.Sum256([]byte(text))}, strings.NewReader(text))
	if err == nil {
		t.Error("an object was put through a link")
	}
	if list, _ := os.ReadDir(outside); len(list) != 0 {
		t.Errorf("outside there is %v", list)
	}
	if _, _, err := d.Get(ctx, "out/x", 0, -1); err == nil {
		t.Error("an object was got through a link")
	}
}

// What was being written when the process died is removed by the next start, and nothing of it is seen.
func TestUnfinishedIsRemoved(t *testing.T) {
	dir := t.TempDir()
	openDisk(t, dir)
	left := filepath.Join(dir, "unfinished", "LEFT")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := openDisk(t, dir)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	if list, err := d.List(ctx, "", "", 10); err != nil || len(list) != 0 {
		t.Errorf("there is %v, %v", list, err)
	}
}
