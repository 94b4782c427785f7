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

// ServeStream serves, at home, a socket that ends in region peer. It returns when the socket ends.
func (e *Edge) ServeStream(ctx context.Context, peer chat.Region, stream Stream, header []byte) {
	conn := newStreamConn(ctx, stream)
	var h tunnelHeader
	if err := json.Unmarshal(header, &h); err != nil {
		e.refuse(conn, &chat.Error{Code: chat.CodeBadFrame, Message: "tunnel header is not valid", Cause: err})
		return
	}
	claims, err := e.opt.Verifier.Verify(h.Hello.Token, auth.Access)
	if err == nil && !e.opt.Topology.InZone(e.opt.Self, claims.Zone) {
		err = &chat.Error{Code: chat.CodeDenied, Message: "this region does not serve the token's zone"}
	}
	if err != nil {
		e.refuse(conn, err)
		return
	}
	e.opt.Gateway.Serve(ctx, conn, gateway.Hello{Claims: claims, Frame: h.Hello, Addr: h.Addr, Edge: peer})
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

func (c *streamConn) Write(frames [][]byte) error {
	for _, f := range frames {
		if err := c.stream.Write(c.ctx, f); err != nil {
			return err
		}
	}
	return nil
}

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
	return 1012, "the way home broke"
}
