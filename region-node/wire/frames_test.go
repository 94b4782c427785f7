package wire

import (
	"testing"

	"meridian/chat"
	"meridian/replication"
)

// A message frame that is put together of an encoded message is the very frame that is encoded as a whole.
func TestMessageFrame(t *testing.T) {
	m := MessageOf(chat.MessageRow{SenderName: `a "quoted" <name>`}, replication.Viewed{Body: []byte("héllo\n\x01")})
	whole := Encode(MessageEvent{T: "message", Cursor: "AQd1cy1lYXN0", Message: m})
	if parts := Encode(MessageFrame("AQd1cy1lYXN0", Encode(m))); string(parts) != string(whole) {
		t.Errorf("%s\nis not\n%s", parts, whole)
	}
}
