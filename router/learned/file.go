// Package learned holds the round trips that the regions' own sockets have measured, by network and by country and autonomous
// system: the file that a person reads before a router takes it, and the set that decisions ask. Decision 0026 says why.
package learned

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
)

// Group is a group of clients for which round trips are learned: a network, or else a country and an autonomous system.
type Group struct {
	Network netip.Prefix
	Country string // ISO 3166-1 alpha-2
	ASN     uint32
}

func (g Group) String() string {
	if g.Network.IsValid() {
		return g.Network.String()
	}
	return fmt.Sprintf("%s AS%d", g.Country, g.ASN)
}

// compare sorts networks first, by address.
func (g Group) compare(o Group) int {
	if g.Network.IsValid() != o.Network.IsValid() {
		if g.Network.IsValid() {
			return -1
		}
		return 1
	}
	return cmp.Or(
		g.Network.Addr().Compare(o.Network.Addr()), cmp.Compare(g.Country, o.Country), cmp.Compare(g.ASN, o.ASN),
	)
}

// Row is what one region has measured of one group.
type Row struct {
	Group
	Region  chat.Region
	P50Ms   float64
	Samples int
	Last    time.Time // the day of the last sample
}

func (r Row) measured() decide.Measured {
	return decide.Measured{Region: r.Region, Of: r.Group.String(), P50Ms: r.P50Ms, Samples: r.Samples, Last: r.Last}
}

// File is what was learned when it was collected.
type File struct {
	Collected time.Time
	Rows      []Row
}

// The bounds of a file.
const (
	fileBytesMax = 128 << 20
	rowsMax      = 2_000_000
	// MsMax is the longest round trip that is believed, MinSamples how many samples a row needs.
	MsMax      = 10_000.0
	MinSamples = 50
	samplesMax = 1 << 40
)

const (
	title     = "# meridian learned round trips, version 1"
	collected = "# collected "
)

var columns = []string{"network", "country", "asn", "region", "p50_ms", "samples", "last"}

// Write writes the file, its rows sorted, so that two can be compared as texts.
func (f File) Write(w io.Writer) error {
	f.Rows = slices.Clone(f.Rows)
	f.sort()
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s\n%s%s\n%s\n", title, collected, f.Collected.UTC().Format(time.RFC3339), strings.Join(columns, ","))
	for _, r := range f.Rows {
		network, asn := "", ""
		if r.Network.IsValid() {
			network = r.Network.String()
		} else {
			asn = strconv.FormatUint(uint64(r.ASN), 10)
		}
		fmt.Fprintf(out, "%s,%s,%s,%s,%.2f,%d,%s\n", network, r.Country, asn, r.Region, r.P50Ms, r.Samples, r.Last.UTC().Format(time.DateOnly))
	}
	return out.Flush()
}

// Load reads a file. The error has CodeInvalid and names the file and the line; see geo.FaultOf.
func Load(name string) (File, error) {
	in, err := os.Open(name)
	if err != nil {
		return File{}, unusable(name, geo.FaultUnreadable, "cannot be read", err)
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, fileBytesMax+1))
	switch {
	case err != nil:
		return File{}, unusable(name, geo.FaultUnreadable, "cannot be read to its end", err)
	case len(raw) > fileBytesMax:
		return File{}, unusable(name, geo.FaultTooLarge, fmt.Sprintf("has more than %d MiB", fileBytesMax>>20), nil)
	case len(raw) == 0:
		return File{}, unusable(name, geo.FaultEmpty, "is an empty file", nil)
	}
	return Parse(name, raw)
}

// Parse is Load for what has been read.
func Parse(name string, raw []byte) (File, error) {
	head, rest, _ := bytes.Cut(raw, []byte("\n"))
	if string(head) != title {
		return File{}, unusable(name, geo.FaultWrongType, "does not begin with the line "+strconv.Quote(title), nil)
	}
	head, rest, _ = bytes.Cut(rest, []byte("\n"))
	when, ok := strings.CutPrefix(string(head), collected)
	at, err := time.Parse(time.RFC3339, when)
	if !ok || err != nil {
		return File{}, unusable(name, geo.FaultCorrupt, "does not say in line 2 when it was collected", err)
	}
	f := File{Collected: at}
	r := csv.NewReader(bytes.NewReader(rest))
	r.FieldsPerRecord, r.ReuseRecord = len(columns), true
	for line := 3; ; line++ {
		fields, err := r.Read()
		switch {
		case errors.Is(err, io.EOF) && len(f.Rows) > 0:
			return f, f.twice(name)
		case errors.Is(err, io.EOF):
			return File{}, unusable(name, geo.FaultEmpty, "holds no rows", nil)
		case err == nil && line == 3 && !slices.Equal(fields, columns):
			err = fmt.Errorf("want the columns %s", strings.Join(columns, ","))
		case err == nil && line > 3:
			err = f.add(fields)
		}
		if err != nil {
			return File{}, unusable(name, geo.FaultCorrupt, fmt.Sprintf("is damaged in line %d", line), err)
		}
		if len(f.Rows) > rowsMax {
			return File{}, unusable(name, geo.FaultTooLarge, fmt.Sprintf("has more than %d rows", rowsMax), nil)
		}
	}
}

// add reads one row.
func (f *File) add(fields []string) error {
	r := Row{Region: chat.Region(strings.Clone(fields[3]))}
	var err error
	if r.Group, err = readGroup(fields[0], fields[1], fields[2]); err != nil {
		return err
	}
	if r.Region == "" {
		return errors.New("the region is missing")
	}
	if r.P50Ms, err = strconv.ParseFloat(fields[4], 64); err != nil || !(r.P50Ms > 0 && r.P50Ms <= MsMax) { // NaN too
		return fmt.Errorf("p50_ms: %q is no round trip of more than 0 and at most %v ms", fields[4], MsMax)
	}
	samples, err := strconv.ParseUint(fields[5], 10, 64)
	if err != nil || samples < MinSamples || samples > samplesMax {
		return fmt.Errorf("samples: %q is no number of at least %d", fields[5], MinSamples)
	}
	r.Samples = int(min(samples, math.MaxInt)) // on a machine of 32 bits
	if r.Last, err = time.Parse(time.DateOnly, fields[6]); err != nil {
		return fmt.Errorf("last: %w", err)
	}
	if r.Last.After(f.Collected) {
		return errors.New("last: lies after the day on which the file was collected")
	}
	f.Rows = append(f.Rows, r)
	return nil
}

func readGroup(network, country, asn string) (Group, error) {
	if network == "" {
		n, err := strconv.ParseUint(asn, 10, 32)
		if err != nil || n == 0 || !isCountry(country) {
			return Group{}, fmt.Errorf("%q and %q are no country and autonomous system, and there is no network", country, asn)
		}
		return Group{Country: strings.Clone(country), ASN: uint32(n)}, nil
	}
	p, err := netip.ParsePrefix(network)
	if err != nil || country != "" || asn != "" {
		return Group{}, fmt.Errorf("%q is no network, or more than that stands in the row", network)
	}
	if want, ok := config.LearnedNetwork(p.Addr()); !ok || want != p {
		return Group{}, fmt.Errorf("%s is none of the networks for which round trips are learned, /20 of IPv4 and /36 of IPv6", network)
	}
	return Group{Network: p}, nil
}

func isCountry(s string) bool {
	return len(s) == 2 && 'A' <= s[0] && s[0] <= 'Z' && 'A' <= s[1] && s[1] <= 'Z'
}

func (f *File) sort() {
	slices.SortFunc(f.Rows, func(a, b Row) int { return cmp.Or(a.compare(b.Group), cmp.Compare(a.Region, b.Region)) })
}

// twice sorts the rows and finds two that say the same.
func (f *File) twice(name string) error {
	f.sort()
	for i := 1; i < len(f.Rows); i++ {
		if a, b := f.Rows[i-1], f.Rows[i]; a.Group == b.Group && a.Region == b.Region {
			return unusable(name, geo.FaultCorrupt, fmt.Sprintf("says twice what %s has measured of %s", a.Region, a.Group), nil)
		}
	}
	return nil
}

func unusable(file string, fault geo.Fault, what string, cause error) error {
	return geo.NewFileError("learned.Load", file, fault, what, cause)
}
