package decide

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"meridian/chat"
)

// Input is everything that a decision depends on.
type Input struct {
	// Address is the client's, or the first of its subnet; Prefix is the widest network around it that the data treats alike.
	Address netip.Addr
	Prefix  netip.Prefix
	Place   Place
	// Learned is what sockets have measured of the way to the client, the weightiest first; Now, for the texts, tells its age.
	Learned []Measured
	Now     time.Time
	// ShedHash is the client's place in [0, 1) for shedding load; see the function ShedHash.
	ShedHash float64
	// Zone is the home zone of the client's token; nil without one. With transit: deny only its regions serve.
	Zone *chat.ZoneSpec
	// Host is the zone whose own host name was asked for: only its regions are named, whatever its transit rule. A name
	// lookup carries no content, so here "all down" is answered by geography within the zone.
	Host *chat.ZoneSpec
	// Simulated says that the address was given for a trial and is not the client's own.
	Simulated bool
	States    States
	// Held is what was decided before, for decisions that must not flap (see Ranking.Hold); the zero Held leaves it out.
	Held        Held
	Generations Generations
}

// Generations say on what a decision stands.
type Generations struct {
	Data    string `json:"data"`              // edition of the address data
	Learned string `json:"learned,omitempty"` // and of the learned round trips
	Config  uint64 `json:"config"`            // grows with each configuration taken
	Health  uint64 `json:"health"`            // grows with each change of a region's state
}

// Decision is the answer with its reasons.
type Decision struct {
	Address   string       `json:"address"`
	Prefix    string       `json:"prefix"`
	Simulated bool         `json:"simulated,omitempty"`
	Place     Place        `json:"place"`
	Zone      chat.Zone    `json:"zone,omitempty"`
	Transit   chat.Transit `json:"transit,omitempty"`
	Host      chat.Zone    `json:"host_zone,omitempty"`
	Point     string       `json:"network_point,omitempty"`
	PointKm   float64      `json:"network_point_km"`
	Rule      string       `json:"country_rule,omitempty"`
	// NetworkRule is the operator's override for the client's network.
	NetworkRule string      `json:"network_rule,omitempty"`
	Region      chat.Region `json:"region"` // "" when no region may serve
	// DecidedBy is the strongest reason that kept the best-placed region from the first place: residency, rule, drain,
	// health, load or hold; with none, nearest, or no_data; unreachable where no region may serve.
	DecidedBy string      `json:"decided_by"`
	Regions   []Candidate `json:"regions"`
	// Names are what a look-up of the name is answered, best first: DNS knows no user, and leaves a draining region by steps.
	Names   []chat.Region `json:"dns_regions"`
	Reasons []string      `json:"reasons"`
	// HomeDown: the region takes the socket, and no region of the home zone, where its person's data is, can be reached from there.
	HomeDown bool        `json:"home_unreachable,omitempty"`
	Held     Held        `json:"-"`
	Gen      Generations `json:"generations"`
	Error    chat.Code   `json:"error,omitempty"`
	usable   int         // Regions[:usable] may serve
	states   States      // for the texts, like now
	now      time.Time
	tied     bool           // the home zone's region won a tie
	zone     *chat.ZoneSpec // the one that restricts or is served
}

// Usable gives the regions that should serve, best first.
func (d *Decision) Usable() []Candidate { return d.Regions[:d.usable] }

// Decide ranks the regions for a client. The Decision is filled in also with an error, so that it can be explained. The
// error has CodeZoneUnreachable when the client's zone forbids transit and none of its regions may serve; another zone's
// region is never named instead.
func (m *Model) Decide(in Input) (Decision, error) {
	ranking := m.Rank(in.Place, in.Learned...)
	next := ranking.Hold(in.Held)
	board := m.Board(in.States)
	d := Decision{
		Address: in.Address.String(), Simulated: in.Simulated, Place: in.Place, Point: ranking.NetworkPoint, PointKm: ranking.PointKm,
		Rule: ranking.Rule, NetworkRule: ranking.NetworkRule, Held: next, Gen: in.Generations, states: in.States, now: in.Now,
	}
	if in.Prefix.IsValid() {
		d.Prefix = in.Prefix.String()
	}
	allowed := m.allowed(&d, in)
	picked := board.Pick(nil, ranking.Indexes(), allowed, in.ShedHash)
	best := classes
	if len(picked) > 0 {
		best = board.class[picked[0]]
	}
	if d.zone != nil && in.Host == nil && d.zone.Transit == chat.TransitDeny && best > classDraining {
		picked = nil // the zone is unreachable, and nobody else may stand in
	}
	m.sortOut(&d, ranking, picked, allowed)
	m.breakTie(&d, &board, in)
	d.Names = m.lookup(in, ranking)
	if d.usable > 0 {
		d.Region = d.Regions[0].Region
		d.HomeDown = in.Zone != nil && !m.reachable(&board, in.Zone)
	}
	m.explainOrder(&d, best)
	if d.usable == 0 {
		d.Error, d.DecidedBy = chat.CodeZoneUnreachable, "unreachable"
		return d, &chat.Error{Code: chat.CodeZoneUnreachable, Op: "decide.Decide", Message: strings.Join(d.Reasons, "; ")}
	}
	d.DecidedBy = d.decidedBy(ranking)
	return d, nil
}

func (d *Decision) decidedBy(ranking Ranking) string {
	// Without the never rule, which puts its regions last, the best-placed region would be this one.
	best := slices.MinFunc(ranking.Order, func(a, b Candidate) int {
		a.ExcludedBy, b.ExcludedBy = "", ""
		return compare(a, b)
	})
	first := d.Regions[0]
	if best.Region != first.Region {
		at := slices.IndexFunc(d.Regions, func(c Candidate) bool { return c.Region == best.Region })
		switch {
		case d.Regions[at].ExcludedBy != "":
			return string(d.Regions[at].ExcludedBy)
		case d.states[best.Region].Shed > 0:
			return "load"
		case d.tied:
			return string(ByResidency)
		}
		return "hold"
	}
	switch {
	case first.rank > 0:
		return string(ByRule)
	case d.Place.Level == LevelNone && first.Learned == nil:
		return "no_data"
	}
	return "nearest"
}

// Indexes gives the numbers of the regions that a never rule leaves, best first: what Board.Pick wants.
func (k *Ranking) Indexes() []uint8 {
	order := make([]uint8, 0, len(k.Order))
	for _, c := range k.Order {
		if c.ExcludedBy == "" {
			order = append(order, uint8(c.index))
		}
	}
	return order
}

// allowed applies residency, which comes before all else.
func (m *Model) allowed(d *Decision, in Input) Set {
	allowed := All
	if in.Zone != nil {
		d.Zone, d.Transit, d.zone = in.Zone.Name, in.Zone.Transit, in.Zone
		if in.Zone.Transit == chat.TransitDeny {
			allowed = m.Set(in.Zone.Regions)
		}
	}
	if in.Host != nil {
		d.Host = in.Host.Name
		if d.zone == nil {
			d.zone = in.Host
		}
		allowed &= m.Set(in.Host.Regions)
	}
	return allowed
}

// reachable says that a region of a zone is not down.
func (m *Model) reachable(board *Board, zone *chat.ZoneSpec) bool {
	return slices.ContainsFunc(zone.Regions, func(r chat.Region) bool {
		i, ok := m.index[r]
		return ok && board.class[i] <= classDraining
	})
}

// sortOut lists the picked regions first and then the others with what took them out.
func (m *Model) sortOut(d *Decision, ranking Ranking, picked []uint8, allowed Set) {
	d.usable = len(picked)
	d.Regions = make([]Candidate, 0, len(ranking.Order))
	for _, i := range picked {
		at := slices.IndexFunc(ranking.Order, func(c Candidate) bool { return c.index == int(i) })
		d.Regions = append(d.Regions, ranking.Order[at])
	}
	for _, c := range ranking.Order {
		if slices.Contains(picked, uint8(c.index)) {
			continue
		}
		switch s := d.states[c.Region]; {
		case !allowed.Has(uint8(c.index)):
			c.ExcludedBy = ByResidency
		case c.ExcludedBy != "":
		case s.class() == classDown:
			c.ExcludedBy = ByHealth
		default:
			c.ExcludedBy = ByDrain
		}
		d.Regions = append(d.Regions, c)
	}
}

// breakTie lets a region of the user's zone win where another is no better by more than TieMs: it saves the forwarding.
func (m *Model) breakTie(d *Decision, board *Board, in Input) {
	if in.Zone == nil || d.usable < 2 || in.Zone.Has(d.Regions[0].Region) || board.shedding {
		return
	}
	for i, c := range d.Regions[:d.usable] {
		if c.rank == d.Regions[0].rank && in.Zone.Has(c.Region) && c.ScoreMs <= d.Regions[0].ScoreMs+TieMs {
			moveToFront(d.Regions, i)
			d.tied = true
			return
		}
	}
}

// Held is a decision to hold on to: Region was answered before, and for Builds builds in a row another has been better.
type Held struct {
	Region chat.Region
	Builds int
}

// The bounds of the hysteresis: move only for at least this much, this many builds in a row.
const (
	holdMs     = 10.0
	holdShare  = 0.10
	holdBuilds = 3
)

// Hold keeps the region answered before in the first place, unless another has been clearly better several builds in a row
// or an operator's rule stands between them. It changes the order only, so a region that may not serve now is not held. It
// gives what to hold next time.
func (k *Ranking) Hold(held Held) (next Held) {
	next = Held{Region: k.Order[0].Region}
	at := slices.IndexFunc(k.Order, func(c Candidate) bool { return c.Region == held.Region && c.ExcludedBy == "" })
	if at <= 0 || k.Order[at].rank != k.Order[0].rank {
		return next
	}
	gain := k.Order[at].ScoreMs - k.Order[0].ScoreMs
	builds := 0
	if gain >= holdMs && gain >= holdShare*k.Order[at].ScoreMs {
		if builds = held.Builds + 1; builds >= holdBuilds {
			return next
		}
	}
	moveToFront(k.Order, at)
	k.Order[0].held = true
	return Held{Region: held.Region, Builds: builds}
}

func moveToFront(list []Candidate, i int) {
	c := list[i]
	copy(list[1:i+1], list[:i])
	list[0] = c
}
