package meridian

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// subprotocol names the JSON frames.
const subprotocol = "meridian.v1.json"

const (
	// frameMax bounds a frame of the server, in bytes.
	frameMax = 1 << 20
	// framesAhead is how many frames are read before they are handled.
	framesAhead = 64
)

// link is one socket: a goroutine reads, the goroutine of Run writes.
type link struct {
	conn   *websocket.Conn
	frames chan inFrame
	done   chan struct{}
	err    error // why frames was closed
}

// linkEnd says why a link ended. stay: the region is not to blame, so it may be the next one too.
type linkEnd struct {
	err  error
	stay bool
	// silent: the region could not be reached, or went without a word.
	silent bool
}

// dial opens the socket of an endpoint.
func (c *Client) dial(ctx context.Context, ep Endpoint) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	dialer := websocket.Dialer{
		NetDialContext: c.opt.Dial, Subprotocols: []string{subprotocol},
		HandshakeTimeout: connectTimeout, ReadBufferSize: 4096, WriteBufferSize: 4096,
	}
	conn, answer, err := dialer.DialContext(ctx, socketURL(ep.URL), c.opt.Header)
	if err != nil {
		if answer != nil && answer.StatusCode != http.StatusSwitchingProtocols {
			body, _ := io.ReadAll(io.LimitReader(answer.Body, 4096)) // what could be read may be an error in JSON
			return nil, refusal(answer, body)
		}
		return nil, &Error{Code: CodeUnreachable, Retryable: true, Cause: err}
	}
	if conn.Subprotocol() != subprotocol {
		_ = conn.Close()
		return nil, &Error{Code: CodeProtocol, Message: "the server does not speak " + subprotocol}
	}
	conn.SetReadLimit(frameMax)
	l := &link{conn: conn, frames: make(chan inFrame, framesAhead), done: make(chan struct{})}
	go l.read()
	return l, nil
}

func (l *link) read() {
	defer close(l.frames)
	for {
		kind, data, err := l.conn.ReadMessage()
		if err != nil {
			l.err = err
			return
		}
		var f inFrame
		if kind != websocket.TextMessage || json.Unmarshal(data, &f) != nil {
			l.err = &Error{Code: CodeProtocol, Message: "the server sent what is no frame"}
			return
		}
		select {
		case l.frames <- f:
		case <-l.done:
			return
		}
	}
}

// write sends one frame; a link that takes none for deadAfter is dead.
func (l *link) write(frame any) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(deadAfter)); err != nil {
		return err
	}
	return l.conn.WriteJSON(frame)
}

// close ends the link; with a code the server is told.
func (l *link) close(code int) {
	close(l.done)
	if code != 0 {
		message := websocket.FormatCloseMessage(code, "")
		_ = l.conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(time.Second)) // it is closed next
	}
	_ = l.conn.Close()
	for range l.frames { // until the reader has gone
	}
}

// endOf judges the error of a read or write. said is the last error frame before it, which knows more than the close code.
func endOf(err error, said *Error) linkEnd {
	var closed *websocket.CloseError
	code := 0
	if errors.As(err, &closed) {
		code = closed.Code
	}
	end := linkEnd{err: err}
	switch code {
	case 4001:
		end.err = &Error{Code: CodeUnauthorized, Message: closed.Text, Cause: err}
		end.stay = true
	case 4002, 4008, 4009, websocket.CloseNormalClosure:
		end.stay = true
	case 4029:
		end.err = &Error{Code: CodeRateLimited, Retryable: true, Message: closed.Text, Cause: err}
		end.stay = true
	}
	if code != 0 && said != nil {
		end.err = said
	}
	var e *Error
	if !errors.As(end.err, &e) {
		end.err = &Error{Code: CodeUnreachable, Retryable: true, Message: "the link ended", Cause: err}
		end.silent = code == 0 || code == websocket.CloseAbnormalClosure
	}
	return end
}
