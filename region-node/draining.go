package regionnode

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"meridian/chat"
	"meridian/region-node/drain"
	"meridian/region-node/wire"
)

func (n *Node) buildDrain() (err error) {
	o := n.opt
	n.drain, err = drain.New(drain.Options{
		Self: o.Region, Regions: n.topology.Regions, File: filepath.Join(o.Config.DataDir, "drain-"+string(o.Region)+"-"+string(n.identity.Node)+".json"),
		Sockets: n.movable, Load: n.Load, Elsewhere: n.elsewhere, Tell: n.tellAll, Now: o.Now, Log: o.Log, Metrics: o.Metrics,
	})
	return err
}

// movable gives the sockets that a drain moves.
func (n *Node) movable() []drain.Socket { return append(n.gateway.Sockets(), n.edge.Tunnelled()...) }

// Load gives how many sockets this node has to do with: those that end here, and those of other regions that are served here.
func (n *Node) Load() int { return len(n.movable()) }

// Drains gives the operator's orders about all regions, as this node has heard them.
func (n *Node) Drains() map[chat.Region]drain.Order { return n.drain.Orders() }

// tellAll gives a hint to all nodes of all regions that can be reached.
func (n *Node) tellAll(kind string, payload []byte) {
	for _, r := range n.topology.Regions {
		if _, up := n.backbone.Reachable(r); up || r == n.opt.Region {
			n.backbone.Tell(r, kind, payload)
		}
	}
}

func (n *Node) unreachable(region chat.Region, client netip.Addr) {
	if n.opt.Unreachable != nil {
		n.opt.Unreachable(region, client)
	}
}

// elsewhere gives the regions that serve a person instead of this one. Somebody whose socket ends in another region is here because
// this is their home: they can move only to another region of their zone.
func (n *Node) elsewhere(zone chat.Zone, addr netip.Addr, edge chat.Region) []chat.Endpoint {
	if n.opt.Elsewhere == nil || edge != n.opt.Region && !n.otherHome(zone) {
		return nil
	}
	return n.opt.Elsewhere(n, zone, addr)
}

func (n *Node) otherHome(zone chat.Zone) bool {
	spec, _ := n.topology.Zone(zone)
	for _, r := range spec.Regions {
		if r != n.opt.Region && n.serving(r) {
			return true
		}
	}
	return false
}

// serving says that another region can be reached, is not being drained and not forced down.
func (n *Node) serving(r chat.Region) bool {
	_, up := n.backbone.Reachable(r)
	return up && !n.drain.Order(r).On && !n.forcedDown(r)
}

// methodMoves asks another node of this region where its sockets would go.
const methodMoves = "drain.moves"

// moves is the answer.
type moves struct {
	Moves map[chat.Region]int `json:"moves"`
	Stay  map[chat.Zone]int   `json:"stay"`
}

// movesTimeout bounds asking one node.
const movesTimeout = 3 * time.Second

// drainPlan says what draining this region would do, by the open sockets of all its nodes and by what the other regions told of theirs.
func (n *Node) drainPlan(ctx context.Context) drain.Plan {
	w := drain.World{
		Region: n.opt.Region, Topology: n.topology, Serving: make(map[chat.Region]bool), Sockets: n.drain.Loads(), Capacity: make(map[chat.Region]int),
	}
	for _, r := range n.opt.Config.Regions {
		w.Capacity[r.Name] = r.CapacitySockets
		if r.Name != n.opt.Region && n.serving(r.Name) {
			w.Serving[r.Name] = true
		}
	}
	w.Moves, w.Stay = n.drain.Moves()
	for _, other := range n.askMoves(ctx) {
		for r, sockets := range other.Moves {
			w.Moves[r] += sockets
		}
		for z, sockets := range other.Stay {
			w.Stay[z] += sockets
		}
	}
	return drain.Make(w)
}

// askMoves asks the other nodes of this region; one that does not answer has no sockets that could move.
func (n *Node) askMoves(ctx context.Context) []moves {
	ctx, cancel := context.WithTimeout(ctx, movesTimeout)
	defer cancel()
	var mu sync.Mutex
	var all []moves
	var asked sync.WaitGroup
	for node := range n.edge.Heard() {
		asked.Go(func() {
			var one moves
			reply, err := n.backbone.CallNode(ctx, chat.NodeRef{Region: n.opt.Region, Node: node}, methodMoves, nil)
			if err == nil {
				err = json.Unmarshal(reply, &one)
			}
			if err != nil {
				n.opt.Log.Warn("a node does not say where its sockets would go", "node", node, "err", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, one)
		})
	}
	asked.Wait()
	return all
}

func (n *Node) answerMoves() ([]byte, error) {
	var m moves
	m.Moves, m.Stay = n.drain.Moves()
	return json.Marshal(m)
}

// DrainAnswer is the answer of /v1/admin/drain.
type DrainAnswer struct {
	Plan drain.Plan `json:"plan"`
	// Progress is of this node; missing while the region does not drain.
	Progress *drain.Progress `json:"progress,omitempty"`
}

// serveDrain shows what a drain would do (GET), drains the region within ?within= (POST), which is refused when the plan is and ?force=
// is not true, or ends the drain (DELETE). One node is told; the others hear of it.
func (n *Node) serveDrain(w http.ResponseWriter, r *http.Request) {
	answer := DrainAnswer{Plan: n.drainPlan(r.Context())}
	if err := n.changeDrain(r, answer.Plan); err != nil {
		wire.WriteError(w, r, err)
		return
	}
	answer.Progress = n.drain.Progress()
	wire.WriteJSON(w, http.StatusOK, answer)
}

func (n *Node) changeDrain(r *http.Request, plan drain.Plan) error {
	q := r.URL.Query()
	switch r.Method {
	case http.MethodDelete:
		_, err := n.drain.Give(false, 0)
		return err
	case http.MethodPost:
		within, err := time.ParseDuration(q.Get("within"))
		if err != nil {
			return &chat.Error{Code: chat.CodeInvalid, Message: "within must be a duration, like 10m"}
		}
		if force, _ := strconv.ParseBool(q.Get("force")); !force {
			if err := plan.Err(); err != nil {
				return err
			}
		}
		n.opt.Log.Warn("the region is drained by an admin call", "within", within, "plan", plan)
		_, err = n.drain.Give(true, within)
		return err
	}
	return nil
}
