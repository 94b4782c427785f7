// Package gateway is where people's sockets are served, in a region of their home zone: the hello, the frames of
// docs/protocol.md, and the pump that reads a person's inbox log and writes it out. The socket itself may end in another
// region (package edge); then its Conn is a stream over the backbone.
package gateway

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/auth"
	"meridian/region-node/groups"
	"meridian/region-node/limits"
	"meridian/region-node/messages"
	"meridian/region-node/people"
	"meridian/region-node/presence"
	"meridian/region-node/wire"
)

// Directory finds people by name.
type Directory interface {
	Resolve(ctx context.Context, username string) (chat.Owner, error)
}

// Sessions says whether a log-in still holds here.
type Sessions interface {
	CheckSession(ctx context.Context, c auth.Claims) error
}

// Options make a Gateway.
type Options struct {
	Topology  chat.Topology
	Identity  chat.Identity
	Limits    config.Limits
	Timing    config.Timing
	Retention config.Retention
	Store     chat.Store
	Messages  *messages.Service
	People    *people.Service
	Groups    *groups.Service
	Presence  *presence.Service
	Directory Directory
	Sessions  Sessions
	// Limiter bounds what a person sends.
	Limiter *limits.Limits
	// Endpoints gives the regions that c may be served in, best first.
	Endpoints func(c auth.Claims, addr netip.Addr) []chat.Endpoint
	Now       func() time.Time
	Log       *slog.Logger
	Metrics   messages.Metrics
	Tracer    messages.Tracer
}

// Gateway serves sockets.
type Gateway struct {
	opt    Options
	marker *marker

	mu       sync.Mutex
	sessions map[*session]struct{}
	count    atomic.Int64
}

// New makes a Gateway.
func New(opt Options) *Gateway {
	g := &Gateway{opt: opt, sessions: make(map[*session]struct{})}
	g.marker = newMarker(opt)
	return g
}

// Count gives the number of sockets served.
func (g *Gateway) Count() int { return int(g.count.Load()) }

// Hello is what the edge has read and verified before a socket is served.
type Hello struct {
	Claims auth.Claims
	Frame  wire.In
	Addr   netip.Addr
	// Edge is the region where the socket ends. Through says that it ends in another node, which passes it on.
	Edge    chat.Region
	Through bool
}

// Serve serves a socket until it ends. The token was verified by the edge; whether the log-in still holds is asked here.
func (g *Gateway) Serve(ctx context.Context, conn Conn, h Hello) {
	if err := g.opt.Sessions.CheckSession(ctx, h.Claims); err != nil {
		Refuse(conn, err, "hello")
		return
	}
	if n := g.opt.Messages.Hub().Count(h.Claims.User); n >= g.opt.Limits.SocketsPerUser {
		Refuse(conn, &chat.Error{Code: chat.CodeRateLimited, Message: "too many sockets of this user", RetryAfter: 5 * time.Second}, "hello")
		return
	}
	if e := g.opt.Messages.Refusal(); e != nil {
		Refuse(conn, e, "hello")
		return
	}
	s, err := g.open(ctx, conn, h)
	if err != nil {
		Refuse(conn, err, "hello")
		return
	}
	defer g.close(s)
	s.readLoop(ctx)
}

func (g *Gateway) add(s *session) {
	g.mu.Lock()
	g.sessions[s] = struct{}{}
	g.mu.Unlock()
	g.opt.Metrics.Set("connections", float64(g.count.Add(1)))
}

func (g *Gateway) close(s *session) {
	s.end()
	g.mu.Lock()
	delete(g.sessions, s)
	g.mu.Unlock()
	g.opt.Metrics.Set("connections", float64(g.count.Add(-1)))
}

// Close ends every socket with code, asking clients to come back elsewhere.
func (g *Gateway) Close(code int, reason string) {
	g.closeAll(code, reason)
	g.marker.close()
}

// Shed ends every socket, sending clients elsewhere: this node takes nothing from people now, for the reason given.
func (g *Gateway) Shed(why *chat.Error) { g.closeAll(CloseCode(why.Code), string(why.Code)) }

func (g *Gateway) closeAll(code int, reason string) {
	g.mu.Lock()
	open := make([]*session, 0, len(g.sessions))
	for s := range g.sessions {
		open = append(open, s)
	}
	g.mu.Unlock()
	for _, s := range open {
		s.conn.Close(code, reason)
	}
}

// Run re-reads inbox logs now and then, so that a lost wake-up costs latency only; it ends with ctx.
func (g *Gateway) Run(ctx context.Context) {
	ticker := time.NewTicker(g.opt.Timing.RereadInbox)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			g.mu.Lock()
			for s := range g.sessions {
				s.Wake()
			}
			g.mu.Unlock()
		}
	}
}

// Refuse answers with a typed error and closes with the close code that belongs to it.
func Refuse(conn Conn, err error, re string) {
	e := chat.AsError(err)
	_ = conn.Write([][]byte{wire.Encode(wire.ErrorFrame{T: "error", Re: re, Error: wire.ErrorOf(e)})}) // it is closed next
	conn.Close(CloseCode(e.Code), string(e.Code))
}

// CloseCode gives the WebSocket close code for a refused connection (docs/protocol.md).
func CloseCode(c chat.Code) int {
	switch c {
	case chat.CodeUnauthorized, chat.CodeBadCredentials:
		return 4001
	case chat.CodeHelloTimeout:
		return 4002
	case chat.CodeSlowConsumer:
		return 4008
	case chat.CodeHeartbeatTimeout:
		return 4009
	case chat.CodeRateLimited:
		return 4029
	case chat.CodeWrongRegion:
		return 4307
	case chat.CodeTooLarge:
		return 1009
	case chat.CodeInvalidUTF8:
		return 1007
	case chat.CodeInternal:
		return 1011
	}
	if chat.Codes[c].Retryable {
		return 1013
	}
	return 1002
}
