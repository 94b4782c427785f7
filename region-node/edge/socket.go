package edge

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"meridian/chat"
	"meridian/region-node/auth"
	"meridian/region-node/gateway"
	"meridian/region-node/wire"
)

// ServeWS answers GET /v1/ws.
func (e *Edge) ServeWS(w http.ResponseWriter, r *http.Request) {
	addr := e.opt.Address(r)
	if !e.sockets.add(addr) {
		e.opt.Metrics.Count("refused_total", string(chat.CodeRateLimited))
		wire.WriteError(w, r, &chat.Error{Code: chat.CodeRateLimited, Message: "too many sockets of this address", RetryAfter: 5 * time.Second})
		return
	}
	conn, err := gateway.Upgrade(w, r, e.opt.Limits.FrameBytes, gateway.Timeouts{
		Idle: e.opt.Timing.HelloTimeout, Write: e.opt.Timing.WriteTimeout,
	}, e.opt.Origin)
	if err != nil {
		e.sockets.remove(addr)
		e.opt.Metrics.Count("refused_total", string(chat.CodeInvalid))
		return // the upgrader has answered
	}
	go func() { // the request's goroutine and buffers go
		pass := e.serve(context.Background(), conn, addr)
		if pass == nil {
			e.sockets.remove(addr)
			return
		}
		go func() { // so does this one's stack: it grew with the token, and would not shrink while the socket waits
			defer e.sockets.remove(addr)
			pass()
		}()
	}()
}

// serve serves a socket to its end, or gives what passes it on to where it is served.
func (e *Edge) serve(ctx context.Context, conn gateway.Socket, addr netip.Addr) (pass func()) {
	hello, unjudged, err := e.readHello(conn, addr)
	if err != nil {
		e.refuse(conn, err)
		return nil
	}
	conn.SetIdle(2*e.opt.Timing.Heartbeat + e.opt.Timing.WriteTimeout)
	e.hear(hello)
	if err := e.leave(hello); err != nil {
		e.refuse(conn, err)
		return nil
	}
	at, err := e.place(hello.Claims.Zone, hello.Addr, chat.ServiceChat)
	switch {
	case err != nil:
		e.refuse(conn, err)
	case at.here && unjudged != nil:
		e.refuse(conn, unjudged)
	case at.here:
		e.opt.Gateway.Serve(ctx, conn, hello)
	default:
		one := &tunnelled{conn: conn, zone: hello.Claims.Zone, addr: hello.Addr, edge: e.opt.Self}
		e.passing.add(one)
		through := e.tunnel(ctx, conn, hello, at)
		return func() {
			defer e.passing.remove(one)
			through()
		}
	}
	return nil
}

// hear takes what the client says of regions that it could not reach.
func (e *Edge) hear(hello gateway.Hello) {
	failed := hello.Frame.Failed
	for _, r := range failed[:min(len(failed), chat.MaxRegions)] {
		e.opt.Unreachable(chat.Region(r), hello.Addr)
	}
}

// readHello reads the first frame and verifies its token. Nothing else is read before it is known that this region may serve
// the person. unjudged says why a token that is good but for its time could not be judged by that.
func (e *Edge) readHello(conn gateway.Conn, addr netip.Addr) (h gateway.Hello, unjudged, err error) {
	h = gateway.Hello{Addr: addr, Edge: e.opt.Self}
	data, err := conn.Read()
	if chat.CodeOf(err) == chat.CodeHeartbeatTimeout {
		return h, nil, &chat.Error{Code: chat.CodeHelloTimeout, Message: "no hello in time"}
	}
	if err != nil {
		return h, nil, err
	}
	if h.Frame, err = wire.ParseIn(data, e.opt.Limits.FrameBytes); err != nil {
		return h, nil, err
	}
	if h.Frame.T != "hello" {
		return h, nil, &chat.Error{Code: chat.CodeBadFrame, Message: "the first frame must be hello"}
	}
	if len(h.Frame.Device) > maxDeviceBytes {
		return h, nil, &chat.Error{Code: chat.CodeInvalid, Message: "device is too long"}
	}
	if h.Claims, unjudged = e.opt.Verifier.Verify(h.Frame.Token, auth.Access); !placed(h.Claims) {
		e.opt.Metrics.Count("auth_failures_total", string(chat.CodeOf(unjudged)))
		return h, nil, unjudged
	}
	if h.Frame.As != "" {
		if !e.opt.Simulate {
			return h, nil, &chat.Error{Code: chat.CodeInvalid, Message: `"as" is accepted only under meridian up`}
		}
		if h.Addr, err = netip.ParseAddr(h.Frame.As); err != nil {
			return h, nil, &chat.Error{Code: chat.CodeInvalid, Message: `"as" must be an IP address`}
		}
	}
	return h, unjudged, nil
}

// maxDeviceBytes bounds the device's name.
const maxDeviceBytes = 128

func (e *Edge) refuse(conn gateway.Conn, err error) {
	e.opt.Metrics.Count("refused_total", string(chat.CodeOf(err)))
	gateway.Refuse(conn, err, "hello")
}

// tunnelHeader opens a client's stream. Who serves it verifies the token again: an edge's word is no proof.
type tunnelHeader struct {
	Hello wire.In    `json:"hello"`
	Addr  netip.Addr `json:"addr"`
	// Edge is the region where the socket ends; the word of the own region's nodes only.
	Edge chat.Region `json:"edge,omitempty"`
}

// tunnel opens the way of a socket's frames to the first target that takes it, and back; through passes them until the socket
// ends. Where there is no way the client has been told, and through does nothing.
func (e *Edge) tunnel(ctx context.Context, conn gateway.Conn, hello gateway.Hello, at place) (through func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.tunnels, cancel)
	end := func() {
		stop()
		cancel()
	}
	header, err := json.Marshal(tunnelHeader{Hello: hello.Frame, Addr: hello.Addr, Edge: hello.Edge})
	if err != nil {
		e.refuse(conn, err)
		return end
	}
	for _, t := range at.targets {
		stream, first, err := e.openSocket(ctx, t, header)
		if err != nil {
			e.opt.Log.Warn("tunnel not opened", "to", t, "err", err)
			e.siblings.refused(t.node)
			continue
		}
		if !show(conn, stream, first) {
			return end
		}
		return func() {
			defer end()
			e.splice(ctx, conn, stream)
		}
	}
	e.refuse(conn, at.why)
	return end
}

// openSocket opens a client's stream to a target and waits for its first frame: before that, nothing was shown, and the next target
// may be tried.
func (e *Edge) openSocket(ctx context.Context, t target, header []byte) (stream Stream, first []byte, err error) {
	if t.node == "" {
		stream, err = e.opt.Backbone.OpenStream(ctx, t.region, StreamClient, header)
		e.opt.Metrics.Count("forwarded_total", string(t.region))
	} else {
		e.siblings.gave(t.node, chat.ServiceChat)
		stream, err = e.opt.Backbone.OpenStreamNode(ctx, chat.NodeRef{Region: t.region, Node: t.node}, StreamSocket, header)
		e.opt.Metrics.Count("passed_total", string(chat.ServiceChat), t.String())
	}
	if err != nil {
		return nil, nil, err
	}
	first, err = stream.Read(ctx)
	return stream, first, err
}

// show writes a frame of the stream to the client. One that does not take it in time ends both.
func show(conn gateway.Conn, stream Stream, frame []byte) bool {
	if conn.Write([][]byte{frame}) == nil {
		return true
	}
	conn.Close(gateway.CloseCode(chat.CodeSlowConsumer), string(chat.CodeSlowConsumer))
	stream.CloseWithCode(1001, "client gone")
	return false
}

// splice passes frames both ways until one of the two ends.
func (e *Edge) splice(ctx context.Context, conn gateway.Conn, stream Stream) {
	var done sync.WaitGroup
	done.Go(func() {
		for {
			frame, err := stream.Read(ctx)
			if err != nil {
				code, reason := closeOf(err)
				conn.Close(code, reason)
				return
			}
			if !show(conn, stream, frame) {
				return
			}
		}
	})
	for {
		frame, err := conn.Read()
		if err != nil {
			if chat.CodeOf(err) != chat.CodeInternal {
				gateway.Refuse(conn, err, "")
			}
			break
		}
		if len(frame) > e.opt.Limits.FrameBytes {
			_, err := wire.ParseIn(frame, e.opt.Limits.FrameBytes)
			_ = conn.Write([][]byte{wire.Encode(wire.ErrorFrame{T: "error", Error: wire.ErrorOf(err)})}) // if it is gone, Read says so
			continue
		}
		if stream.Write(ctx, frame) != nil {
			break
		}
	}
	stream.CloseWithCode(1001, "client gone")
	conn.Close(1001, "")
	done.Wait()
}
