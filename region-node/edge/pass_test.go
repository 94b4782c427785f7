package edge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/replication/link"
)

// ending is a stream on which nothing comes but its end.
type ending struct{ err error }

func (s ending) Read(context.Context) ([]byte, error)   { return nil, s.err }
func (s ending) Write(context.Context, ...[]byte) error { return nil }
func (s ending) CloseWithCode(uint16, string)           {}
func (s ending) Done() <-chan struct{}                  { return nil }
func notHere() ending                                   { return ending{&link.CloseError{Code: closeNotTaken, Reason: "busy"}} }

func lost() ending                                               { return ending{errors.New("the link ended")} }
func (nothing) Count(string, ...string)                          {}
func (nothing) Set(string, float64, ...string)                   {}
func (nothing) Observe(string, float64, ...string)               {}
func (nothing) Tell(chat.Region, string, []byte)                 {}
func (nothing) Reachable(chat.Region) (d time.Duration, up bool) { return 0, false }

// nothing is what a test needs of metrics and of the backbone, and does not look at.
type nothing struct{}

// asked is a backbone whose nodes end every stream as told, and which notes whom it asked.
type asked struct {
	nothing
	ends  map[chat.NodeID]ending
	nodes []string
}

func (a *asked) Call(_ context.Context, peer chat.Region, _ string, _ []byte) ([]byte, error) {
	a.nodes = append(a.nodes, string(peer))
	return []byte(`{"status":200}`), nil
}

func (a *asked) CallNode(context.Context, chat.NodeRef, string, []byte) ([]byte, error) {
	return nil, errors.New("not asked for")
}

func (a *asked) OpenStream(context.Context, chat.Region, string, []byte) (Stream, error) {
	return nil, errors.New("not asked for")
}

func (a *asked) OpenStreamNode(_ context.Context, peer chat.NodeRef, _ string, _ []byte) (Stream, error) {
	a.nodes = append(a.nodes, string(peer.Node))
	end, linked := a.ends[peer.Node]
	if !linked {
		return nil, &chat.Error{Code: chat.CodeRegionDegraded}
	}
	return end, nil
}

// What a node certainly did not take goes to the next, whatever it is; what a node may have done is asked once more elsewhere when it
// changes nothing, and never otherwise.
func TestNothingIsDoneTwice(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		ends   map[chat.NodeID]ending
		asked  string
		code   chat.Code
	}{
		"no link":              {"POST", nil, "n1 n2 far", ""},
		"refused":              {"POST", map[chat.NodeID]ending{"n1": notHere(), "n2": notHere()}, "n1 n2 far", ""},
		"change, lost":         {"POST", map[chat.NodeID]ending{"n1": lost()}, "n1", chat.CodeUnknownOutcome},
		"removal, lost":        {"DELETE", map[chat.NodeID]ending{"n1": lost()}, "n1", chat.CodeUnknownOutcome},
		"refused, then lost":   {"PUT", map[chat.NodeID]ending{"n1": notHere(), "n2": lost()}, "n1 n2", chat.CodeUnknownOutcome},
		"reading, lost":        {"GET", map[chat.NodeID]ending{"n1": lost()}, "n1 n2 far", ""},
		"reading, lost twice":  {"GET", map[chat.NodeID]ending{"n1": lost(), "n2": lost()}, "n1 n2", chat.CodeUnknownOutcome},
		"reading, then no way": {"GET", map[chat.NodeID]ending{"n1": lost(), "n2": notHere()}, "n1 n2 far", ""},
	} {
		backbone := &asked{ends: c.ends}
		e := New(Options{Self: "near", Backbone: backbone, Metrics: nothing{}, Log: slog.New(slog.DiscardHandler)})
		targets := []target{{node: "n1", region: "near"}, {node: "n2", region: "near"}, {region: "far"}}
		answer, err := e.pass(t.Context(), &forwarded{Method: c.method, URI: "/v1/me"}, chat.ServiceAuth, targets)
		if got := strings.Join(backbone.nodes, " "); got != c.asked || chat.CodeOf(err) != c.code || (err == nil) != (answer != nil && answer.Status == http.StatusOK) {
			t.Errorf("%s: asked %s, want %s; error %v, want %q", name, got, c.asked, err, c.code)
		}
	}
}

// A node that is given work before it tells of it counts as busier by that much; one that refused is left out until it tells anew.
func TestTheLeastLoadedNodeComesFirst(t *testing.T) {
	e := New(Options{Self: "near", Metrics: nothing{}})
	word := func(node chat.NodeID, load string) {
		e.Hear(node, []byte(`{"services":["chat"],"taking":true,"load":{"chat":`+load+`}}`))
	}
	order := func() string {
		var names []string
		for _, node := range e.siblings.running(chat.ServiceChat) {
			names = append(names, string(node))
		}
		return strings.Join(names, " ")
	}
	check := func(what, want string) {
		t.Helper()
		if got := order(); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	word("n1", "2")
	word("n2", "1")
	e.Hear("n3", []byte(`{"services":["auth"],"taking":true}`))
	e.Hear("n4", []byte(`{"services":["chat"],"taking":false}`))
	e.Hear("n5", []byte(`nonsense`))
	check("as told", "n2 n1")
	e.siblings.gave("n2", chat.ServiceChat)
	e.siblings.gave("n2", chat.ServiceChat)
	check("after two sockets for n2", "n1 n2")
	word("n2", "1")
	check("after n2 told anew", "n2 n1")
	e.siblings.refused("n2")
	check("after n2 refused", "n1")
	e.Forget("n1")
	check("after the link to n1 ended", "")
}
