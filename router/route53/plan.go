package route53

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	mdns "github.com/miekg/dns"

	"meridian/chat"
)

// Action is what happens to a record or a health check.
type Action string

// The actions.
const (
	Create Action = "create"
	Modify Action = "change"
	Delete Action = "delete"
)

// Change is one of a Record or of a Check; Was is what there is now, Is what there is to be.
type Change struct {
	Action    Action  `json:"action"`
	RecordWas *Record `json:"record_was,omitempty"`
	RecordIs  *Record `json:"record,omitempty"`
	CheckWas  *Check  `json:"health_check_was,omitempty"`
	CheckIs   *Check  `json:"health_check,omitempty"`

	set types.ResourceRecordSet // of a record that is deleted, as it was listed
	id  string                  // of a check that there is
}

// Plan says what brings the hosted zones to what was rendered.
type Plan struct {
	HostedZones []HostedZone `json:"hosted_zones"`
	// Changes are in the order in which they are made.
	Changes []Change `json:"changes"`
	// Unchanged counts our record sets and health checks that are right; Others the record sets that are not ours.
	Unchanged int `json:"unchanged"`
	Others    int `json:"others"`
	// Refused names what stands in the way.
	Refused []string        `json:"refused,omitempty"`
	Notes   []string        `json:"notes,omitempty"`
	Lost    map[string]Lost `json:"lost"`

	ids   map[string]string // of our checks, by key
	owner Owner
}

// Err gives the refusal of a plan; nil: it may be applied. The error has CodeDenied.
func (p *Plan) Err() error {
	if len(p.Refused) == 0 {
		return nil
	}
	return &chat.Error{Code: chat.CodeDenied, Op: "route53.Plan", Message: "nothing is changed: " + strings.Join(p.Refused, "; ")}
}

// Count gives how many changes there are of an action.
func (p *Plan) Count(a Action) int {
	n := 0
	for _, c := range p.Changes {
		if c.Action == a {
			n++
		}
	}
	return n
}

// Observed is what there is at Route 53.
type Observed struct {
	Zones  []HostedZone
	Sets   map[string][]types.ResourceRecordSet // by hosted zone
	Checks []types.HealthCheck
}

// Make compares what should be with what there is.
func Make(owner Owner, want *Records, have Observed) *Plan {
	p := &Plan{HostedZones: have.Zones, Changes: []Change{}, Notes: want.Notes, Lost: want.Lost, ids: make(map[string]string), owner: owner}
	made, gone := p.checks(want.Checks, have.Checks)
	p.Changes = append(p.Changes, made...)
	p.records(want.Records, have)
	p.Changes = append(p.Changes, gone...)
	return p
}

// checks compares health checks. What is made comes before the records that hang on it, what is deleted after.
func (p *Plan) checks(want []Check, have []types.HealthCheck) (made, gone []Change) {
	byIdentity := make(map[string][]types.HealthCheck)
	for _, h := range have {
		reference := *cmp.Or(h.CallerReference, new(string))
		if rest, ours := strings.CutPrefix(reference, p.owner.references()); ours {
			identity, _, _ := strings.Cut(rest, "/")
			byIdentity[identity] = append(byIdentity[identity], h)
		}
	}
	keys := make(map[string]string)
	for _, c := range want {
		all := byIdentity[c.identity()]
		slices.SortFunc(all, func(a, b types.HealthCheck) int { return cmp.Compare(*a.Id, *b.Id) })
		if len(all) > 0 { // of two that were made at once the other goes
			p.ids[c.Key], keys[*all[0].Id], byIdentity[c.identity()] = *all[0].Id, c.Key, all[1:]
		}
	}
	for _, c := range want {
		id, there := p.ids[c.Key]
		if !there {
			made = append(made, Change{Action: Create, CheckIs: &c})
			continue
		}
		at := slices.IndexFunc(have, func(h types.HealthCheck) bool { return *h.Id == id })
		if was := checkOf(have[at], keys); !was.same(c) {
			made = append(made, Change{Action: Modify, CheckWas: &was, CheckIs: &c, id: id})
		} else {
			p.Unchanged++
		}
	}
	for _, all := range byIdentity {
		for _, h := range all {
			was := checkOf(h, keys)
			was.Key = "a former check"
			gone = append(gone, Change{Action: Delete, CheckWas: &was, id: *h.Id})
		}
	}
	// A calculated check goes before its children.
	slices.SortFunc(gone, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.CheckWas.Type, b.CheckWas.Type), cmp.Compare(a.id, b.id))
	})
	return made, gone
}

// records compares record sets.
func (p *Plan) records(want []Record, have Observed) {
	keyOf := make(map[string]string, len(p.ids))
	for key, id := range p.ids {
		keyOf[id] = key
	}
	ours, raw := make(map[key]Record), make(map[key]types.ResourceRecordSet)
	others := make(map[string][]Record) // by name
	for _, zone := range have.Zones {
		for _, set := range have.Sets[zone.ID] {
			r := recordOf(zone.ID, set, keyOf)
			if p.owner.owns(r.ID) {
				ours[r.key()], raw[r.key()] = r, set
				continue
			}
			p.Others++
			others[r.Name] = append(others[r.Name], r)
		}
	}
	var made, gone []Change
	for _, w := range want {
		p.refuse(w, others, have.Zones)
		was, there := ours[w.key()]
		delete(ours, w.key())
		switch {
		case !there:
			made = append(made, Change{Action: Create, RecordIs: &w})
		case was.same(w):
			p.Unchanged++
		default:
			made = append(made, Change{Action: Modify, RecordWas: &was, RecordIs: &w})
		}
	}
	for k, was := range ours {
		gone = append(gone, Change{Action: Delete, RecordWas: &was, set: raw[k]})
	}
	slices.SortFunc(made, func(a, b Change) int { return compareRecords(a.RecordIs, b.RecordIs) })
	slices.SortFunc(gone, func(a, b Change) int { return compareRecords(b.RecordWas, a.RecordWas) })
	p.Changes = slices.Concat(p.Changes, made, gone)
}

func compareRecords(a, b *Record) int {
	return cmp.Or(cmp.Compare(a.depth(), b.depth()), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
}

// refuse notes what of others stands in a record's way: records of the same name and type, a CNAME, a delegation.
func (p *Plan) refuse(w Record, others map[string][]Record, zones []HostedZone) {
	refuse := func(format string, args ...any) {
		if why := fmt.Sprintf(format, args...); !slices.Contains(p.Refused, why) {
			p.Refused = append(p.Refused, why)
		}
	}
	for _, o := range others[w.Name] {
		if o.Zone == w.Zone && (o.Type == w.Type || o.Type == "CNAME") {
			refuse("%s has a record of type %s that is not ours (%s)", o.Name, o.Type, o.Target())
		}
	}
	for name := w.Name; ; {
		if slices.ContainsFunc(zones, func(z HostedZone) bool { return z.ID == w.Zone && z.Name == name }) {
			return
		}
		if slices.ContainsFunc(others[name], func(o Record) bool { return o.Zone == w.Zone && o.Type == "NS" }) {
			refuse("%s is delegated to other name servers, who would be asked for %s", name, w.Name)
		}
		next, end := mdns.NextLabel(name, 0)
		if end {
			return
		}
		name = name[next:]
	}
}
