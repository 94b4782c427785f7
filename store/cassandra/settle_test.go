package cassandra

import (
	"errors"
	"testing"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// answer is an error that the server gives.
type answer int

func (a answer) Code() int       { return int(a) }
func (a answer) Message() string { return "of the server" }
func (a answer) Error() string   { return a.Message() }

// A write that the server gives up is told as failed only where it gives up before it has stored anything.
func TestWhatTheServerRefuses(t *testing.T) {
	for code, want := range map[int]chat.Code{
		gocql.ErrCodeUnavailable: chat.CodeRegionDegraded, gocql.ErrCodeBootstrapping: chat.CodeRegionDegraded,
		gocql.ErrCodeOverloaded:   chat.CodeUnknownOutcome, // the batch log may hold it
		gocql.ErrCodeWriteTimeout: chat.CodeUnknownOutcome, gocql.ErrCodeWriteFailure: chat.CodeUnknownOutcome, gocql.ErrCodeServer: chat.CodeUnknownOutcome,
		gocql.ErrCodeInvalid: chat.CodeInvalid, gocql.ErrCodeUnauthorized: chat.CodeInvalid,
	} {
		if got := chat.CodeOf((&Store{}).writeError("test", answer(code))); got != want {
			t.Errorf("the server answers 0x%04x: %q, want %q", code, got, want)
		}
	}
}

// A write whose first try may have been stored is told as failed only when the server finds fault with it: that the cluster cannot be
// reached any more, as after a crash in the midst of it, says nothing of the first try.
func TestWhatIsInDoubtStaysSo(t *testing.T) {
	lost, away, fault := unknown("test", errors.New("connection closed")), degraded("test", "cannot be reached", nil), &chat.Error{Code: chat.CodeInvalid}
	for _, c := range []struct {
		name string
		outs []error
		want chat.Code
		sent int
	}{
		{"stored at once", []error{nil}, "", 1},
		{"stored at last", []error{lost, lost, nil}, "", 3},
		{"never reached", []error{away}, chat.CodeRegionDegraded, 1},
		{"lost, then not reached", []error{lost, away, away}, chat.CodeUnknownOutcome, 3},
		{"lost, not reached, then stored", []error{lost, away, nil}, "", 3},
		{"never told", []error{lost, lost, lost}, chat.CodeUnknownOutcome, 3},
		{"lost, then at fault", []error{lost, fault}, chat.CodeInvalid, 2},
	} {
		sent := 0
		err := settle("test", func() error { sent++; return c.outs[sent-1] }, func(try int) bool { return try < tries })
		if chat.CodeOf(err) != c.want || sent != c.sent {
			t.Errorf("%s: %v after %d tries, want %q after %d", c.name, err, sent, c.want, c.sent)
		}
	}
}
