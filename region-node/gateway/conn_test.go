package gateway

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A client that breaks the protocol while much is written to it gets whole frames, then the close code that says so: the
// library sends that from the reading goroutine, whatever another one is writing.
func TestProtocolErrorAmidWrites(t *testing.T) {
	frame := []byte(`{"t":"` + strings.Repeat("x", 500) + `"}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := Upgrade(w, r, 1<<16, Timeouts{Idle: 10 * time.Second, Write: 10 * time.Second}, nil)
		if err != nil {
			t.Error(err)
			return
		}
		written := make(chan struct{})
		go func() {
			defer close(written)
			for s.Write([][]byte{frame, frame, frame, frame}) == nil {
			}
		}()
		if data, err := s.Read(); err == nil {
			t.Errorf("read %q", data)
		}
		<-written
		s.Close(0, "")
	}))
	defer server.Close()
	for range 100 {
		ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			_, data, err := ws.ReadMessage()
			if closed := (*websocket.CloseError)(nil); errors.As(err, &closed) {
				if closed.Code != websocket.CloseProtocolError {
					t.Errorf("closed with %d %s", closed.Code, closed.Text)
				}
				break
			}
			if err != nil {
				t.Errorf("after %d frames: %v", n, err)
				break
			}
			if !bytes.Equal(data, frame) {
				t.Fatalf("frame %d is %q", n, data)
			}
			if n == 0 {
				if _, err := ws.NetConn().Write([]byte{0xff, 0x80, 1, 2, 3, 4}); err != nil { // reserved bits, an unknown opcode
					t.Fatal(err)
				}
			}
		}
		_ = ws.Close()
	}
}
