package edge

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
)

// TellServices is the kind of hint by which the nodes of a region tell each other what they run and how busy they are; also the method
// by which one that ends makes sure that it is heard.
const TellServices = "services"

// tellEvery is how often they do; a node that ends or falls ill tells it at once.
const tellEvery = time.Second

// authPaths are the calls of service auth; what lies below one is of it too. All other calls are of service messages.
var authPaths = []string{"/v1/signup", "/v1/login", "/v1/token", "/v1/logout", "/v1/me"}

// beforeLogIn are the calls of somebody who has no token yet.
var beforeLogIn = []string{"/v1/signup", "/v1/login", "/v1/token"}

// serviceOf gives the service that answers a call.
func serviceOf(r *http.Request) chat.Service {
	for _, p := range authPaths {
		if r.URL.Path == p || strings.HasPrefix(r.URL.Path, p+"/") {
			return chat.ServiceAuth
		}
	}
	return chat.ServiceMessages
}

// Word is what a node of the region says of itself.
type Word struct {
	Services []chat.Service `json:"services"`
	// Taking says that it serves people now: it neither catches up nor ends, and its clock is right.
	Taking bool `json:"taking"`
	// Load is by service what is under way: requests, or sockets.
	Load map[chat.Service]int `json:"load"`
}

// Runs says whether the node runs a service.
func (w Word) Runs(s chat.Service) bool { return slices.Contains(w.Services, s) }

// sibling is another node of the region, as it told, and what it was given since.
type sibling struct {
	word  Word
	given map[chat.Service]int
}

// siblings are the nodes of the region that are linked and have told what they run. All of it is a hint: who is asked may refuse.
type siblings struct {
	mu    sync.Mutex
	known map[chat.NodeID]*sibling
}

// Hear takes another node's word.
func (e *Edge) Hear(node chat.NodeID, payload []byte) {
	var w Word
	if json.Unmarshal(payload, &w) != nil {
		return
	}
	e.siblings.mu.Lock()
	defer e.siblings.mu.Unlock()
	e.siblings.known[node] = &sibling{word: w, given: make(map[chat.Service]int)}
}

// Forget drops a node whose link has ended.
func (e *Edge) Forget(node chat.NodeID) {
	e.siblings.mu.Lock()
	defer e.siblings.mu.Unlock()
	delete(e.siblings.known, node)
}

// Heard gives what the other nodes of the region told.
func (e *Edge) Heard() map[chat.NodeID]Word {
	e.siblings.mu.Lock()
	defer e.siblings.mu.Unlock()
	out := make(map[chat.NodeID]Word, len(e.siblings.known))
	for node, s := range e.siblings.known {
		out[node] = s.word
	}
	return out
}

// refused notes that a node did not take what it was given: it is left out until it tells anew.
func (s *siblings) refused(node chat.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.known[node]; one != nil {
		one.word.Taking = false
	}
}

// gave notes that a node was given work which it has not told of yet, so that one second's work does not all go to one node.
func (s *siblings) gave(node chat.NodeID, service chat.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.known[node]; one != nil {
		one.given[service]++
	}
}

// running gives the nodes that run a service and take people, the least loaded first.
func (s *siblings) running(service chat.Service) []chat.NodeID {
	s.mu.Lock()
	defer s.mu.Unlock()
	load := make(map[chat.NodeID]int)
	var out []chat.NodeID
	for node, one := range s.known {
		if one.word.Taking && one.word.Runs(service) {
			load[node] = one.word.Load[service] + one.given[service]
			out = append(out, node)
		}
	}
	slices.SortFunc(out, func(a, b chat.NodeID) int { return cmp.Or(cmp.Compare(load[a], load[b]), cmp.Compare(a, b)) })
	return out
}

// loads counts the requests under way here by service.
type loads struct{ auth, messages atomic.Int64 }

func (l *loads) of(s chat.Service) *atomic.Int64 {
	if s == chat.ServiceAuth {
		return &l.auth
	}
	return &l.messages
}

// Word gives what this node says of itself.
func (e *Edge) Word() Word {
	load := make(map[chat.Service]int, len(e.opt.Services))
	for _, s := range e.opt.Services {
		if s == chat.ServiceChat {
			load[s] = e.opt.Gateway.Count()
		} else {
			load[s] = int(e.loads.of(s).Load())
		}
		e.opt.Metrics.Set("service_load", float64(load[s]), string(s))
	}
	return Word{Services: e.opt.Services, Taking: !e.ending.Load() && e.opt.Taking() == nil, Load: load}
}

// Tell tells the other nodes of the region.
func (e *Edge) Tell() {
	e.telling.Lock()
	defer e.telling.Unlock()
	if payload, err := json.Marshal(e.Word()); err == nil { // it always encodes
		e.opt.Backbone.Tell(e.opt.Self, TellServices, payload)
	}
}

// refusal says why this node does not serve a service now; nil: it does.
func (e *Edge) refusal(s chat.Service) *chat.Error {
	switch {
	case e.ending.Load():
		return &chat.Error{Code: chat.CodeBusy, Op: "edge", Message: "the node is being stopped; another one of its region serves", RetryAfter: time.Second}
	case !slices.Contains(e.opt.Services, s):
		return &chat.Error{
			Code: chat.CodeRegionDegraded, Op: "edge", RetryAfter: time.Second,
			Message: "this node does not run " + string(s) + ", and no node of the region that does can be reached",
		}
	}
	return e.opt.Serving()
}
