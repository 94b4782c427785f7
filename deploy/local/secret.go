package local

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Secret gives the password that the file holds. If there is none, a random one is made and kept there, for the owner only.
func Secret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	secret := rand.Text() // 128 bits
	return secret, writeFile(path, secret+"\n")
}

// writeFile writes a file for the owner only, whole or not at all.
func writeFile(path, content string) error {
	next := path + ".next"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}
