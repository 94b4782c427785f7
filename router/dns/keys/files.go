package keys

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Set holds the keys of each zone, by creation. A zone without keys is not signed.
type Set map[string][]*Key

const (
	privateSuffix = ".private"
	publicSuffix  = ".key"
	// timeLayout is BIND's, in UTC.
	timeLayout = "20060102150405"
	// fileBytesMax is more than any key file has.
	fileBytesMax = 4096
)

// Load reads all keys of a directory; one that does not exist has none. Its errors have CodeInvalid and name the file.
func Load(dir string) (Set, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Set{}, nil
	}
	if err != nil {
		return nil, invalid(dir, err)
	}
	set := Set{}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "K") || !strings.HasSuffix(e.Name(), privateSuffix) {
			continue
		}
		file := filepath.Join(dir, e.Name())
		k, err := read(file)
		if err != nil {
			return nil, invalid(file, err)
		}
		set[k.Zone] = append(set[k.Zone], k)
	}
	for _, all := range set {
		slices.SortFunc(all, func(a, b *Key) int {
			if by := a.Created.Compare(b.Created); by != 0 {
				return by
			}
			return int(a.Tag()) - int(b.Tag())
		})
	}
	return set, nil
}

// name gives the name of a key's files, as K<zone>+013+<tag>.
func (k *Key) name() string { return fmt.Sprintf("K%s+%03d+%05d", k.Zone, k.record.Algorithm, k.Tag()) }

// read reads a private file. The public half follows from it; the public file is for people and tools.
func read(file string) (*Key, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > fileBytesMax {
		return nil, errors.Join(err, fmt.Errorf("it is larger than %d bytes", fileBytesMax))
	}
	values := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			values[name] = strings.TrimSpace(value)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if number, _, _ := strings.Cut(values["Algorithm"], " "); number != fmt.Sprint(algorithm) {
		return nil, fmt.Errorf("algorithm %q is not %d (ECDSA P-256)", number, algorithm)
	}
	secret, err := base64.StdEncoding.DecodeString(values["PrivateKey"])
	if err != nil {
		return nil, err
	}
	base := strings.TrimSuffix(filepath.Base(file), privateSuffix)
	zone, _, ok := strings.Cut(strings.TrimPrefix(base, "K"), "+")
	if _, valid := dns.IsDomainName(zone); !ok || !valid || !strings.HasSuffix(zone, ".") {
		return nil, errors.New("its name is not K<zone>+013+<tag>" + privateSuffix)
	}
	k, err := fromSecret(strings.ToLower(zone), secret)
	if err != nil {
		return nil, err
	}
	if k.name() != base {
		return nil, fmt.Errorf("its name does not fit the key in it, which is %s", k.name())
	}
	for name, t := range k.timesByName() {
		if *t, err = parseTime(values[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return k, k.check()
}

// timesByName gives the times as BIND names them.
func (k *Key) timesByName() map[string]*time.Time {
	return map[string]*time.Time{"Created": &k.Created, "Activate": &k.Activate, "Inactive": &k.Inactive, "Delete": &k.Delete}
}

func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return time.Parse(timeLayout, s)
}

// Save writes the key's files. Each appears whole, the private one, which counts, last.
func (k *Key) Save(dir string) error {
	if err := k.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	secret, err := k.private.Bytes()
	if err != nil {
		return err
	}
	var public, private strings.Builder
	fmt.Fprintf(&public, "; A signing key of %s\n", k.Zone)
	fmt.Fprintf(&private, "Private-key-format: v1.3\nAlgorithm: %d (%s)\nPrivateKey: %s\n", algorithm, dns.AlgorithmToString[algorithm], base64.StdEncoding.EncodeToString(secret))
	for _, line := range []struct {
		name string
		at   time.Time
	}{{"Created", k.Created}, {"Publish", k.Created}, {"Activate", k.Activate}, {"Inactive", k.Inactive}, {"Delete", k.Delete}} {
		if !line.at.IsZero() {
			fmt.Fprintf(&private, "%s: %s\n", line.name, line.at.UTC().Format(timeLayout))
			fmt.Fprintf(&public, "; %s: %s\n", line.name, line.at.UTC().Format(timeLayout))
		}
	}
	fmt.Fprintf(&public, "%s\n", &k.record)
	path := filepath.Join(dir, k.name())
	if err := replace(path+publicSuffix, public.String(), 0o644); err != nil {
		return err
	}
	return replace(path+privateSuffix, private.String(), 0o600)
}

// replace puts a file in its place whole and durable.
func replace(path, text string, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
