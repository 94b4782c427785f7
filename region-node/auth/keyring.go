package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"meridian/chat"
)

// Keyring holds token keys: public ones of every zone, private ones of the zones that may sign here. It never changes.
type Keyring struct {
	public  map[string]publicKey // by key id
	signing map[chat.Zone]signingKey
}

type publicKey struct {
	zone chat.Zone
	key  ed25519.PublicKey
}

type signingKey struct {
	id  string
	key ed25519.PrivateKey
}

// KeyID gives the id that tokens name a key by: "<zone>/<serial>".
func KeyID(zone chat.Zone, serial int) string { return string(zone) + "/" + strconv.Itoa(serial) }

// Only gives a ring that signs for those of zones it has private keys of, and verifies as before: what one region may hold
// when several share a process.
func (k *Keyring) Only(zones ...chat.Zone) *Keyring {
	signing := make(map[chat.Zone]signingKey)
	for _, z := range zones {
		if s, ok := k.signing[z]; ok {
			signing[z] = s
		}
	}
	return &Keyring{public: k.public, signing: signing}
}

// Signs gives the zones that the ring can sign for, sorted.
func (k *Keyring) Signs() []chat.Zone { return slices.Sorted(maps.Keys(k.signing)) }

// Verifies gives the zones whose tokens the ring can check, sorted, each once.
func (k *Keyring) Verifies() []chat.Zone {
	zones := make(map[chat.Zone]bool)
	for _, p := range k.public {
		zones[p.zone] = true
	}
	return slices.Sorted(maps.Keys(zones))
}

// Key files are token-<zone>-<serial>.key (PKCS #8, private) and .pub (PKIX). Rotation: give every region the .pub of a new
// serial, then the zone's regions its .key; the highest serial signs, all verify.
var keyFile = regexp.MustCompile(`^token-([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)-([1-9][0-9]{0,5})\.(key|pub)$`)

func keyPath(dir string, zone chat.Zone, serial int, ext string) string {
	return filepath.Join(dir, fmt.Sprintf("token-%s-%d.%s", zone, serial, ext))
}

// LoadZoneKeys reads the token keys that lie in dir; a private key brings its public half. Other files are left alone.
func LoadZoneKeys(dir string) (*Keyring, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("token keys: %w", err)
	}
	ring := &Keyring{public: make(map[string]publicKey), signing: make(map[chat.Zone]signingKey)}
	best := make(map[chat.Zone]int)
	for _, entry := range entries {
		m := keyFile.FindStringSubmatch(entry.Name())
		if m == nil {
			continue
		}
		zone := chat.Zone(m[1])
		serial, err := strconv.Atoi(m[2])
		if err != nil {
			return nil, fmt.Errorf("token key %s: %w", entry.Name(), err)
		}
		public, private, err := readKey(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		id := KeyID(zone, serial)
		if known, ok := ring.public[id]; ok && !known.key.Equal(public) {
			return nil, fmt.Errorf("token key %s: its .key and .pub do not belong together", id)
		}
		ring.public[id] = publicKey{zone: zone, key: public}
		if private != nil && serial > best[zone] {
			best[zone] = serial
			ring.signing[zone] = signingKey{id: id, key: private}
		}
	}
	return ring, nil
}

// LoadOrCreateZoneKeys reads the token keys in dir and makes serial 1 for those of zones that have no key there at all, not
// even a public one: a zone whose public key is there is signed for elsewhere. The directory and keys are private to the user.
func LoadOrCreateZoneKeys(dir string, zones []chat.Zone) (*Keyring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("token keys: %w", err)
	}
	ring, err := LoadZoneKeys(dir)
	if err != nil {
		return nil, err
	}
	known := ring.Verifies()
	made := false
	for _, zone := range zones {
		if slices.Contains(known, zone) {
			continue
		}
		if err := createKey(dir, zone, 1); err != nil {
			return nil, err
		}
		made = true
	}
	if !made {
		return ring, nil
	}
	return LoadZoneKeys(dir)
}

// createKey writes a new key pair, private half first. If another process was faster, its key stays.
func createKey(dir string, zone chat.Zone, serial int) error {
	if !keyFile.MatchString(filepath.Base(keyPath(dir, zone, serial, "key"))) {
		return fmt.Errorf("token keys: zone %q makes no file name", zone)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("token keys: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("token keys: %w", err)
	}
	keyName := keyPath(dir, zone, serial, "key")
	if err := writeOnce(keyName, "PRIVATE KEY", der); err != nil {
		return err
	}
	public, _, err := readKey(keyName) // the one that stands
	if err != nil {
		return err
	}
	if der, err = x509.MarshalPKIXPublicKey(public); err != nil {
		return fmt.Errorf("token keys: %w", err)
	}
	return writeOnce(keyPath(dir, zone, serial, "pub"), "PUBLIC KEY", der)
}

// writeOnce makes the file name whole, or leaves the one that is there.
func writeOnce(name, kind string, der []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".token-*")
	if err != nil {
		return fmt.Errorf("token keys: %w", err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // a left-over temporary file is harmless
	err = pem.Encode(tmp, &pem.Block{Type: kind, Bytes: der})
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		if err = os.Link(tmp.Name(), name); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("token keys: %w", err)
	}
	return nil
}

// readKey reads a key file; private is nil for a public one.
func readKey(name string) (public ed25519.PublicKey, private ed25519.PrivateKey, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, fmt.Errorf("token keys: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, nil, fmt.Errorf("token key %s: not PEM", name)
	}
	if filepath.Ext(name) == ".pub" {
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if public, ok := parsed.(ed25519.PublicKey); ok && err == nil {
			return public, nil, nil
		}
		return nil, nil, fmt.Errorf("token key %s: not an Ed25519 public key", name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok || err != nil {
		return nil, nil, fmt.Errorf("token key %s: not an Ed25519 private key", name)
	}
	return private.Public().(ed25519.PublicKey), private, nil
}
