package route53

import (
	"math"

	"meridian/router/decide"
)

// unitedStates is the one country of which Route 53 has records for parts.
const unitedStates = "US"

// states are the parts of the United States, with the place around which the people of each live.
var states = map[string][2]float64{
	"AK": {61.3, -148.9}, "AL": {33.0, -86.8}, "AR": {35.1, -92.6}, "AZ": {33.4, -111.9}, "CA": {35.5, -119.3}, "CO": {39.5, -105.2},
	"CT": {41.5, -72.9}, "DC": {38.9, -77.0}, "DE": {39.4, -75.6}, "FL": {27.8, -81.6}, "GA": {33.4, -83.9}, "HI": {21.1, -157.5},
	"IA": {42.0, -93.0}, "ID": {44.2, -115.2}, "IL": {41.3, -88.4}, "IN": {40.2, -86.2}, "KS": {38.5, -96.5}, "KY": {37.8, -85.3},
	"LA": {30.7, -91.5}, "MA": {42.3, -71.4}, "MD": {39.1, -76.8}, "ME": {44.3, -69.7}, "MI": {42.9, -84.2}, "MN": {45.2, -93.6},
	"MO": {38.4, -92.2}, "MS": {32.6, -89.6}, "MT": {46.7, -111.2}, "NC": {35.5, -79.7}, "ND": {47.4, -99.4}, "NE": {41.2, -97.4},
	"NH": {43.2, -71.5}, "NJ": {40.4, -74.4}, "NM": {34.6, -106.3}, "NV": {37.3, -116.4}, "NY": {41.5, -74.6}, "OH": {40.5, -82.7},
	"OK": {35.6, -96.8}, "OR": {44.7, -122.6}, "PA": {40.5, -77.1}, "RI": {41.8, -71.5}, "SC": {34.0, -81.0}, "SD": {44.0, -99.1},
	"TN": {35.8, -86.4}, "TX": {30.9, -97.4}, "UT": {40.4, -111.9}, "VA": {37.8, -77.8}, "VT": {44.1, -72.8}, "WA": {47.3, -121.6},
	"WI": {43.7, -89.0}, "WV": {38.8, -80.8}, "WY": {42.7, -107.0},
}

// stateOf gives the state that a place counts to: the one whose people live nearest, for the address data does not say. "" for a place
// elsewhere, or of which only the country is known.
func stateOf(p decide.Place) string {
	if p.Country != unitedStates || p.Level != decide.LevelCity {
		return ""
	}
	nearest, least := "", math.Inf(1)
	for code, at := range states {
		north, east := p.Latitude-at[0], (p.Longitude-at[1])*math.Cos(p.Latitude*math.Pi/180)
		if d := north*north + east*east; d < least || d == least && code < nearest {
			nearest, least = code, d
		}
	}
	return nearest
}
