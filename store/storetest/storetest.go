// Package storetest is the conformance suite of chat.Store: what passes it may stand behind a region node.
package storetest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"meridian/chat"
)

// Config is what a place is asked for.
type Config struct {
	Region    chat.Region
	Node      chat.NodeID
	Codec     chat.OpCodec
	Retention Retention
}

// Retention is how long things are kept; 0: for ever.
type Retention struct{ Inbox, OpLog, Retries time.Duration }

// Place is where one test's store lives. One with a method Slow() takes long to open: it is opened less often.
type Place interface {
	// Open opens the store that lives here; no other is open. What was durable before is there.
	Open() (chat.Store, error)
	// OpenNode gives the handle of another node of the store that is open.
	OpenNode(node chat.NodeID) (chat.Store, error)
	// Crash takes the power away: the store that is open here is lost with all that was not durable.
	Crash()
	// OpenCopy opens the copy that Checkpoint wrote to CopyDir.
	OpenCopy() (chat.Store, error)
	CopyDir() string
}

// Factory makes an empty place for one test, which cleans it up when it ends.
type Factory func(t testing.TB, cfg Config) Place

// DefaultConfig is what most tests ask for: region eu-west, node n1, nothing expires.
func DefaultConfig() Config {
	return Config{Region: "eu-west", Node: "n1", Codec: JSONCodec{}}
}

// Run runs the suite.
func Run(t *testing.T, f Factory) {
	tests := []struct {
		name string
		test func(*testing.T, Factory)
	}{
		{"Messages", testMessages},
		{"MessageOrder", testMessageOrder},
		{"Inbox", testInbox},
		{"Retries", testRetries},
		{"Marks", testMarks},
		{"Conversations", testConversations},
		{"Activities", testActivities},
		{"Contacts", testContacts},
		{"Blocks", testBlocks},
		{"Changes", testChanges},
		{"Groups", testGroups},
		{"Members", testMembers},
		{"Owners", testOwners},
		{"Sharing", testSharing},
		{"Leases", testLeases},
		{"LeaseGivenUp", testLeaseGivenUp},
		{"LeasesSurvive", testLeasesSurvive},
		{"Parked", testParked},
		{"ForeignLogs", testForeignLogs},
		{"SweepLogs", testSweepLogs},
		{"Accounts", func(t *testing.T, f Factory) { RunAccounts(t, accountsOf(f)) }},
		{"Log", testLog},
		{"LongLogs", testLongLogs},
		{"Streams", testStreams},
		{"Refusals", testRefusals},
		{"Identity", testIdentity},
		{"Directory", testDirectory},
		{"Claims", testClaims},
		{"ManyClaimants", testManyClaimants},
		{"Keys", testKeys},
		{"Malformed", testMalformed},
		{"Empty", testEmpty},
		{"CallbackOrder", testCallbackOrder},
		{"OrderIndependence", testOrderIndependence},
		{"Reopen", testReopen},
		{"Crash", testCrash},
		{"Sweep", testSweep},
		{"Checkpoint", testCheckpoint},
		{"Closed", testClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, f) })
	}
}

// JSONCodec encodes ops as JSON, for tests.
type JSONCodec struct{}

// Append implements chat.OpCodec.
func (JSONCodec) Append(dst []byte, op *chat.Op) []byte {
	b, err := json.Marshal(op)
	if err != nil {
		panic(err) // an op has only fields that JSON knows
	}
	return append(dst, b...)
}

// Decode implements chat.OpCodec.
func (JSONCodec) Decode(b []byte) (op chat.Op, err error) {
	if err := json.Unmarshal(b, &op); err != nil {
		return op, &chat.Error{Code: chat.CodeInvalid, Op: "storetest.Decode", Message: "not an op", Cause: err}
	}
	return op, nil
}

// Commit commits b and waits until it is done.
func Commit(s chat.Store, b *chat.Batch) error {
	done := make(chan error, 1)
	s.Commit(b, func(err error) { done <- err })
	return <-done
}

var ctx = context.Background()

func openStore(t testing.TB, p Place) chat.Store {
	t.Helper()
	s, err := p.Open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func fresh(t testing.TB, f Factory) chat.Store {
	t.Helper()
	return openStore(t, f(t, DefaultConfig()))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// got unwraps a call's answer.
func got[T any](t testing.TB) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func wantCode(t testing.TB, err error, code chat.Code) {
	t.Helper()
	if chat.CodeOf(err) != code {
		t.Fatalf("error is %v, want code %s", err, code)
	}
}
