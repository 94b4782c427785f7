package edge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"meridian/chat"
	"meridian/replication/link"
)

// target is who else may serve somebody: a node of this region, or another region.
type target struct {
	node   chat.NodeID // "": any of region
	region chat.Region
}

func (t target) String() string {
	if t.node == "" {
		return string(t.region)
	}
	return chat.NodeRef{Region: t.region, Node: t.node}.String()
}

// closeNotTaken closes a stream between two nodes of a region that was not served: nothing was done of what it asked. The reason
// is the error's code.
const closeNotTaken = 4900

// answerChunkBytes is how much of an answer one message of a stream carries.
const answerChunkBytes = 128 << 10

// notTaken is the error of a target that certainly did nothing of what it was asked.
type notTaken struct{ cause error }

func (n notTaken) Error() string { return "not taken: " + n.cause.Error() }
func (n notTaken) Unwrap() error { return n.cause }

// pass asks the targets in turn. One that did not take the request is passed over; where it is not known whether one did, a
// request that changes nothing is asked once more elsewhere, and no other.
func (e *Edge) pass(ctx context.Context, f *forwarded, service chat.Service, targets []target) (*forwardedAnswer, error) {
	payload, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	var last error
	repeated := false
	for _, t := range targets {
		answer, err := e.ask(ctx, t, service, payload)
		if err == nil {
			return answer, nil
		}
		e.opt.Log.Warn("request not passed on", "to", t, "service", service, "err", err)
		last = err
		if errors.As(err, &notTaken{}) {
			e.siblings.refused(t.node)
			e.opt.Metrics.Count("passed_again_total", string(service), "not_taken")
			continue
		}
		if chat.CodeOf(err) != chat.CodeUnknownOutcome || f.Method != http.MethodGet && f.Method != http.MethodHead || repeated || ctx.Err() != nil {
			return nil, err
		}
		repeated = true
		e.opt.Metrics.Count("passed_again_total", string(service), "unknown_outcome")
	}
	return nil, last
}

// ask asks one target.
func (e *Edge) ask(ctx context.Context, t target, service chat.Service, payload []byte) (*forwardedAnswer, error) {
	if t.node != "" {
		e.siblings.gave(t.node, service)
		e.opt.Metrics.Count("passed_total", string(service), t.String())
		return e.askNode(ctx, t, payload)
	}
	back, err := e.opt.Backbone.Call(ctx, t.region, MethodHTTP, payload)
	switch chat.CodeOf(err) {
	case "":
	case chat.CodeRegionDegraded, chat.CodeBusy, chat.CodeNotFound, chat.CodeClockSkew: // it refuses before it looks at the request
		return nil, notTaken{err}
	default:
		return nil, err
	}
	answer := new(forwardedAnswer)
	return answer, json.Unmarshal(back, answer)
}

// askNode asks a node of this region: a stream whose header is the request. The answer comes as a head, then its body in pieces, so
// that no answer is too long and a slow reader holds up nobody else.
func (e *Edge) askNode(ctx context.Context, t target, payload []byte) (*forwardedAnswer, error) {
	stream, err := e.opt.Backbone.OpenStreamNode(ctx, chat.NodeRef{Region: t.region, Node: t.node}, StreamRequest, payload)
	if err != nil {
		return nil, notTaken{err}
	}
	defer stream.CloseWithCode(link.CloseDone, "")
	head, err := stream.Read(ctx)
	if err != nil {
		return nil, streamEnd(err)
	}
	answer := new(forwardedAnswer)
	if err := json.Unmarshal(head, answer); err != nil {
		return nil, err
	}
	for {
		piece, err := stream.Read(ctx)
		var closed *link.CloseError
		if errors.As(err, &closed) && closed.Code == link.CloseDone {
			return answer, nil
		}
		if err != nil {
			return nil, streamEnd(err)
		}
		answer.Body = append(answer.Body, piece...)
	}
}

// streamEnd gives the error of a request or a socket whose stream ended before its answer.
func streamEnd(err error) error {
	var closed *link.CloseError
	if errors.As(err, &closed) && (closed.Code == closeNotTaken || closed.Code == link.CloseTryLater) {
		code := chat.Code(closed.Reason)
		if _, known := chat.Codes[code]; !known {
			code = chat.CodeBusy
		}
		return notTaken{&chat.Error{Code: code, Op: "edge", Message: "the node does not take it", Cause: err}}
	}
	return &chat.Error{Code: chat.CodeUnknownOutcome, Op: "edge", Message: "the node that was asked went away before it answered; it may have acted", Cause: err}
}

// ServeRequest answers a request that a node of this region passed on: here, or not at all.
func (e *Edge) ServeRequest(ctx context.Context, stream Stream, header []byte) {
	_, r, err := readForwarded(ctx, header)
	if err != nil {
		stream.CloseWithCode(closeNotTaken, string(chat.CodeOf(err)))
		return
	}
	if why := e.refusal(serviceOf(r)); why != nil {
		stream.CloseWithCode(closeNotTaken, string(why.Code))
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() { // nobody waits for it any more: the node that asked is gone, or its client
		select {
		case <-stream.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	answer := e.record(r.WithContext(ctx))
	body := answer.Body
	answer.Body = nil
	head, err := json.Marshal(answer)
	if err != nil || stream.Write(ctx, head) != nil {
		return
	}
	for len(body) > 0 {
		n := min(len(body), answerChunkBytes)
		if stream.Write(ctx, body[:n]) != nil {
			return
		}
		body = body[n:]
	}
	stream.CloseWithCode(link.CloseDone, "")
}
