// Package backup describes a copy of a region's store by a manifest beside its files, checks a copy against it, and brings the files back.
// What made the files, and what they mean, is the store's business.
//
// The manifest is written last, so a directory without one is a backup that was not finished. It says how large each file is and what
// its SHA-256 is, and carries a checksum of itself: damage is noticed, wherever it is. It is no protection against who wants to forge one.
package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"meridian/chat"
)

// Format numbers the manifest's meaning; a larger one was written by a newer version.
const Format = 1

// ManifestName is the manifest's file in the directory of a backup.
const ManifestName = "MANIFEST.json"

// Manifest says what a backup holds.
type Manifest struct {
	Format int            `json:"format"`
	Region chat.Region    `json:"region"`
	Store  chat.StoreInfo `json:"store"`
	// Began and Ended: everything acknowledged before Began is in the backup, nothing originated after Ended.
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	// Applied is how far other regions' op logs were applied when the backup began.
	Applied []chat.AppliedRow `json:"applied,omitempty"`
	// Files, sorted by name, are all files but the manifest.
	Files []File `json:"files"`
	// Checksum is the SHA-256 of the manifest without it.
	Checksum string `json:"checksum"`
}

// File is one file of a backup; Name is relative to its directory, with slashes.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Bytes gives the size of all files.
func (m *Manifest) Bytes() (sum int64) {
	for _, f := range m.Files {
		sum += f.Bytes
	}
	return sum
}

// checksum gives what Checksum should be.
func (m *Manifest) checksum() (string, error) {
	bare := *m
	bare.Checksum = ""
	b, err := json.Marshal(&bare)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func invalid(format string, args ...any) *chat.Error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "backup", Message: fmt.Sprintf(format, args...)}
}

// Read reads the manifest of the backup in dir. The error has CodeNotFound where there is none, CodeUpgradePending for one of a newer format,
// CodeInvalid for one that is damaged.
func Read(dir string) (*Manifest, error) {
	b, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &chat.Error{Code: chat.CodeNotFound, Op: "backup", Message: dir + " has no " + ManifestName + ": it is no backup, or one that was not finished", Cause: err}
	}
	if err != nil {
		return nil, err
	}
	m := new(Manifest)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, invalid("%s of %s is damaged: %v", ManifestName, dir, err)
	}
	if m.Format > Format {
		return nil, &chat.Error{Code: chat.CodeUpgradePending, Op: "backup", Message: fmt.Sprintf(
			"%s has format %d, this version knows %d: it was made by a newer version of meridian; use that one", dir, m.Format, Format)}
	}
	want, err := m.checksum()
	if err != nil {
		return nil, err
	}
	if m.Checksum != want || m.Format < 1 || m.Region == "" {
		return nil, invalid("%s of %s is damaged: its checksum does not hold", ManifestName, dir)
	}
	for _, f := range m.Files {
		if name := filepath.FromSlash(f.Name); !filepath.IsLocal(name) || filepath.Clean(name) != name || f.Name == ManifestName || strings.Contains(f.Name, "\\") {
			return nil, invalid("%s of %s names a file that cannot be: %q", ManifestName, dir, f.Name)
		}
	}
	return m, nil
}

// Write describes the files in dir by a manifest of m's words beside them, when all of them are on the disk. progress, if not nil, is told
// how many bytes of how many are read. The error has CodeInvalid for what is neither file nor directory, and where there is a manifest.
func Write(dir string, m Manifest, progress func(done, all int64)) (*Manifest, error) {
	names, total, err := list(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(dir, ManifestName)); err == nil {
		return nil, invalid("%s has a manifest already", dir)
	}
	m.Format, m.Files = Format, []File{}
	meter := meter{all: total, tell: progress}
	dirs := map[string]bool{dir: true}
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		file, err := describe(path, &meter)
		if err != nil {
			return nil, err
		}
		file.Name = name
		m.Files = append(m.Files, file)
		for d := filepath.Dir(path); !dirs[d]; d = filepath.Dir(d) {
			dirs[d] = true
		}
	}
	for d := range dirs {
		if err := syncPath(d); err != nil {
			return nil, err
		}
	}
	if m.Checksum, err = m.checksum(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(&m, "", "  ")
	if err != nil {
		return nil, err
	}
	return &m, publish(dir, b)
}

// publish writes the manifest so that it is there whole or not at all.
func publish(dir string, text []byte) error {
	unfinished := filepath.Join(dir, "."+ManifestName+".unfinished")
	if err := os.WriteFile(unfinished, append(text, '\n'), 0o600); err != nil {
		return err
	}
	if err := syncPath(unfinished); err != nil {
		return err
	}
	if err := os.Rename(unfinished, filepath.Join(dir, ManifestName)); err != nil {
		return err
	}
	return syncPath(dir)
}
