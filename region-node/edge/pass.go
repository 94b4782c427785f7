package edge

import (
	"context"
	"encoding/json"
	"errors"

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

// closeBroken closes one whose request may have been done, but has no answer.
const closeBroken = 4901

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
		answer, err := e.ask(ctx, t, service, payload, f.reads())
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
		if chat.CodeOf(err) != chat.CodeUnknownOutcome || !f.reads() || repeated || ctx.Err() != nil {
			return nil, err
		}
		repeated = true
		e.opt.Metrics.Count("passed_again_total", string(service), "unknown_outcome")
	}
	return nil, last
}

// ask asks one target. Another region answers a call, which every build knows; an answer that is too long for one comes by a stream,
// of a request that only reads: it is asked again.
func (e *Edge) ask(ctx context.Context, t target, service chat.Service, payload []byte, reads bool) (*forwardedAnswer, error) {
	if t.node != "" {
		e.siblings.gave(t.node, service)
		e.opt.Metrics.Count("passed_total", string(service), t.String())
		stream, err := e.opt.Backbone.OpenStreamNode(ctx, chat.NodeRef{Region: t.region, Node: t.node}, StreamRequest, payload)
		return readAnswer(ctx, stream, err)
	}
	back, err := e.opt.Backbone.Call(ctx, t.region, MethodHTTP, payload)
	if reads && chat.CodeOf(err) == chat.CodeTooLarge {
		stream, err := e.opt.Backbone.OpenStream(ctx, t.region, StreamRequest, payload)
		return readAnswer(ctx, stream, err)
	}
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

// readAnswer reads the answer to a stream whose header is a request: a head, then the body in pieces, so that no answer is too long and
// a slow reader holds up nobody else.
func readAnswer(ctx context.Context, stream Stream, err error) (*forwardedAnswer, error) {
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

// ServeRequest answers a request that came by a stream: what a node of this region passed on here, or not at all; for another
// region's edge a node of this one that runs the service.
func (e *Edge) ServeRequest(ctx context.Context, stream Stream, header []byte, within bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // nobody waits for it any more: the node that asked is gone, or its client
		select {
		case <-stream.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	answer, err := e.answer(ctx, header, within)
	if err != nil {
		code := uint16(closeNotTaken)
		if c := chat.CodeOf(err); c == chat.CodeUnknownOutcome || c == chat.CodeInternal {
			code = closeBroken
		}
		stream.CloseWithCode(code, string(chat.CodeOf(err)))
		return
	}
	body := answer.Body
	answer.Body = nil
	head, err := json.Marshal(answer)
	if err != nil || stream.Write(ctx, head) != nil {
		stream.CloseWithCode(closeBroken, "")
		return
	}
	for len(body) > 0 {
		n := min(len(body), answerChunkBytes)
		if stream.Write(ctx, body[:n]) != nil {
			return // it has ended
		}
		body = body[n:]
	}
	stream.CloseWithCode(link.CloseDone, "")
}

// answer answers a request that was passed on, here or, where it may go on, by another node of this region. An error says that it was
// not taken; CodeUnknownOutcome that it may have been.
func (e *Edge) answer(ctx context.Context, payload []byte, within bool) (*forwardedAnswer, error) {
	f, r, err := readForwarded(ctx, payload)
	if err != nil {
		return nil, err
	}
	if service, ok := probed(r); ok {
		return e.answerProbe(ctx, r, service)
	}
	service := serviceOf(r)
	why := e.refusal(service)
	if why == nil {
		return e.record(r), nil
	}
	if within {
		return nil, why
	}
	answer, err := e.pass(ctx, f, service, e.nodesRunning(service))
	if answer == nil && (err == nil || errors.As(err, &notTaken{})) {
		return nil, why
	}
	return answer, err
}
