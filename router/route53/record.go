package route53

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	mdns "github.com/miekg/dns"
)

// Record is one record set of ours. It has Values with a TTL and perhaps a Check, or it is an Alias of another name; and it has one of
// Location, Failover and Weight, by which Route 53 chooses between those of one name and type.
type Record struct {
	Zone string `json:"hosted_zone"`
	Name string `json:"name"` // with a final dot
	Type string `json:"type"`
	// ID tells record sets of one name and type apart, and says whose they are (see Owner).
	ID     string   `json:"set_identifier"`
	TTL    int64    `json:"ttl,omitempty"` // seconds
	Values []string `json:"values,omitempty"`
	// Check is the key of the health check that the record hangs on.
	Check string `json:"health_check,omitempty"`
	// Alias is a name in the same hosted zone; FollowHealth: the record is healthy while that name has something healthy.
	Alias        string `json:"alias,omitempty"`
	FollowHealth bool   `json:"follow_health,omitempty"`
	// Location is a country, "US-CA" for a state, "continent XX" or *; Failover is PRIMARY or SECONDARY; Weight is out of the weights of the name.
	Location string `json:"location,omitempty"`
	Failover string `json:"failover,omitempty"`
	Weight   int64  `json:"weight,omitempty"`
}

const continentPrefix = "continent "

// key is by what Route 53 tells record sets apart.
type key struct{ zone, name, kind, id string }

func (r Record) key() key { return key{r.Zone, r.Name, r.Type, r.ID} }

// depth is higher than that of what the record leads to: what is led to is made first and deleted last.
func (r Record) depth() int {
	const geolocation = 1 << 10
	at := strings.Index(r.Name, orderMark)
	switch {
	case r.Alias == "":
		return 0
	case r.Location != "":
		return geolocation
	case at < 0:
		return geolocation + 1
	}
	labels := 1 + strings.Count(r.Name[:at], ".")
	if strings.HasPrefix(r.Name, sharePrefix) {
		return 2*(labels-1) - 1
	}
	return 2 * labels
}

// String is how people read it.
func (r Record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Name, r.Type)
	switch {
	case r.Location != "":
		fmt.Fprintf(&b, " [%s]", r.Location)
	case r.Failover != "":
		fmt.Fprintf(&b, " [%s]", strings.ToLower(r.Failover))
	}
	fmt.Fprintf(&b, " %s", r.Target())
	return b.String()
}

// Target is what the record leads to.
func (r Record) Target() string {
	if r.Alias != "" {
		text := "→ " + r.Alias
		if r.Weight > 0 {
			text += fmt.Sprintf(" (weight %d)", r.Weight)
		}
		if !r.FollowHealth {
			text += " whatever its health"
		}
		return text
	}
	text := fmt.Sprintf("%s ttl %d", strings.Join(r.Values, ", "), r.TTL)
	if r.Check != "" {
		text += " while " + r.Check + " is healthy"
	}
	return text
}

// same says that two records of one key need no change.
func (r Record) same(o Record) bool {
	return r.TTL == o.TTL && r.Check == o.Check && r.Alias == o.Alias && r.FollowHealth == o.FollowHealth && r.Location == o.Location &&
		r.Failover == o.Failover && r.Weight == o.Weight && slices.Equal(r.canonical(), o.canonical())
}

// canonical gives the values as one DNS library writes them, sorted: Route 53 may give them back otherwise.
func (r Record) canonical() []string {
	out := make([]string, len(r.Values))
	for i, v := range r.Values {
		out[i] = v
		if rr, err := mdns.NewRR(". 0 IN " + r.Type + " " + v); err == nil && rr != nil {
			out[i] = strings.TrimPrefix(rr.String(), rr.Header().String())
		}
	}
	slices.Sort(out)
	return out
}

// set gives the record as the API takes it; ids are those of the health checks by their keys.
func (r Record) set(ids map[string]string) types.ResourceRecordSet {
	s := types.ResourceRecordSet{Name: aws.String(r.Name), Type: types.RRType(r.Type), SetIdentifier: aws.String(r.ID)}
	if r.Alias != "" {
		s.AliasTarget = &types.AliasTarget{DNSName: aws.String(r.Alias), HostedZoneId: aws.String(r.Zone), EvaluateTargetHealth: r.FollowHealth}
	} else {
		s.TTL = aws.Int64(r.TTL)
		for _, v := range r.Values {
			s.ResourceRecords = append(s.ResourceRecords, types.ResourceRecord{Value: aws.String(v)})
		}
	}
	if r.Check != "" {
		s.HealthCheckId = aws.String(ids[r.Check])
	}
	switch {
	case r.Failover != "":
		s.Failover = types.ResourceRecordSetFailover(r.Failover)
	case r.Location == "":
		s.Weight = aws.Int64(r.Weight)
	default:
		s.GeoLocation = &types.GeoLocation{}
		if continent, ok := strings.CutPrefix(r.Location, continentPrefix); ok {
			s.GeoLocation.ContinentCode = aws.String(continent)
		} else if state, ok := strings.CutPrefix(r.Location, statePrefix); ok {
			s.GeoLocation.CountryCode, s.GeoLocation.SubdivisionCode = aws.String(unitedStates), aws.String(state)
		} else {
			s.GeoLocation.CountryCode = aws.String(r.Location)
		}
	}
	return s
}

// recordOf reads what the API gives; keys are those of our health checks by their ids.
func recordOf(zone string, s types.ResourceRecordSet, keys map[string]string) Record {
	r := Record{
		Zone: zone, Name: lower(aws.ToString(s.Name)), Type: string(s.Type), ID: aws.ToString(s.SetIdentifier), TTL: aws.ToInt64(s.TTL),
		Failover: string(s.Failover), Weight: aws.ToInt64(s.Weight),
	}
	for _, v := range s.ResourceRecords {
		r.Values = append(r.Values, aws.ToString(v.Value))
	}
	if s.AliasTarget != nil {
		r.Alias, r.FollowHealth = lower(aws.ToString(s.AliasTarget.DNSName)), s.AliasTarget.EvaluateTargetHealth
	}
	if id := aws.ToString(s.HealthCheckId); id != "" {
		if r.Check = keys[id]; r.Check == "" {
			r.Check = id
		}
	}
	if g := s.GeoLocation; g != nil {
		if r.Location = aws.ToString(g.CountryCode); g.ContinentCode != nil {
			r.Location = continentPrefix + *g.ContinentCode
		}
		if g.SubdivisionCode != nil {
			r.Location += "-" + *g.SubdivisionCode
		}
	}
	return r
}

// lower gives a name in lower case with its final dot; Route 53 writes some characters as \ooo.
func lower(name string) string { return mdns.Fqdn(strings.ToLower(name)) }

// Owner marks what belongs to one deployment: its name, and its domain, for there may be others of that name.
type Owner string

// OwnerOf gives a deployment's.
func OwnerOf(name, domain string) Owner { return Owner("meridian/" + name + "/" + short(domain) + "/") }

// id gives a record's set identifier. Some of Route 53's kin delete by it alone, so it is of one name and type.
func (o Owner) id(name, kind, part string) string {
	return string(o) + short(name+" "+kind) + "/" + part
}

// owns says that a record set is the deployment's.
func (o Owner) owns(setIdentifier string) bool { return strings.HasPrefix(setIdentifier, string(o)) }

// short gives the first 48 bits of a text's hash.
func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}
