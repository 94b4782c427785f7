package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"meridian/chat"
	"meridian/replication"
)

// The methods of the calls between two regions.
const (
	MethodOwners = "verify.owners" // digests of a page of owners; answers the owners that differ
	MethodDays   = "verify.days"   // digests of one owner's days; answers the days that differ
	MethodBring  = "verify.bring"  // an owner's days; the region brings its rows of them to the zone; answers how many
)

// question is what one region asks another, answer what it gets. Owners are all of the zone in (After, UpTo].
type question struct {
	Zone   chat.Zone              `json:"zone"`
	After  chat.UserID            `json:"after"`
	UpTo   chat.UserID            `json:"up_to"`
	Owners map[chat.UserID]digest `json:"owners,omitempty"`
	Owner  chat.UserID            `json:"owner"`
	Days   map[day]digest         `json:"days,omitempty"`
}

type answer struct {
	Owners  []chat.UserID `json:"owners,omitempty"`
	Seen    int           `json:"seen,omitempty"`
	Days    []day         `json:"days,omitempty"`
	Brought int           `json:"brought,omitempty"`
}

// everybody is after all owners.
var everybody = chat.UserID(bytes.Repeat([]byte{0xff}, len(chat.UserID{})))

// page gives the digests of the next owners of zone here, and up to where they reach.
func (s *Service) page(ctx context.Context, zone chat.Zone, after chat.UserID) (page map[chat.UserID]digest, upTo chat.UserID, last bool, err error) {
	rows, err := s.opt.Store.Owners(ctx, after, ownersPage)
	if err != nil {
		return nil, upTo, false, err
	}
	if len(rows) < ownersPage {
		upTo, last = everybody, true
	} else {
		upTo = rows[len(rows)-1].ID
	}
	page, err = s.digests(ctx, zone, rows)
	return page, upTo, last, err
}

// digests gives the digest of each of the owners that are zone's.
func (s *Service) digests(ctx context.Context, zone chat.Zone, rows []chat.OwnerRow) (map[chat.UserID]digest, error) {
	all := map[chat.UserID]digest{}
	for _, row := range rows {
		days, ok, err := s.held(ctx, zone, row, nil)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		var sum digest
		for _, d := range days {
			sum.add(d)
		}
		all[row.ID] = sum
	}
	return all, nil
}

// held gives the digests of what is held here of an owner, and its rows to take unless that is nil; ok is false for one who is
// not zone's.
func (s *Service) held(ctx context.Context, zone chat.Zone, row chat.OwnerRow, take func(day, int, func(*chat.Rows)) error) (map[day]digest, bool, error) {
	since, ok, err := s.heldFor(ctx, zone, row)
	if err != nil || !ok {
		return nil, false, err
	}
	g := &gatherer{store: s.opt.Store, owner: row.ID, since: since, take: take}
	days, err := g.gather(ctx)
	return days, true, err
}

// heldFor says whether the owner is zone's, by what this region holds and never by what another says: a person by the own rows;
// a group by the steps that count, and then only what was written since the zone came in.
func (s *Service) heldFor(ctx context.Context, zone chat.Zone, row chat.OwnerRow) (since chat.HLC, ok bool, err error) {
	group := chat.ConversationID(row.ID)
	steps, err := s.opt.Store.Members(ctx, row.ID, group, chat.NoUser)
	if err != nil {
		return 0, false, err
	}
	_, isGroup, err := s.opt.Store.Conversation(ctx, row.ID, group)
	if err != nil {
		return 0, false, err
	}
	if isGroup || len(steps) > 0 {
		since, ok = replication.NewMembers(steps).ZoneSince(zone)
		return since, ok, nil
	}
	return 0, row.Zone == zone, nil
}

// owner gives what the store says of one owner; ok is false for one of whom there is nothing here.
func (s *Service) owner(ctx context.Context, owner chat.UserID) (row chat.OwnerRow, ok bool, err error) {
	rows, err := s.opt.Store.Owners(ctx, before(owner), 1)
	if err != nil || len(rows) == 0 || rows[0].ID != owner {
		return row, false, err
	}
	return rows[0], true, nil
}

// one gives the digests of what is held here of one owner: none for one who is not zone's.
func (s *Service) one(ctx context.Context, zone chat.Zone, owner chat.UserID) (map[day]digest, error) {
	row, ok, err := s.owner(ctx, owner)
	if err != nil || !ok {
		return nil, err
	}
	days, _, err := s.held(ctx, zone, row, nil)
	return days, err
}

// before gives the id just before another one.
func before(id chat.UserID) chat.UserID {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]--
		if id[i] != 0xff {
			break
		}
	}
	return id
}

// differing asks peer which of the owners in (after, upTo] it holds otherwise; seen counts all that either of them has.
func (s *Service) differing(ctx context.Context, zone chat.Zone, peer chat.Region, after, upTo chat.UserID, page map[chat.UserID]digest) ([]chat.UserID, int, error) {
	a, err := s.ask(ctx, peer, MethodOwners, question{Zone: zone, After: after, UpTo: upTo, Owners: page})
	return a.Owners, a.Seen, err
}

func (s *Service) differingDays(ctx context.Context, zone chat.Zone, peer chat.Region, owner chat.UserID) ([]day, error) {
	days, err := s.one(ctx, zone, owner)
	if err != nil {
		return nil, err
	}
	a, err := s.ask(ctx, peer, MethodDays, question{Zone: zone, Owner: owner, Days: days})
	return a.Days, err
}

func (s *Service) askToBring(ctx context.Context, zone chat.Zone, peer chat.Region, owner chat.UserID, days []day) (int, error) {
	q := question{Zone: zone, Owner: owner, Days: map[day]digest{}}
	for _, d := range days {
		q.Days[d] = digest{}
	}
	a, err := s.ask(ctx, peer, MethodBring, q)
	return a.Brought, err
}

func (s *Service) ask(ctx context.Context, peer chat.Region, method string, q question) (answer, error) {
	var a answer
	err := s.exchange(ctx, peer, method, q, &a)
	return a, err
}

// exchange asks a region, and reads what it answers into a.
func (s *Service) exchange(ctx context.Context, peer chat.Region, method string, q, a any) error {
	payload, err := json.Marshal(q)
	if err != nil {
		return &chat.Error{Code: chat.CodeInternal, Op: "verify.ask", Message: "a question cannot be encoded", Cause: err}
	}
	reply, err := s.opt.Remote.Call(ctx, peer, method, payload)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(reply, a); err != nil {
		return &chat.Error{Code: chat.CodeInvalid, Op: "verify.ask", Message: "not an answer", Cause: err}
	}
	return nil
}

// Handle answers a call of region from; ok is false for a method that is not this package's. Errors: CodeInvalid for what
// cannot be read, CodeDenied for a zone that not both regions serve, and the store's.
func (s *Service) Handle(ctx context.Context, from chat.Region, method string, payload []byte) (reply []byte, ok bool, err error) {
	switch method {
	case MethodOwners, MethodDays, MethodBring:
		reply, err = s.handleOwners(ctx, from, method, payload)
	case MethodNames, MethodNamesList, MethodNamesAgain, MethodMend:
		reply, err = s.handleNames(ctx, method, payload)
	default:
		return nil, false, nil
	}
	return reply, true, err
}

func (s *Service) handleOwners(ctx context.Context, from chat.Region, method string, payload []byte) ([]byte, error) {
	var q question
	if err := json.Unmarshal(payload, &q); err != nil || len(q.Owners) > ownersPage {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "verify.Handle", Message: "not a question", Cause: err}
	}
	if t := s.opt.Topology; !t.InZone(from, q.Zone) || !t.InZone(s.opt.Self, q.Zone) {
		return nil, &chat.Error{Code: chat.CodeDenied, Op: "verify.Handle", Message: "zone " + string(q.Zone) + " is not served by both regions"}
	}
	var a answer
	var err error
	switch method {
	case MethodOwners:
		a, err = s.compareOwners(ctx, &q)
	case MethodDays:
		a, err = s.compareDays(ctx, &q)
	default:
		a.Brought, err = s.bring(ctx, q.Zone, q.Owner, sortedDays(q.Days))
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

func (s *Service) compareOwners(ctx context.Context, q *question) (answer, error) {
	var a answer
	mine := map[chat.UserID]digest{}
	for after, more := q.After, true; more; {
		rows, err := s.opt.Store.Owners(ctx, after, ownersPage)
		if err != nil {
			return a, err
		}
		more = len(rows) == ownersPage
		if n := slices.IndexFunc(rows, func(r chat.OwnerRow) bool { return bytes.Compare(r.ID[:], q.UpTo[:]) > 0 }); n >= 0 {
			rows, more = rows[:n], false
		}
		some, err := s.digests(ctx, q.Zone, rows)
		if err != nil {
			return a, err
		}
		maps.Copy(mine, some)
		if len(rows) > 0 {
			after = rows[len(rows)-1].ID
		}
	}
	a.Seen = len(mine)
	for id, d := range mine {
		if theirs, ok := q.Owners[id]; !ok || theirs != d {
			a.Owners = append(a.Owners, id)
		}
	}
	for id := range q.Owners {
		if _, ok := mine[id]; !ok {
			a.Seen++
			a.Owners = append(a.Owners, id)
		}
	}
	slices.SortFunc(a.Owners, func(x, y chat.UserID) int { return bytes.Compare(x[:], y[:]) })
	return a, nil
}

func (s *Service) compareDays(ctx context.Context, q *question) (answer, error) {
	var a answer
	mine, err := s.one(ctx, q.Zone, q.Owner)
	if err != nil {
		return a, err
	}
	for d, digest := range mine {
		if theirs, ok := q.Days[d]; !ok || theirs != digest {
			a.Days = append(a.Days, d)
		}
	}
	for d := range q.Days {
		if _, ok := mine[d]; !ok {
			a.Days = append(a.Days, d)
		}
	}
	slices.Sort(a.Days)
	return a, nil
}
