package edge

import (
	"context"
	"encoding/json"
	"errors"

	"meridian/chat"
	"meridian/region-node/auth"
	"meridian/region-node/gateway"
	"meridian/replication/link"
)

// ServeStream serves, at home, a socket that ends in region peer; where this node does not run sockets, another one of the region
// does. It returns when the socket ends.
func (e *Edge) ServeStream(ctx context.Context, peer chat.Region, stream Stream, header []byte) {
	conn := newStreamConn(ctx, stream)
	hello, err := e.readTunnel(header)
	if err != nil {
		e.refuse(conn, err)
		return
	}
	hello.Edge = peer
	if why := e.refusal(chat.ServiceChat); why != nil {
		e.tunnel(ctx, conn, hello, place{targets: e.nodesRunning(chat.ServiceChat), why: why})()
		return
	}
	e.opt.Gateway.Serve(ctx, conn, hello)
}

// ServeSocket serves a socket that a node of this region passed on: here, or not at all.
func (e *Edge) ServeSocket(ctx context.Context, stream Stream, header []byte) {
	why := e.refusal(chat.ServiceChat)
	if why == nil {
		why = e.opt.Taking()
	}
	if why != nil {
		stream.CloseWithCode(closeNotTaken, string(why.Code))
		return
	}
	conn := newStreamConn(ctx, stream)
	hello, err := e.readTunnel(header)
	if err != nil {
		e.refuse(conn, err)
		return
	}
	hello.Through = true
	e.opt.Gateway.Serve(ctx, conn, hello)
}

// readTunnel reads who opens a stream. Errors: CodeBadFrame, those of the token, CodeDenied for a zone that this region does not serve.
func (e *Edge) readTunnel(header []byte) (gateway.Hello, error) {
	var h tunnelHeader
	if err := json.Unmarshal(header, &h); err != nil {
		return gateway.Hello{}, &chat.Error{Code: chat.CodeBadFrame, Message: "tunnel header is not valid", Cause: err}
	}
	claims, err := e.opt.Verifier.Verify(h.Hello.Token, auth.Access)
	if err == nil && !e.opt.Topology.InZone(e.opt.Self, claims.Zone) {
		err = &chat.Error{Code: chat.CodeDenied, Message: "this region does not serve the token's zone"}
	}
	return gateway.Hello{Claims: claims, Frame: h.Hello, Addr: h.Addr, Edge: h.Edge}, err
}

// streamConn is a gateway.Conn over a backbone stream.
type streamConn struct {
	ctx    context.Context
	cancel context.CancelFunc
	stream Stream
}

func newStreamConn(ctx context.Context, stream Stream) *streamConn {
	ctx, cancel := context.WithCancel(ctx)
	return &streamConn{ctx: ctx, cancel: cancel, stream: stream}
}

func (c *streamConn) Read() ([]byte, error) { return c.stream.Read(c.ctx) }

func (c *streamConn) Write(frames [][]byte) error { return c.stream.Write(c.ctx, frames...) }

func (c *streamConn) Close(code int, reason string) {
	c.stream.CloseWithCode(uint16(code), reason)
	c.cancel()
}

// closeOf gives the close code to pass on to the client: what home said, or "restart" when the way there broke.
func closeOf(err error) (int, string) {
	var closed *link.CloseError
	if errors.As(err, &closed) && closed.Code != 0 {
		return int(closed.Code), closed.Reason
	}
	return 1012, "the way there broke"
}
