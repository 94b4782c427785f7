package link

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/gorilla/websocket"
)

// End says why a connection ended. It is the label of MetricClosed and the text of the WebSocket close frame.
type End string

// The reasons.
const (
	EndClosed       End = "closed"        // this side closed
	EndPeerClosed   End = "peer_closed"   // the other side closed
	EndLost         End = "lost"          // the connection broke
	EndDead         End = "dead"          // nothing was heard for Options.DeadAfter
	EndStalled      End = "stalled"       // the other side did not read for a long time
	EndReplaced     End = "replaced"      // the same region connected anew
	EndMalformed    End = "malformed"     // bytes that are no frame, or a frame out of place
	EndTooLarge     End = "too_large"     // a message above MaxFrameBytes
	EndUnknownFrame End = "unknown_frame" // a frame that the agreed version does not have
	EndCredit       End = "credit"        // more stream data than was allowed
	EndOverflow     End = "overflow"      // the other side makes this one queue too many answers
	EndVersion      End = "version"       // no protocol version in common
	EndIdentity     End = "identity"      // the hello names another region than the certificate
)

// closeCode is the WebSocket close code; 0 for ends without a close frame.
func (e End) closeCode() int {
	switch e {
	case EndClosed:
		return websocket.CloseGoingAway
	case EndTooLarge:
		return websocket.CloseMessageTooBig
	case EndReplaced:
		return 4000
	case EndMalformed:
		return 4001
	case EndUnknownFrame:
		return 4002
	case EndCredit:
		return 4003
	case EndOverflow:
		return 4004
	case EndVersion:
		return 4005
	case EndIdentity:
		return 4006
	default:
		return 0
	}
}

// endError ends a connection for a known reason.
type endError struct {
	end End
	err error
}

func (e *endError) Error() string {
	if e.err == nil {
		return string(e.end)
	}
	return string(e.end) + ": " + e.err.Error()
}

func (e *endError) Unwrap() error { return e.err }

// readEnd says what an error of the reading side means.
func readEnd(err error) *endError {
	var known *endError
	var closed *websocket.CloseError
	var network net.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.Canceled): // the mesh closed
		return &endError{end: EndClosed, err: err}
	case errors.Is(err, websocket.ErrReadLimit):
		return &endError{end: EndTooLarge, err: err}
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
		return &endError{end: EndPeerClosed, err: err}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return &endError{end: EndDead, err: err}
	case strings.HasPrefix(err.Error(), "websocket: ") && closed == nil: // gorilla has no type for a breach of RFC 6455
		return &endError{end: EndMalformed, err: err}
	default:
		return &endError{end: EndLost, err: err}
	}
}
