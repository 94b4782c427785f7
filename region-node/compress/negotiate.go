package compress

import (
	"strconv"
	"strings"
)

// preferred are the encodings that are spoken, the best first.
var preferred = []string{"zstd", "gzip", "identity"}

// negotiate gives the encoding for a client by its Accept-Encoding headers (RFC 9110, 12.5.3), "" for none: of those that it accepts
// the one with the highest weight, and of equal ones the better. A client that forbids all gets its answer as it is.
func negotiate(headers []string) string {
	weights := make(map[string]float64)
	for _, header := range headers {
		for item := range strings.SplitSeq(header, ",") {
			name, weight := parseItem(item)
			if _, known := weights[name]; name != "" && !known {
				weights[name] = weight
			}
		}
	}
	best, most := "", 0.0
	for _, name := range preferred {
		weight, named := weights[name]
		if any, wild := weights["*"]; !named && wild {
			weight = any
		}
		if weight > most {
			best, most = name, weight
		}
	}
	if best == "identity" {
		return ""
	}
	return best
}

// parseItem reads one of the list, as in "gzip;q=0.5"; what makes no sense has weight 0.
func parseItem(item string) (name string, weight float64) {
	name, parameters, weighted := strings.Cut(item, ";")
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "x-gzip" {
		name = "gzip"
	}
	if !weighted {
		return name, 1
	}
	key, value, _ := strings.Cut(parameters, "=")
	weight, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if !strings.EqualFold(strings.TrimSpace(key), "q") || err != nil || !(weight >= 0 && weight <= 1) {
		return name, 0
	}
	return name, weight
}
