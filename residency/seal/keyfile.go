package seal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"meridian/chat"
)

// LoadOrCreateZoneKey reads a zone's master key from path: 64 hexadecimal digits, in a file that only its owner may read.
// When there is none it makes one, atomically and durably: of several processes that do so at once all get the same. The
// error has CodeInvalid for a file that is no key or that others may read.
func LoadOrCreateZoneKey(path string) (key [KeyBytes]byte, err error) {
	key, err = loadZoneKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createZoneKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return key, fileError("cannot make the zone key "+path, err)
	}
	return loadZoneKey(path)
}

func fileError(message string, cause error) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "seal.LoadOrCreateZoneKey", Message: message, Cause: cause}
}

func loadZoneKey(path string) (key [KeyBytes]byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return key, fileError("cannot read the zone key "+path, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return key, fileError(fmt.Sprintf("the zone key %s has mode %04o: others may read it; allowed is 0600", path, mode), nil)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return key, fileError("cannot read the zone key "+path, err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(b) != KeyBytes {
		return key, fileError("the zone key "+path+" is not 64 hexadecimal digits", nil)
	}
	return [KeyBytes]byte(b), nil
}

// createZoneKey links a finished file to path, which fails when there is one.
func createZoneKey(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key := make([]byte, KeyBytes)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".zone-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
