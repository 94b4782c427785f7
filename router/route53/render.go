package route53

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/dns"
)

// Deployment is what is rendered.
type Deployment struct {
	Owner  Owner
	Domain string
	Model  *decide.Model
	// Countries are counted by the Model.
	Countries Countries
	// Regions says where the regions are, every one of the Model; URLs has the base URLs of each, whose /v1/probe is looked at.
	Regions []dns.Region
	URLs    map[chat.Region][]string
	// Hosts are the zones with a name of their own.
	Hosts []Host
	// States tells of the operator's orders. How the regions are Route 53 finds out itself.
	States decide.States
	// TTL is that of all values; TTLDegraded while a region drains or is forced.
	TTL, TTLDegraded time.Duration
	Config           config.Route53
	// Zones are the hosted zones.
	Zones []HostedZone
}

// Host is a zone's own name, which only the zone's regions are answered for.
type Host struct {
	Name string
	Zone chat.ZoneSpec
}

// HostedZone is one of Route 53's.
type HostedZone struct {
	ID   string `json:"id"`
	Name string `json:"name"` // with a final dot
}

// Records is what a deployment should have at Route 53.
type Records struct {
	Records []Record
	Checks  []Check
	// Notes say what is not as GeoDNS would have it; Lost is what of the decision is lost, by host.
	Notes []string
	Lost  map[string]Lost
}

// The limits that Route 53 sets to a hosted zone and a name.
const (
	recordsMax    = 10_000 // in a hosted zone
	weightOfWhole = 100
	nameBytesMax  = 255
)

// What the names of orders are made of: REGION.REGION._geo.BASE.
const (
	orderMark   = "._geo."
	sharePrefix = "share."
)

// kinds are the types that a host's answer is rendered for.
var kinds = []uint16{mdns.TypeA, mdns.TypeAAAA, mdns.TypeHTTPS, mdns.TypeSRV}

// renderer gathers the records of a deployment.
type renderer struct {
	Deployment
	out  Records
	done map[key]bool
	ttl  time.Duration
}

// Render gives what the deployment should have. The error has CodeInvalid: a name lies in no hosted zone or is too long, no type can be
// answered by all regions, a rule leaves a country without a region, or there are too many records.
func Render(d Deployment) (*Records, error) {
	r := &renderer{Deployment: d, done: make(map[key]bool), ttl: d.TTL, out: Records{Lost: make(map[string]Lost)}}
	for _, region := range d.Regions {
		state := d.States[region.Name]
		if state.Draining || state.Forced != "" {
			r.ttl = min(d.TTL, d.TTLDegraded)
		}
		checks, err := checksOf(region.Name, d.URLs[region.Name], d.Config, state.Forced)
		if err != nil {
			return nil, err
		}
		r.out.Checks = append(r.out.Checks, checks...)
		r.noteAddresses(region.Name, checks)
	}
	if err := r.host(d.Domain, d.Domain, decide.All); err != nil {
		return nil, err
	}
	for _, h := range d.Hosts {
		base := d.Domain
		if !mdns.IsSubDomain(lower(d.Domain), lower(h.Name)) {
			base = h.Name
		}
		if err := r.host(h.Name, base, d.Model.Set(h.Zone.Regions)); err != nil {
			return nil, err
		}
	}
	if err := r.regionNames(); err != nil {
		return nil, err
	}
	return &r.out, r.check()
}

// noteAddresses tells of what Route 53 does not look at.
func (r *renderer) noteAddresses(region chat.Region, checks []Check) {
	for _, c := range checks {
		if a, err := netip.ParseAddr(c.Host); err == nil && (!a.IsGlobalUnicast() || a.IsPrivate()) {
			r.note("region %s would be looked at by %s, which Route 53 cannot reach: give it a url", region, c.Host)
		}
	}
}

// host renders a host's name, for which the regions in allowed are answered; its orders lie below base.
func (r *renderer) host(name, base string, allowed decide.Set) error {
	s := newSorter(r.Model, r.Model.NamesBoard(r.orders()), allowed, r.Config.Levels)
	locations := s.locations(r.Countries)
	for _, l := range locations {
		if l.order.regions == "" {
			return invalid("the never rules leave %s no region at %s: Route 53 cannot refuse to answer", l.name(), name)
		}
	}
	if len(locations) > geolocationMax {
		return invalid("%s needs %d geolocation records for the never rules; Route 53 allows %d", name, len(locations), geolocationMax)
	}
	r.out.Lost[name] = s.lost(r.Countries, locations)
	answered := false // with an address
	for _, kind := range kinds {
		leaves, err := r.leaves(base, allowed, kind)
		if err != nil {
			return err
		}
		if leaves == nil {
			continue
		}
		answered = answered || kind == mdns.TypeA || kind == mdns.TypeAAAA
		for _, l := range locations {
			target, err := r.order(l.order.regions, base, kind, leaves)
			if err != nil {
				return err
			}
			one := Record{Location: l.name(), Alias: target, FollowHealth: !l.order.strict}
			if err := r.add(one, name, kind, l.name()); err != nil {
				return err
			}
		}
		if kind == mdns.TypeSRV {
			one := Record{Weight: 1, Alias: lower(name)}
			if err := r.add(one, "_meridian._tcp."+name, kind, "service"); err != nil {
				return err
			}
		}
	}
	if !answered {
		return invalid("not all regions of %s have an IPv4 address, nor all an IPv6 address: nothing can be answered", name)
	}
	return nil
}

// orders are the operator's orders without what Route 53 finds out itself.
func (r *renderer) orders() decide.States {
	out := make(decide.States, len(r.States))
	for region, s := range r.States {
		one := decide.State{Draining: s.Draining, DrainWeight: s.DrainWeight}
		if s.Forced == decide.HealthDown {
			one.Forced = s.Forced
		}
		out[region] = one
	}
	return out
}

func (l location) name() string {
	switch {
	case l.country != "":
		return l.key()
	case l.continent != "":
		return continentPrefix + l.continent
	}
	return anywhere
}

// leaves gives the answers of each region of a type, by the region's number; nil when not all of allowed have some: whoever got one type
// of address of a region and another of the next would be in two.
func (r *renderer) leaves(base string, allowed decide.Set, kind uint16) (map[uint8][]mdns.RR, error) {
	out := make(map[uint8][]mdns.RR)
	var without []string
	for i, name := range r.Model.Regions() {
		at := slices.IndexFunc(r.Regions, func(one dns.Region) bool { return one.Name == name })
		if at < 0 {
			return nil, invalid("region %s has no addresses", name)
		}
		if !allowed.Has(uint8(i)) {
			continue
		}
		answer, err := dns.RegionRecords(r.Regions[at], r.Domain, base, kind, r.ttl)
		if err != nil {
			return nil, err
		}
		if len(answer) == 0 {
			without = append(without, string(name))
			continue
		}
		out[uint8(i)] = answer
	}
	if len(without) > 0 && len(out) > 0 {
		r.note("%s records are left out: not all regions have one (%s)", mdns.TypeToString[kind], strings.Join(without, ", "))
	}
	if len(without) > 0 || len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

func (r *renderer) note(format string, args ...any) {
	if note := fmt.Sprintf(format, args...); !slices.Contains(r.out.Notes, note) {
		r.out.Notes = append(r.out.Notes, note)
	}
}

// order renders an order of regions and gives its name.
func (r *renderer) order(regions, base string, kind uint16, leaves map[uint8][]mdns.RR) (string, error) {
	first, name := regions[0], r.nameOf(regions, base)
	if r.done[key{name: name, kind: mdns.TypeToString[kind]}] {
		return name, nil
	}
	r.done[key{name: name, kind: mdns.TypeToString[kind]}] = true
	if len(regions) == 1 {
		one := Record{Weight: 1, TTL: int64(r.ttl.Seconds()), Check: "health of " + string(r.Model.Regions()[first])}
		for _, rr := range leaves[first] {
			one.Values = append(one.Values, valueOf(rr))
		}
		return name, r.add(one, name, kind, "values")
	}
	here, err := r.order(regions[:1], base, kind, leaves)
	if err != nil {
		return "", err
	}
	next, err := r.order(regions[1:], base, kind, leaves)
	if err != nil {
		return "", err
	}
	if weight := r.weight(first); weight < weightOfWhole {
		share := sharePrefix + name
		for _, part := range []struct {
			alias  string
			weight int64
			id     string
		}{{here, weight, "stays"}, {next, weightOfWhole - weight, "leaves"}} {
			if err := r.add(Record{Weight: part.weight, Alias: part.alias, FollowHealth: true}, share, kind, part.id); err != nil {
				return "", err
			}
		}
		here = share
	}
	if err := r.add(Record{Failover: "PRIMARY", Alias: here, FollowHealth: true}, name, kind, "first"); err != nil {
		return "", err
	}
	return name, r.add(Record{Failover: "SECONDARY", Alias: next, FollowHealth: true}, name, kind, "rest")
}

// weight gives how much of a hundred a region keeps. One that has drained out stands last in its order instead.
func (r *renderer) weight(region uint8) int64 {
	s := r.States[r.Model.Regions()[region]]
	if !s.Draining || s.DrainWeight <= 0 || s.Forced == decide.HealthDown {
		return weightOfWhole
	}
	return min(weightOfWhole, max(1, int64(s.DrainWeight*weightOfWhole)))
}

func (r *renderer) nameOf(regions, base string) string {
	var labels []string
	for _, i := range []byte(regions) {
		labels = append(labels, string(r.Model.Regions()[i]))
	}
	return lower(strings.Join(append(labels, strings.Trim(orderMark, "."), base), "."))
}

// valueOf gives a record's data as it is written.
func valueOf(rr mdns.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }

// regionNames renders the regions' own names, which lead to a region whatever its state.
func (r *renderer) regionNames() error {
	for _, region := range r.Regions {
		name := string(region.Name) + "." + r.Domain
		for _, kind := range []uint16{mdns.TypeA, mdns.TypeAAAA} {
			answer, err := dns.RegionRecords(region, r.Domain, name, kind, r.TTL)
			if err != nil {
				return err
			}
			if len(answer) == 0 {
				continue
			}
			one := Record{Weight: 1, TTL: int64(r.TTL.Seconds())}
			for _, rr := range answer {
				one.Values = append(one.Values, valueOf(rr))
			}
			if err := r.add(one, name, kind, "region"); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds a record at a name.
func (r *renderer) add(one Record, name string, kind uint16, part string) error {
	one.Name, one.Type = lower(name), mdns.TypeToString[kind]
	one.ID = r.Owner.id(one.Name, one.Type, part)
	if _, ok := mdns.IsDomainName(one.Name); !ok || len(one.Name) > nameBytesMax {
		return invalid("the name %s is too long: shorten the names of regions, or lower router.route53.levels", one.Name)
	}
	best := -1
	for i, z := range r.Zones {
		if mdns.IsSubDomain(z.Name, one.Name) && (best < 0 || len(z.Name) > len(r.Zones[best].Name)) {
			best = i
		}
	}
	if best < 0 {
		return invalid("%s lies in none of router.route53.hosted_zones", one.Name)
	}
	one.Zone = r.Zones[best].ID
	r.out.Records = append(r.out.Records, one)
	return nil
}

// check holds what was rendered against Route 53's limits.
func (r *renderer) check() error {
	count, zone := make(map[string]int), make(map[string]string)
	for _, one := range r.out.Records {
		count[one.Zone]++
		zone[one.Name] = one.Zone
	}
	for _, id := range slices.Sorted(maps.Keys(count)) {
		if count[id] > recordsMax {
			return invalid("hosted zone %s would have %d records; Route 53 allows %d", id, count[id], recordsMax)
		}
	}
	for _, one := range r.out.Records {
		if one.Alias != "" && zone[one.Alias] != one.Zone {
			return invalid("%s and %s lie in two hosted zones: an alias cannot lead from one to the other", one.Name, one.Alias)
		}
	}
	return nil
}
