package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/auth"
	"meridian/replication/link"
	"meridian/replication/member"
	"meridian/residency/seal"
)

// secrets are the deployment's key files, made at first start.
type secrets struct {
	dir          string
	keys         *auth.Keyring
	directoryKey auth.DirectoryKey
	routeKey     ed25519.PrivateKey
	cookieKey    []byte // makes DNS cookies
	adminToken   string
	zoneKeys     map[chat.Zone][seal.KeyBytes]byte
	gossipKeys   map[chat.Region][member.KeyBytes]byte // of the regions whose nodes gossip
}

const keyBytes = 32

// zoneKeyFile is the file of the key that wraps a zone's data keys.
func zoneKeyFile(zone chat.Zone) string { return "zone-" + string(zone) + ".seal" }

// loadSecrets opens or makes everything that a whole deployment needs: one directory serves all regions of a local `up`; for
// separate machines each region gets the files of its own zones, and the public halves of the others.
func loadSecrets(cfg *config.Config) (*secrets, error) {
	s := &secrets{dir: cfg.SecretsPath(), zoneKeys: make(map[chat.Zone][seal.KeyBytes]byte), gossipKeys: make(map[chat.Region][member.KeyBytes]byte)}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	unlock, err := lockSecrets(s.dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	zones := make([]chat.Zone, 0, len(cfg.Zones))
	for _, z := range cfg.Zones {
		zones = append(zones, z.Name)
		key, err := seal.LoadOrCreateZoneKey(filepath.Join(s.dir, zoneKeyFile(z.Name)))
		if err != nil {
			return nil, err
		}
		s.zoneKeys[z.Name] = key
	}
	if s.keys, err = auth.LoadOrCreateZoneKeys(s.dir, zones); err != nil {
		return nil, err
	}
	directory, err := secretFile(filepath.Join(s.dir, "directory.key"))
	if err != nil {
		return nil, err
	}
	copy(s.directoryKey[:], directory)
	seed, err := secretFile(filepath.Join(s.dir, "route.key"))
	if err != nil {
		return nil, err
	}
	s.routeKey = ed25519.NewKeyFromSeed(seed)
	if s.cookieKey, err = secretFile(filepath.Join(s.dir, "dns-cookie.key")); err != nil {
		return nil, err
	}
	token, err := secretFile(filepath.Join(s.dir, "admin.token"))
	if err != nil {
		return nil, err
	}
	s.adminToken = hex.EncodeToString(token)
	for _, r := range cfg.Regions {
		if r.NodeList()[0].Gossip == "" {
			continue
		}
		key, err := secretFile(filepath.Join(s.dir, "gossip-"+string(r.Name)+".key"))
		if err != nil {
			return nil, err
		}
		s.gossipKeys[r.Name] = [member.KeyBytes]byte(key)
	}
	return s, issueCertificates(s.dir, cfg)
}

// storeSecrets opens or makes what a region's store process and its nodes know of each other, and nothing else.
func storeSecrets(cfg *config.Config, region chat.Region) ([]byte, *link.Identity, error) {
	dir := cfg.SecretsPath()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	unlock, err := lockSecrets(dir)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	secret, err := secretFile(filepath.Join(dir, "store-"+string(region)+".key"))
	if err != nil {
		return nil, nil, err
	}
	if err := issueCertificates(dir, cfg); err != nil {
		return nil, nil, err
	}
	identity, err := link.LoadIdentity(dir, region)
	return secret, identity, err
}

// lockSecrets lets one process at a time make what is missing: those of a deployment may start together for the first time.
func lockSecrets(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // the lock goes with the file
}

func issueCertificates(dir string, cfg *config.Config) error {
	authority, err := link.LoadOrCreateAuthority(dir, cfg.Name)
	if err != nil {
		return err
	}
	for _, r := range cfg.Regions {
		if _, err := authority.IssueRegion(r.Name); err != nil {
			return err
		}
	}
	return nil
}

// secretFile reads keyBytes random bytes, in hex, from path; the first caller makes them. The file appears whole.
func secretFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createSecret(path); err != nil {
			return nil, err
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keyBytes {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "meridian.secretFile", Message: path + " must hold 64 hex digits"}
	}
	return key, nil
}

func createSecret(path string) error {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".secret-*")
	if err != nil {
		return err
	}
	if _, err := f.WriteString(hex.EncodeToString(key) + "\n"); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
