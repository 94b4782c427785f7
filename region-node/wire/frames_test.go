package wire

import (
	"encoding/json"
	"reflect"
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

// FuzzParseIn: no bytes of a client make the reading of its frame panic; every error has its code, and a frame that was read is
// read alike after it was written again.
func FuzzParseIn(f *testing.F) {
	for _, frame := range []string{
		`{"t":"ping"}`, `{"t":"hello","token":"x","device":"d","resume":"AQ","as":"1.2.3.4"}`,
		`{"t":"send","client_id":"c","after":"a","seen":"s","to":{"user":"u","conversation":"c"},"body":{"text":"\u00e9"},"reply_to":"r"}`,
		`{"t":"react","client_id":"c","conversation_id":"v","message_id":"m","emoji":"+1","on":true}`, `{"T":"x","t":5}`, `{"t":"x"}{}`, `[]`,
	} {
		f.Add([]byte(frame))
	}
	const limit = 1 << 10
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := ParseIn(b, limit)
		if err != nil {
			switch chat.CodeOf(err) {
			case chat.CodeTooLarge, chat.CodeInvalidUTF8, chat.CodeBadFrame, chat.CodeInvalid:
				return
			}
			t.Fatalf("error %v", err)
		}
		if in.T == "" || len(b) > limit {
			t.Fatalf("taken: %+v of %d bytes", in, len(b))
		}
		again, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := ParseIn(again, len(again)); err != nil || !reflect.DeepEqual(in, second) {
			t.Fatalf("read %+v, then %+v (%v)", in, second, err)
		}
	})
}
