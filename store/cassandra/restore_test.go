package cassandra_test

import (
	"slices"
	"testing"

	"meridian/chat"
	"meridian/deploy/local/localtest"
	"meridian/store/cassandra"
	"meridian/store/storetest"
)

// After an import the positions in other regions' op logs are those of the backup's beginning, and go on from there; a keyspace that holds nothing, or
// another region, is refused.
func TestRestored(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Cassandra: left out of -short")
	}
	const restored = "meridian_restored"
	c, cfg := localtest.Cassandra(t, localtest.Kind{}), storetest.DefaultConfig()
	migrate(t, c, restored)
	schema := func(cfg storetest.Config) *cassandra.Schema {
		s, err := cassandra.NewSchema(options(t, c, cfg, restored, true), 1)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if table, err := schema(cfg).Occupied(ctx); table != "" || err != nil {
		t.Fatalf("a new keyspace has rows in %q, error %v", table, err)
	}
	if code := chat.CodeOf(schema(cfg).Restored(ctx, nil)); code != chat.CodeInvalid {
		t.Errorf("an empty keyspace: %q", code)
	}
	s, err := opened(options(t, c, cfg, restored, false))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	row := func(seq uint64) chat.AppliedRow {
		return chat.AppliedRow{Stream: chat.StreamID{Region: "ap-south", Node: "n1", Incarnation: 1}, Seq: seq, Watermark: chat.HLC(100 * seq)}
	}
	apply := func(seq uint64) {
		if err := storetest.Commit(s, &chat.Batch{Applied: []chat.AppliedRow{row(seq)}}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(seq uint64) {
		t.Helper()
		if have, err := s.Applied(ctx); err != nil || !slices.Equal(have, []chat.AppliedRow{row(seq)}) {
			t.Errorf("applied is %v, want sequence %d, error %v", have, seq, err)
		}
	}
	apply(10)
	if table, err := schema(cfg).Occupied(ctx); table == "" || err != nil {
		t.Errorf("a keyspace in use has no rows, error %v", err)
	}
	if err := schema(cfg).Restored(ctx, []chat.AppliedRow{row(5)}); err != nil {
		t.Fatal(err)
	}
	check(5)
	apply(7)
	check(7)
	cfg.Region = "us-east"
	if code := chat.CodeOf(schema(cfg).Restored(ctx, nil)); code != chat.CodeInvalid {
		t.Errorf("another region's keyspace: %q", code)
	}
}
