// Package geotest makes address files and models for tests.
package geotest

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
)

// Networks are the records of an address file by network, in CIDR notation.
type Networks map[string]mmdbtype.Map

// File writes an address file of a kind, a DatabaseType of MaxMind's, made at a time in seconds since 1970, and gives its name. path may
// be "" for a file in a directory that ends with the test.
func File(t testing.TB, path, kind string, built int64, all Networks) string {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, IncludeReservedNetworks: true, BuildEpoch: built})
	must(t, err)
	for prefix, record := range all {
		_, network, err := net.ParseCIDR(prefix)
		must(t, err)
		must(t, w.Insert(network, record))
	}
	if path == "" {
		path = filepath.Join(t.TempDir(), "addresses.mmdb")
	}
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	must(t, err)
	must(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

// Nested is a record in MaxMind's nested shape; without a city for "".
func Nested(code, city string, lat, lon float64) mmdbtype.Map {
	m := mmdbtype.Map{
		"country":  mmdbtype.Map{"iso_code": mmdbtype.String(code)},
		"location": mmdbtype.Map{"latitude": mmdbtype.Float64(lat), "longitude": mmdbtype.Float64(lon)},
	}
	if city != "" {
		m["city"] = mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(city)}}
	}
	return m
}

// Flat is a record in the flat shape.
func Flat(code, city string, lat, lon float32) mmdbtype.Map {
	return mmdbtype.Map{
		"country_code": mmdbtype.String(code), "city": mmdbtype.String(city),
		"latitude": mmdbtype.Float32(lat), "longitude": mmdbtype.Float32(lon),
	}
}

// Model makes the model of a configuration on the measured network.
func Model(t testing.TB, cfg *config.Config) *decide.Model {
	t.Helper()
	world, err := geo.World()
	must(t, err)
	m, err := decide.NewModel(cfg, world)
	must(t, err)
	return m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
