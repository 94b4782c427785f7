package geo

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"strconv"

	"meridian/chat"
	"meridian/router/decide"
)

var (
	//go:embed data/points.csv
	pointsCSV []byte
	//go:embed data/rtt.csv
	rttCSV []byte
	//go:embed data/countries.csv
	countriesCSV []byte
)

// World gives the network points and the round trips measured between them. The error has CodeInternal: the embedded
// tables are at fault.
func World() (decide.World, error) {
	var w decide.World
	rows, err := readCSV(pointsCSV, 5)
	if err != nil {
		return w, damaged("points.csv", err)
	}
	for _, row := range rows {
		lat, lon, err := coordinates(row[3], row[4])
		if err != nil {
			return w, damaged("points.csv", err)
		}
		w.Points = append(w.Points, decide.Point{Name: row[0], City: row[1], Country: row[2], Latitude: lat, Longitude: lon})
	}
	if rows, err = readCSV(rttCSV, len(w.Points)+1); err != nil || len(rows) != len(w.Points) {
		return w, damaged("rtt.csv", fmt.Errorf("%d rows for %d points: %w", len(rows), len(w.Points), err))
	}
	for i, row := range rows {
		if row[0] != w.Points[i].Name {
			return w, damaged("rtt.csv", fmt.Errorf("row %d is %s, want %s", i+1, row[0], w.Points[i].Name))
		}
		ms := make([]float64, len(w.Points))
		for j := range ms {
			if ms[j], err = strconv.ParseFloat(row[j+1], 64); err != nil {
				return w, damaged("rtt.csv", err)
			}
		}
		w.RTTms = append(w.RTTms, ms)
	}
	return w, nil
}

// country is the place that stands for all of a country.
type country struct {
	city     string
	lat, lon float64
}

func countries() (map[string]country, error) {
	rows, err := readCSV(countriesCSV, 4)
	if err != nil {
		return nil, damaged("countries.csv", err)
	}
	out := make(map[string]country, len(rows))
	for _, row := range rows {
		lat, lon, err := coordinates(row[2], row[3])
		if err != nil {
			return nil, damaged("countries.csv", err)
		}
		out[row[0]] = country{city: row[1], lat: lat, lon: lon}
	}
	return out, nil
}

// readCSV gives the rows below the header, each of that many fields.
func readCSV(data []byte, fields int) ([][]string, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = fields
	rows, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	return rows[min(1, len(rows)):], nil
}

func coordinates(lat, lon string) (float64, float64, error) {
	a, err := strconv.ParseFloat(lat, 64)
	if err != nil {
		return 0, 0, err
	}
	b, err := strconv.ParseFloat(lon, 64)
	if err != nil {
		return 0, 0, err
	}
	if a < -90 || a > 90 || b < -180 || b > 180 {
		return 0, 0, fmt.Errorf("no such coordinates: %v, %v", a, b)
	}
	return a, b, nil
}

func damaged(file string, err error) error {
	return &chat.Error{Code: chat.CodeInternal, Op: "geo.World", Message: "embedded " + file + " is damaged", Cause: err}
}
