package auth

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"meridian/chat"
)

// Keys are made once, private to their owner, and read again as they are.
func TestZoneKeysAreMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	first, err := LoadOrCreateZoneKeys(dir, []chat.Zone{"eu", "world"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := LoadOrCreateZoneKeys(dir, []chat.Zone{"eu", "world", "in"})
	if err != nil {
		t.Fatal(err)
	}
	if got := second.Signs(); !slices.Equal(got, []chat.Zone{"eu", "in", "world"}) {
		t.Errorf("signs for %v", got)
	}
	token, err := first.sign("test", Access, Claims{Zone: "eu", IssuedAt: time.Now(), Expires: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewVerifier("test", second, Certain(time.Now)).Verify(token, Access); err != nil {
		t.Errorf("a token of before is refused: %v", err)
	}
	info, err := os.Stat(keyPath(dir, "eu", 1, "key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("private key: %v, %v, want mode 0600", info.Mode(), err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".token-*"))
	if len(left) != 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

// A region holds private keys of its own zones only, and verifies those of all.
func TestPrivateKeysStayInTheZone(t *testing.T) {
	dir, abroad := t.TempDir(), t.TempDir()
	all, err := LoadOrCreateZoneKeys(dir, []chat.Zone{"eu", "world"})
	if err != nil {
		t.Fatal(err)
	}
	if got := all.Only("world", "in"); !slices.Equal(got.Signs(), []chat.Zone{"world"}) || !slices.Equal(got.Verifies(), []chat.Zone{"eu", "world"}) {
		t.Errorf("Only(world, in) signs for %v and verifies %v", got.Signs(), got.Verifies())
	}
	copyFile(t, keyPath(dir, "eu", 1, "pub"), keyPath(abroad, "eu", 1, "pub"))
	ring, err := LoadOrCreateZoneKeys(abroad, []chat.Zone{"eu", "world"})
	if err != nil {
		t.Fatal(err)
	}
	if got := ring.Signs(); !slices.Equal(got, []chat.Zone{"world"}) {
		t.Errorf("with the public key of eu alone it signs for %v, want world alone", got)
	}
	if _, err := ring.sign("test", Access, Claims{Zone: "eu"}); chat.CodeOf(err) != chat.CodeInternal {
		t.Errorf("signing for eu: %v, want %s", err, chat.CodeInternal)
	}
}

// After a rotation the newest key signs, and tokens of the older one still hold.
func TestKeyRotation(t *testing.T) {
	dir := t.TempDir()
	before, err := LoadOrCreateZoneKeys(dir, []chat.Zone{"eu"})
	if err != nil {
		t.Fatal(err)
	}
	if err := createKey(dir, "eu", 2); err != nil {
		t.Fatal(err)
	}
	after, err := LoadZoneKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if id := after.signing["eu"].id; id != "eu/2" {
		t.Errorf("signs with %s, want eu/2", id)
	}
	c := Claims{Zone: "eu", IssuedAt: time.Now(), Expires: time.Now().Add(time.Minute)}
	for _, ring := range []*Keyring{before, after} {
		token, err := ring.sign("test", Access, c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewVerifier("test", after, Certain(time.Now)).Verify(token, Access); err != nil {
			t.Errorf("token of %s: %v", ring.signing["eu"].id, err)
		}
	}
}

// Key files that are damaged, of the wrong kind or do not belong together stop the start; other files do not matter.
func TestDamagedKeysAreRefused(t *testing.T) {
	other := t.TempDir()
	if _, err := LoadOrCreateZoneKeys(other, []chat.Zone{"eu"}); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(dir string){
		"empty key": func(dir string) { write(t, keyPath(dir, "eu", 1, "key"), "") },
		"no PEM":    func(dir string) { write(t, keyPath(dir, "eu", 1, "pub"), "hello") },
		"PEM of zeros": func(dir string) {
			write(t, keyPath(dir, "eu", 1, "key"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
		},
		"other's pub": func(dir string) { copyFile(t, keyPath(other, "eu", 1, "pub"), keyPath(dir, "eu", 1, "pub")) },
		"pub for key": func(dir string) { copyFile(t, keyPath(dir, "eu", 1, "pub"), keyPath(dir, "eu", 1, "key")) },
	} {
		dir := t.TempDir()
		if _, err := LoadOrCreateZoneKeys(dir, []chat.Zone{"eu"}); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "token-eu-0.key"), "not a key's name")
		write(t, filepath.Join(dir, "README"), "nor this")
		if _, err := LoadZoneKeys(dir); err != nil {
			t.Errorf("other files: %v", err)
		}
		damage(dir)
		if _, err := LoadZoneKeys(dir); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := LoadOrCreateZoneKeys(t.TempDir(), []chat.Zone{"../eu"}); err == nil {
		t.Error("a zone that leaves the directory was taken")
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(text))
}
