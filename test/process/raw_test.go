package process

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// raw is a socket that keeps no rule of the protocol but those a test wants.
type raw struct {
	t    *testing.T
	conn *websocket.Conn
}

// rawFrame is what a test looks at in a server's frame.
type rawFrame struct {
	T            string          `json:"t"`
	Code         string          `json:"code"`
	Re           string          `json:"re"`
	Retryable    bool            `json:"retryable"`
	RetryAfterMs int64           `json:"retry_after_ms"`
	ClientID     string          `json:"client_id"`
	MessageID    string          `json:"message_id"`
	Cursor       string          `json:"cursor"`
	Message      json.RawMessage `json:"message"`
}

// rawLimit bounds every wait for a frame.
const rawLimit = 30 * time.Second

// dialRaw opens a socket and sends nothing.
func dialRaw(t *testing.T, base string) *raw {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"meridian.v1.json"}, HandshakeTimeout: rawLimit}
	conn, _, err := dialer.Dial("ws"+strings.TrimPrefix(base, "http")+"/v1/ws", nil)
	if err != nil {
		t.Fatalf("dial %s: %v", base, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &raw{t: t, conn: conn}
}

// welcomed opens a socket and says hello.
func welcomed(t *testing.T, base, token, resume string) (*raw, rawFrame) {
	t.Helper()
	r := dialRaw(t, base)
	r.write(map[string]string{"t": "hello", "token": token, "device": "raw", "resume": resume})
	return r, r.want("welcome")
}

func (r *raw) write(frame any) {
	r.t.Helper()
	if err := r.conn.WriteJSON(frame); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

func (r *raw) text(kind int, data string) {
	r.t.Helper()
	if err := r.conn.WriteMessage(kind, []byte(data)); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

// deaf lets the system take little for who does not read; else what fits there depends on the machine.
func (r *raw) deaf(t *testing.T) {
	t.Helper()
	if err := r.conn.NetConn().(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
}

// alive lets the socket be heard until stop is called, whatever else takes long; nobody else may write to it meanwhile.
func (r *raw) alive() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var pings sync.WaitGroup
	pings.Go(func() {
		tick := time.NewTicker(badHeartbeat / 4)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// Once it is cut off nobody hears it.
			_ = r.conn.SetWriteDeadline(time.Now().Add(rawLimit))
			_ = r.conn.WriteMessage(websocket.TextMessage, []byte(`{"t":"ping"}`))
		}
	})
	return func() { cancel(); pings.Wait() }
}

// next reads one frame; the error ends the socket.
func (r *raw) next() (f rawFrame, err error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(rawLimit)); err != nil {
		return f, err
	}
	err = r.conn.ReadJSON(&f)
	return f, err
}

// want reads on to a frame of type t.
func (r *raw) want(t string) rawFrame {
	r.t.Helper()
	for {
		f, err := r.next()
		if err != nil {
			r.t.Fatalf("no %q frame: %v", t, err)
		}
		if f.T == t {
			return f
		}
		if f.T == "error" {
			r.t.Fatalf("an error instead of %q: %+v", t, f)
		}
	}
}

// outcome reads on to an error frame or the end, and to the end where ends is true. It gives the code of the error and of the close.
func (r *raw) outcome(ends bool) (code string, closeCode int) {
	r.t.Helper()
	for {
		f, err := r.next()
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed):
			return code, closed.Code
		case err != nil:
			r.t.Errorf("the socket ended without a word: %v", err)
			return code, 0
		case f.T == "error":
			code = f.Code
			if !ends {
				return code, 0
			}
		}
	}
}
