package shared

import (
	"bytes"
	"encoding/gob"
	"io"
	"testing"

	"meridian/chat"
)

// oneWay gives bytes to read and takes what is written.
type oneWay struct {
	io.Reader
	io.Writer
}

// FuzzHandshake: no bytes of a stranger make the server panic, or let it in.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendHello([]byte("MSTORE\x00\x01"+string(make([]byte, nonceBytes))), hello{"eu-west", "n1", 3}))
	f.Add(append(appendHello([]byte("MSTORE\x00\x01"+string(make([]byte, nonceBytes))), hello{"eu-west", "n1", 3}), make([]byte, proofBytes)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var said bytes.Buffer
		if _, err := admit(oneWay{bytes.NewReader(b), &said}, []byte("the secret of eu-west")); err == nil {
			t.Fatal("let in")
		}
		if said.Len() > len(magic)+2+nonceBytes {
			t.Fatal("the server proved itself to a stranger")
		}
		if greet(oneWay{bytes.NewReader(b), io.Discard}, []byte("the secret of eu-west"), hello{}) == nil {
			t.Fatal("the client took a stranger for the server")
		}
	})
}

// FuzzFrames: no bytes behind the handshake make either side panic; what is no frame is an error.
func FuzzFrames(f *testing.F) {
	for _, v := range []any{
		&request{ID: 1, Call: callMessages, Limit: 10, Owner: chat.UserID{1}},
		&request{ID: 2, Call: callCommit, Batch: packBatch(&chat.Batch{Log: []chat.LogRow{{}}, HighWater: 3}, noCodec{})},
		&response{ID: 1, OK: true, Positions: map[chat.Region]uint64{"eu-west": 4}, Failed: &failure{Code: chat.CodeInvalid}},
	} {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(v); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{new(request), new(response)} {
			s := newStream(nil, nil)
			if s.decode(b, v) != nil {
				continue
			}
			if q, ok := v.(*request); ok && q.Batch != nil {
				_, _ = q.Batch.unpack(noCodec{})
			}
		}
	})
}

// noCodec is a codec of nothing.
type noCodec struct{}

func (noCodec) Append(dst []byte, _ *chat.Op) []byte { return dst }
func (noCodec) Decode([]byte) (chat.Op, error)       { return chat.Op{}, nil }
