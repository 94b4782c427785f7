package process

import (
	"bytes"
	"compress/flate"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// bombs: compression is not agreed on, whoever offers it, so a frame that says it is compressed ends the socket and nothing of
// it is inflated: here 40 MiB out of 40 KiB.
func bombs(t *testing.T, b *badInput) {
	dialer := websocket.Dialer{Subprotocols: []string{"meridian.v1.json"}, EnableCompression: true}
	conn, answer, err := dialer.Dial("ws"+strings.TrimPrefix(b.base, "http")+"/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if got := answer.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("agreed on %q", got)
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte(" "), 40<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil || packed.Len() > 1<<16-1 {
		t.Fatalf("%d bytes, error %v", packed.Len(), err)
	}
	const final, compressed, text, masked = 0x80, 0x40, 0x01, 0x80
	head := []byte{final | compressed | text, masked | 126, byte(packed.Len() >> 8), byte(packed.Len())}
	r, _ := welcomed(t, b.base, b.ada.Access, "")
	if _, err := r.conn.NetConn().Write(append(append(head, 0, 0, 0, 0), packed.Bytes()...)); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); err == nil; { // the rest of the frame may reset the connection, and take the close frame with it
		if _, err = r.next(); websocket.IsUnexpectedCloseError(err, 1002, 1006) {
			t.Errorf("ended with %v, want close code 1002", err)
		}
	}
}
