package keys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"meridian/chat"
)

const zone = "chat.example.org."

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

var waits = Waits{Key: time.Hour, Data: 30 * time.Second, Parent: 24 * time.Hour, Spread: 10 * time.Minute}

// The first key signs at once. Its successor waits for caches, takes over, and the old one stays until no cache needs it; each
// step is refused before its time and out of its order.
func TestRoll(t *testing.T) {
	set, now := Set{}, noon
	first, err := set.Add(zone, now)
	if err != nil {
		t.Fatal(err)
	}
	if first.State(now) != Active {
		t.Fatalf("the first key is %s", first.State(now))
	}
	now = now.Add(30 * 24 * time.Hour)
	second, err := set.Add(zone, now)
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(what string, err error) {
		t.Helper()
		if chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("%s: got %v", what, err)
		}
	}
	states := func(want ...State) {
		t.Helper()
		for i, k := range set[zone] {
			if got := k.State(now); got != want[i] {
				t.Errorf("key %d is %s, want %s", i, got, want[i])
			}
		}
	}
	states(Active, Published)
	_, err = set.Add(zone, now)
	refuse("a third while the second waits", err)
	_, err = set.ActivateKey(second, waits, now.Add(69*time.Minute), false)
	refuse("too early", err)
	_, err = set.ActivateKey(first, waits, now, true)
	refuse("to activate an active key", err)
	refuse("to remove an active key", set.RemoveKey(first, waits, now, true))
	now = now.Add(70 * time.Minute)
	changed, err := set.ActivateKey(second, waits, now, false)
	if err != nil || len(changed) != 2 || changed[0] != second || changed[1] != first {
		t.Fatalf("activate: %v %v", changed, err)
	}
	states(Retired, Active)
	now = now.Add(24 * time.Hour)
	refuse("to remove it while caches have the old DS", set.RemoveKey(first, waits, now, false))
	now = now.Add(10 * time.Minute)
	if err := set.RemoveKey(first, waits, now, false); err != nil {
		t.Fatal(err)
	}
	states(Removed, Active)
}

// A key comes back from its files as it was, in the order of creation; a directory that is not there holds none.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dnssec")
	if set, err := Load(dir); err != nil || len(set) != 0 {
		t.Errorf("no directory: %v %v", set, err)
	}
	set := Set{}
	for i := range 3 {
		k, err := New(zone, set[zone], noon.Add(time.Duration(i)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			k.Activate = k.Created.Add(time.Hour)
			k.Inactive = k.Created.Add(2 * time.Hour)
		}
		set[zone] = append(set[zone], k)
		if err := k.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(dir)
	if err != nil || len(got) != 1 || len(got[zone]) != 3 {
		t.Fatalf("got %v %v", got, err)
	}
	for i, k := range got[zone] {
		want := set[zone][i]
		if !k.private.Equal(want.private) || k.Times != want.Times || k.Record(60).String() != want.Record(60).String() {
			t.Errorf("key %d: got %+v, want %+v", i, k, want)
		}
	}
	k := got[zone][0]
	path := filepath.Join(dir, k.name())
	if info, err := os.Stat(path + ".private"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private file: %v %v", info.Mode(), err)
	}
	public, err := os.ReadFile(path + ".key")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(public)), "\n")
	if rr, err := dns.NewRR(lines[len(lines)-1]); err != nil || rr.(*dns.DNSKEY).PublicKey != k.record.PublicKey {
		t.Errorf("the public file: %v %v", rr, err)
	}
}

// A file that is damaged, of another kind or of another name is refused, and the error names it.
func TestLoadRefuses(t *testing.T) {
	k, err := New(zone, nil, noon)
	if err != nil {
		t.Fatal(err)
	}
	k.Activate = k.Created
	from := t.TempDir()
	if err := k.Save(from); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(from, k.name()+".private"))
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string { return strings.ReplaceAll(string(good), old, new) }
	for name, c := range map[string]struct{ file, text string }{
		"empty":             {k.name(), ""},
		"another algorithm": {k.name(), edit("Algorithm: 13", "Algorithm: 8")},
		"no base64":         {k.name(), edit("PrivateKey: ", "PrivateKey: !")},
		"a short key":       {k.name(), edit("PrivateKey: ", "PrivateKey: AAAA\nWas: ")},
		"another's name":    {"K" + zone + "+013+00001", string(good)},
		"no zone":           {"K+013+00001", string(good)},
		"no time":           {k.name(), edit("Created: 2026", "Created: abcd")},
		"no creation":       {k.name(), edit("Created: ", "Made: ")},
		"times in disorder": {k.name(), string(good) + "Inactive: 20200101000000\n"},
		"far too large":     {k.name(), string(good) + strings.Repeat("#\n", fileBytesMax)},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.file+".private"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), c.file) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
