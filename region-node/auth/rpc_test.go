package auth

import (
	"bytes"
	"testing"

	"meridian/chat"
	"meridian/replication/claim"
)

// Whatever a region sends as a claim is refused with CodeInvalid, or means one claim that has these bytes and no others; a
// method takes it or refuses it, without harm.
func FuzzDecodeClaim(f *testing.F) {
	whole := encodeClaim(chat.Claim{Key: chat.ClaimKey{1}, Blinded: [16]byte{2}, Zone: "world", Bucket: 3, Attempt: chat.UUID{4}, Pending: true, Version: 5})
	f.Add(whole)
	f.Add(whole[:claimFixedBytes])
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeClaim(b)
		if err != nil {
			if chat.CodeOf(err) != chat.CodeInvalid || c != (chat.Claim{}) {
				t.Fatalf("refused as %v with %+v", err, c)
			}
		} else if again := encodeClaim(c); !bytes.Equal(again, b) {
			t.Fatalf("%x means a claim that is written %x", b, again)
		}
		for kind, method := range methods {
			a, err := decodeAsk(method, b)
			if err != nil {
				if chat.CodeOf(err) != chat.CodeInvalid {
					t.Fatalf("%s: %v", method, err)
				}
				continue
			}
			if name, payload := encodeAsk(a); a.Kind != kind || name != method || !bytes.Equal(payload, b) {
				t.Fatalf("%s %x means a question that is written %s %x", method, b, name, payload)
			}
		}
	})
}

// Each question of the core has a method of its own.
func TestEveryQuestionHasAMethod(t *testing.T) {
	seen := map[string]bool{}
	for kind := claim.AskReserve; kind <= claim.AskConfirm; kind++ {
		method := methods[kind]
		if method == "" || seen[method] {
			t.Errorf("question %d has the method %q", kind, method)
		}
		seen[method] = true
	}
}
