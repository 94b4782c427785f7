package edge

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"meridian/chat"
	"meridian/region-node/wire"
)

// ProbePath asks whether the way of a message works. Between the nodes of a region it is asked of one service: ?service=.
const ProbePath = "/v1/probe"

// Serves says whether this node serves a service now, as it would for people.
func (e *Edge) Serves(service chat.Service) bool {
	return e.refusal(service) == nil && e.opt.Taking() == nil
}

// ProbeOthers asks all nodes of the region that would be given work of a service whether it works there: one that does is enough. Errors:
// CodeRegionDegraded where there is no such node, and what the last of them said is wrong.
func (e *Edge) ProbeOthers(ctx context.Context, service chat.Service) error {
	targets := e.nodesRunning(service)
	if len(targets) == 0 {
		return &chat.Error{Code: chat.CodeRegionDegraded, Op: "edge.ProbeOthers", Message: "no node of the region that runs " + string(service) + " takes people"}
	}
	payload, err := json.Marshal(&forwarded{Method: http.MethodGet, URI: ProbePath + "?service=" + url.QueryEscape(string(service))})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, len(targets))
	for _, t := range targets {
		go func() { answers <- e.probeNode(ctx, t, payload) }()
	}
	for range targets {
		if err = <-answers; err == nil {
			return nil
		}
	}
	return err
}

// probeNode asks one node. A build that knows no such question, and answers, is taken at its word that it takes people.
func (e *Edge) probeNode(ctx context.Context, t target, payload []byte) error {
	stream, err := e.opt.Backbone.OpenStreamNode(ctx, chat.NodeRef{Region: t.region, Node: t.node}, StreamRequest, payload)
	answer, err := readAnswer(ctx, stream, err)
	if err != nil {
		return err
	}
	if answer.Status != http.StatusServiceUnavailable {
		return nil
	}
	var why wire.Error
	if json.Unmarshal(answer.Body, &why) != nil {
		why.Code = chat.CodeRegionDegraded
	}
	return &chat.Error{Code: why.Code, Op: "edge.probeNode", Message: t.String() + ": " + why.Message}
}

// probed gives the service that a request of another node asks after.
func probed(r *http.Request) (service chat.Service, ok bool) {
	return chat.Service(r.URL.Query().Get("service")), r.URL.Path == ProbePath
}

// answerProbe answers another node that asks whether a service works here. An error says that this node does not serve it.
func (e *Edge) answerProbe(ctx context.Context, r *http.Request, service chat.Service) (*forwardedAnswer, error) {
	if why := e.refusal(service); why != nil {
		return nil, why
	}
	if why := e.opt.Taking(); why != nil {
		return nil, why
	}
	rec := &recorder{header: make(http.Header), status: http.StatusOK}
	if err := e.opt.Probe(ctx, service); err != nil {
		wire.WriteError(rec, r, err)
		rec.status = http.StatusServiceUnavailable
	}
	return &forwardedAnswer{Status: rec.status, Body: rec.body.Bytes()}, nil
}
