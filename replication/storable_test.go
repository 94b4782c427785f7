package replication

import (
	"strings"
	"testing"

	"meridian/chat"
	"meridian/store/embedded"
	"meridian/store/storetest"
)

// What no store can keep is refused before it is written: for each such row the embedded store would refuse the batch, and
// what passes it takes.
func TestUnstorable(t *testing.T) {
	s, err := embedded.Open(embedded.Options{Dir: t.TempDir(), Region: "eu-west", Node: "n1", Codec: storetest.JSONCodec{}, CacheBytes: 1 << 20, MemTableBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	good := chat.NewMessageID(1_790_000_000_000_000, chat.UserID{1}, chat.ClientID{1})
	random := chat.MessageID{1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10}
	for name, rows := range map[string]chat.Rows{
		"message":     {Messages: []chat.MessageRow{{ID: random}}},
		"retry":       {Retries: []chat.RetryRow{{ID: random, Stream: chat.StreamID{Region: "eu-west", Node: "n1"}, Seq: 1}}},
		"mark":        {Marks: []chat.MarkRow{{Mark: chat.Mark{UpTo: random}}}},
		"target":      {Changes: []chat.ChangeRow{{Target: random, Op: good, Kind: chat.ChangeEdit}}},
		"change's op": {Changes: []chat.ChangeRow{{Target: good, Op: random, Kind: chat.ChangeEdit}}},
		"long emoji":  {Changes: []chat.ChangeRow{{Target: good, Op: good, Kind: chat.ChangeReaction, Emoji: strings.Repeat("x", chat.MaxEmojiBytes+1)}}},
		"odd emoji":   {Changes: []chat.ChangeRow{{Target: good, Op: good, Kind: chat.ChangeDelete, Emoji: "x"}}},
		"group":       {Groups: []chat.GroupRow{{Op: random}}},
		"member":      {Members: []chat.MemberRow{{Op: random}}},
		"zone":        {GroupZones: []chat.GroupZoneRow{{Zone: chat.Zone(strings.Repeat("z", 256))}}},
	} {
		if unstorable(&chat.Op{Rows: &rows}) == "" {
			t.Errorf("%s: not refused", name)
		}
		if err := storetest.Commit(s, &chat.Batch{Rows: rows}); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("%s: the store says %v", name, err)
		}
	}
	fine := chat.Rows{
		Messages: []chat.MessageRow{{ID: good}}, Retries: []chat.RetryRow{{ID: good, Stream: chat.StreamID{Region: "eu-west", Node: "n1"}, Seq: 1}},
		Marks: []chat.MarkRow{{}, {Mark: chat.Mark{UpTo: good}}}, Groups: []chat.GroupRow{{Op: good}}, Members: []chat.MemberRow{{Op: good}},
		Changes:    []chat.ChangeRow{{Target: good, Op: good, Kind: chat.ChangeReaction, Emoji: "x"}, {Target: good, Op: good, Kind: chat.ChangeAlias}},
		GroupZones: []chat.GroupZoneRow{{Zone: "eu"}},
	}
	if detail := unstorable(&chat.Op{Rows: &fine, To: []chat.Region{"us-east"}}); detail != "" {
		t.Errorf("refused: %s", detail)
	}
	if err := storetest.Commit(s, &chat.Batch{Rows: fine}); err != nil {
		t.Error(err)
	}
	for name, op := range map[string]chat.Op{
		"destination": {To: []chat.Region{""}}, "mark": {Mark: &chat.Mark{UpTo: random}}, "change": {Change: &chat.Change{Target: random}},
	} {
		if unstorable(&op) == "" {
			t.Errorf("%s: not refused", name)
		}
	}
}
