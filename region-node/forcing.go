package regionnode

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"meridian/chat"
	"meridian/region-node/drain"
	"meridian/region-node/wire"
)

// Forces gives what the operators of all regions have forced, as this node has heard it.
func (n *Node) Forces() chat.Forces { return n.drain.Forces() }

// Forced gives the word about a region that counts now, and the regions that tell it.
func (n *Node) Forced(region chat.Region) (word chat.Force, by []chat.Region, ok bool) {
	return n.drain.Forced(region)
}

func (n *Node) forcedDown(region chat.Region) bool {
	word, _, ok := n.drain.Forced(region)
	return ok && word.State == chat.ForceDown
}

// ForceAnswer is the answer of /v1/admin/force.
type ForceAnswer struct {
	Region chat.Region `json:"region"`
	// Plan says who would go where if the region were taken out.
	Plan drain.Plan `json:"plan"`
	// Word is what this region's operator says of it; Counts whether that counts, by what all regions are heard to tell.
	Word   chat.Force    `json:"word"`
	By     []chat.Region `json:"by,omitempty"`
	Counts bool          `json:"counts"`
}

// serveForce shows what forcing ?region= down would do (GET), or takes the operator's word about it (POST): ?state=up|down, ?until=, ?reason=,
// ?by=, and ?given= where another region has taken the same word; without ?state= the word is taken back. Down is refused when it would
// leave people of a zone that forbids transit, or everybody, without a region, or another region with too much, and ?force= is not true.
func (n *Node) serveForce(w http.ResponseWriter, r *http.Request) {
	answer, err := n.force(r)
	if err != nil {
		wire.WriteError(w, r, err)
		return
	}
	wire.WriteJSON(w, http.StatusOK, answer)
}

func (n *Node) force(r *http.Request) (ForceAnswer, error) {
	q := r.URL.Query()
	answer := ForceAnswer{Region: chat.Region(q.Get("region"))}
	if answer.Region == n.opt.Region {
		answer.Plan = n.drainPlan(r.Context())
	} else {
		answer.Plan = n.lossPlan(answer.Region)
	}
	if r.Method == http.MethodPost {
		word, err := wordOf(q.Get("state"), q.Get("until"), q.Get("given"))
		if err != nil {
			return answer, err
		}
		word.Reason, word.By = q.Get("reason"), q.Get("by")
		force, _ := strconv.ParseBool(q.Get("force"))
		if word.State == chat.ForceDown && !force && len(answer.Plan.Refused) > 0 {
			return answer, &chat.Error{Code: chat.CodeDenied, Op: "drain.Force", Message: fmt.Sprintf("forcing %s down is refused: %s", answer.Region, strings.Join(answer.Plan.Refused, "; "))}
		}
		if answer.Word, err = n.drain.Force(answer.Region, word); err != nil {
			return answer, err
		}
	}
	word, by, ok := n.drain.Forced(answer.Region)
	if r.Method != http.MethodPost {
		answer.Word = n.drain.Forces()[n.opt.Region][answer.Region]
	}
	answer.By, answer.Counts = by, ok && word.Same(answer.Word)
	return answer, nil
}

// wordOf reads a word; the error has CodeInvalid.
func wordOf(state, until, given string) (chat.Force, error) {
	word := chat.Force{State: chat.ForceState(state)}
	for _, one := range []struct {
		name, text string
		into       *time.Time
	}{{"until", until, &word.Until}, {"given", given, &word.Given}} {
		if one.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, one.text)
		if err != nil {
			return word, &chat.Error{Code: chat.CodeInvalid, Op: "drain.Force", Message: one.name + " must be a time, like 2026-01-02T15:04:05Z"}
		}
		*one.into = at.UTC()
	}
	return word, nil
}

// lossPlan says what taking another region out would leave. Where its people would go only that region knows.
func (n *Node) lossPlan(region chat.Region) drain.Plan {
	w := drain.World{
		Region: region, Topology: n.topology, Serving: make(map[chat.Region]bool), Sockets: n.drain.Loads(), Capacity: make(map[chat.Region]int),
	}
	for _, r := range n.opt.Config.Regions {
		w.Capacity[r.Name] = r.CapacitySockets
		if r.Name == n.opt.Region {
			w.Serving[r.Name] = !n.drain.Order(r.Name).On && !n.forcedDown(r.Name)
		} else if r.Name != region {
			w.Serving[r.Name] = n.serving(r.Name)
		}
	}
	return drain.Make(w)
}
