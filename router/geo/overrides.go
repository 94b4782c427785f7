package geo

import (
	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo/ranges"
)

// override is one of the operator's.
type override struct {
	network string
	place   *decide.Place // nil: the address data's
}

// overrides makes the uppermost layer, whose numbers are places in c.overriding plus one.
func (c *compiler) overrides(by map[string]config.Override) (*ranges.Set, error) {
	networks, problems := config.OverrideNetworks(by)
	if len(problems) > 0 {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "geo.Open", Message: problems.Error()}
	}
	var b ranges.Builder
	for _, p := range networks {
		o := override{network: p.String()}
		if at := by[o.network].Place; at != nil {
			o.place = &decide.Place{
				Level: decide.LevelCity, Country: at.Country, City: at.City, Latitude: at.Latitude, Longitude: at.Longitude, Source: "router.overrides",
			}
			if at.City == "" {
				o.place.Level = decide.LevelCountry
			}
		}
		c.overriding = append(c.overriding, o)
		b.Add(p, uint32(len(c.overriding)))
	}
	return b.Set(), nil
}

// over gives the number of the place that o makes of the one under it.
func (o *override) over(names *numbering, under uint32) uint32 {
	if o.place != nil {
		p := *o.place
		p.Override = o.network
		return names.number(p)
	}
	r := names.records[under]
	r.override = names.text(o.network)
	return names.add(r)
}
