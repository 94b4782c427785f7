package canary

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

func random(t *testing.T) (id [16]byte) {
	t.Helper()
	if _, err := rand.Read(id[:]); err != nil {
		t.Fatal(err)
	}
	return id
}

func found(r Result, name string) bool {
	for _, h := range r.Hits {
		if strings.HasPrefix(h.Name, name) {
			return true
		}
	}
	return false
}

func foundIn(r Result, name, where string) bool {
	for _, h := range r.Hits {
		if h.Name == name && strings.Contains(h.Where, where) {
			return true
		}
	}
	return false
}

// What is planted is found in every encoding; what is not planted is not found.
func TestPlantedBytesAreFound(t *testing.T) {
	id, other := random(t), random(t)
	var set Set
	set.AddID("id", id, chat.UUID(id).String())
	set.AddID("other", other, chat.UUID(other).String())
	text, err := json.Marshal(map[string]any{"id": id[:], "x": "ab"})
	if err != nil {
		t.Fatal(err)
	}
	wide := make([]byte, 0, 72)
	for _, c := range chat.UUID(id).String() {
		wide = append(wide, byte(c), 0)
	}
	plants := map[string][]byte{
		"binary": append([]byte("before"), id[:]...), "text": []byte(chat.UUID(id).String()),
		"hex": []byte(hex.EncodeToString(id[:])), "JSON": text, "UTF-16": wide,
	}
	for phase := range 3 {
		plants[fmt.Sprint("base64 ", phase)] = []byte(base64.StdEncoding.EncodeToString(append([]byte("abc")[:phase], append(id[:], "tail"...)...)))
		plants[fmt.Sprint("base64url ", phase)] = []byte(base64.URLEncoding.EncodeToString(append([]byte("abc")[:phase], append(id[:], "tail"...)...)))
	}
	for name, plant := range plants {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "file"), plant, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := set.Dir(dir)
		if err != nil || !found(r, "id") || found(r, "other") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// Bytes are found in a log although a record is cut at a block's border, in a compressed table, and after they were deleted,
// for as long as the table that has them is there.
func TestStoreFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	db, err := pebble.Open(dir, &pebble.Options{
		FormatMajorVersion: pebble.FormatWALSyncChunks, DisableAutomaticCompactions: true,
		Merger: &pebble.Merger{Name: "meridian.rows.1", Merge: pebble.DefaultMerger.Merge},
	})
	if err != nil {
		t.Fatal(err)
	}
	inTable, inLog := random(t), random(t)
	var set Set
	set.Add("table", inTable[:])
	set.Add("log", inLog[:])
	value := append(bytes.Repeat([]byte("compressible "), 1000), inTable[:]...)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(db.Set([]byte("key"), value, nil))
	must(db.Flush())
	must(db.Delete([]byte("key"), nil))
	// Over a whole block of the log, so that no position can be without a border within the bytes of interest.
	must(db.Set([]byte("long"), bytes.Repeat(inLog[:], 3*32<<10/16), pebble.Sync))
	r, err := set.Dir(dir)
	must(err)
	if !foundIn(r, "table", ": row") || !foundIn(r, "log", ": a record") {
		t.Errorf("found %d hits in %d files, %d records, %d rows", len(r.Hits), r.Files, r.Records, r.Rows)
	}
	must(db.Close())
	r, err = set.Dir(dir)
	must(err)
	if !found(r, "table") || !found(r, "log") {
		t.Errorf("after the close: %d hits in %d files, %d records, %d rows", len(r.Hits), r.Files, r.Records, r.Rows)
	}
}

// A table that a store is writing is read once it is whole, and one that went away meanwhile is passed over.
func TestTablesComeAndGo(t *testing.T) {
	dir := t.TempDir()
	db, err := pebble.Open(filepath.Join(dir, "made"), &pebble.Options{Merger: &pebble.Merger{Name: "meridian.rows.1", Merge: pebble.DefaultMerger.Merge}})
	if err != nil {
		t.Fatal(err)
	}
	id := random(t)
	if err := errors.Join(db.Set([]byte("key"), append(bytes.Repeat([]byte("compressible "), 1000), id[:]...), nil), db.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "made", "*.sst"))
	if err != nil || len(tables) != 1 {
		t.Fatalf("%v: tables %v", err, tables)
	}
	whole, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	live := filepath.Join(dir, "live")
	half := filepath.Join(live, "000004.sst")
	if err := errors.Join(os.Mkdir(live, 0o700), os.WriteFile(half, whole[:len(whole)/2], 0o600)); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { _ = os.WriteFile(half, whole, 0o600) }) // the search tells if not
	var set Set
	set.Add("table", id[:])
	if r, err := set.Dir(live); err != nil || !foundIn(r, "table", ": row") {
		t.Errorf("%v: %d hits in %d files, %d rows", err, len(r.Hits), r.Files, r.Rows)
	}
	var r Result
	if err := set.written(filepath.Join(live, "000005.sst"), &r); err != nil || r.Rows != 0 {
		t.Errorf("a table that went away: %v, %+v", err, r)
	}
}
