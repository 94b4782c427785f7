package geo

import (
	"math"

	"meridian/router/decide"
	"meridian/router/geo/ranges"
)

// places are the distinct places of a Data by number, each in a few bytes: a city database has some hundred thousand.
type places struct {
	records []record
	words   []string
}

// record is a place. Its texts are indexes into words; a hundredth of a degree is 1.1 km at most.
type record struct {
	city, source, detail, override          uint32
	latitudeHundredths, longitudeHundredths int32
	country                                 [2]byte
	level                                   level
}

type level uint8

const (
	levelNone level = iota
	levelCountry
	levelCity
)

// at gives place n.
func (p *places) at(n uint32) decide.Place {
	r := &p.records[n]
	out := decide.Place{
		City: p.words[r.city], Source: p.words[r.source], Detail: p.words[r.detail], Override: p.words[r.override],
		Latitude: float64(r.latitudeHundredths) / 100, Longitude: float64(r.longitudeHundredths) / 100,
	}
	out.Country = p.country(n)
	switch r.level {
	case levelCountry:
		out.Level = decide.LevelCountry
	case levelCity:
		out.Level = decide.LevelCity
	case levelNone:
	}
	return out
}

func (p *places) country(n uint32) string {
	if c := p.records[n].country; c[0] != 0 {
		return countryCode(c)
	}
	return ""
}

// alphabet holds the two letters of every country code one after the other, so that taking one costs no memory.
var alphabet = func() string {
	var b []byte
	for x := byte('A'); x <= 'Z'; x++ {
		for y := byte('A'); y <= 'Z'; y++ {
			b = append(b, x, y)
		}
	}
	return string(b)
}()

const letters = 'Z' - 'A' + 1

func countryCode(c [2]byte) string {
	i := 2 * (int(c[0]-'A')*letters + int(c[1]-'A'))
	return alphabet[i : i+2]
}

// numbering gives places their numbers while a Data is made.
type numbering struct {
	places
	known map[record]uint32
	word  map[string]uint32
	full  bool // there were more places than a Set can number
}

func newNumbering() *numbering {
	return &numbering{known: map[record]uint32{}, word: map[string]uint32{}, places: places{words: []string{""}}}
}

// number gives a place its number, the same for the same place.
func (n *numbering) number(p decide.Place) uint32 {
	r := record{
		city: n.text(p.City), source: n.text(p.Source), detail: n.text(p.Detail), override: n.text(p.Override),
		latitudeHundredths: hundredths(p.Latitude), longitudeHundredths: hundredths(p.Longitude),
	}
	if isCountry(p.Country) {
		r.country = [2]byte{p.Country[0], p.Country[1]}
	}
	switch p.Level {
	case decide.LevelCountry:
		r.level = levelCountry
	case decide.LevelCity:
		r.level = levelCity
	case decide.LevelNone:
	}
	return n.add(r)
}

func (n *numbering) add(r record) uint32 {
	number, ok := n.known[r]
	if ok {
		return number
	}
	if len(n.records) > ranges.MaxValue {
		n.full = true
		return noPlace
	}
	number = uint32(len(n.records))
	n.known[r], n.records = number, append(n.records, r)
	return number
}

// text gives a text its index; that of none is 0.
func (n *numbering) text(s string) uint32 {
	if s == "" {
		return 0
	}
	i, ok := n.word[s]
	if !ok {
		i = uint32(len(n.words))
		n.word[s], n.words = i, append(n.words, s)
	}
	return i
}

func hundredths(degrees float64) int32 { return int32(math.Round(degrees * 100)) }

func isCountry(code string) bool {
	return len(code) == 2 && 'A' <= code[0] && code[0] <= 'Z' && 'A' <= code[1] && code[1] <= 'Z'
}
