package cassandra

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// Every statement goes by a majority of the region's own replicas: no other consistency is named anywhere, and no statement is made that does not
// pass the one place that says so.
func TestOneConsistency(t *testing.T) {
	if consistency != gocql.LocalQuorum || serialConsistency != gocql.LocalSerial {
		t.Errorf("the consistency is %v, of conditional statements %v", consistency, serialConsistency)
	}
	s := new(gocql.Session)
	if q := durable(s.Query("x")); q.GetConsistency() != gocql.LocalQuorum {
		t.Errorf("a statement goes by %v", q.GetConsistency())
	}
	if b := durableBatch(s.NewBatch(gocql.LoggedBatch)); b.GetConsistency() != gocql.LocalQuorum || b.Type != gocql.LoggedBatch {
		t.Errorf("a batch goes by %v", b.GetConsistency())
	}
	if c := cluster(Options{}, ""); c.Consistency != gocql.LocalQuorum || c.SerialConsistency != gocql.LocalSerial || c.DefaultTimestamp {
		t.Errorf("a session goes by %v and %v; it stamps by its own clock: %v", c.Consistency, c.SerialConsistency, c.DefaultTimestamp)
	}
	named := regexp.MustCompile(`gocql\.(Any|One|Two|Three|Quorum|All|LocalQuorum|EachQuorum|LocalOne|Serial|LocalSerial|UnloggedBatch|CounterBatch)\b`)
	made := regexp.MustCompile(`\w+\.(Query|NewBatch|Batch)\(`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(source), "\n") {
			if name := named.FindString(line); name != "" && file != "consistency.go" {
				t.Errorf("%s:%d names %s", file, i+1, name)
			}
			// b.Query adds to a batch that is made by durableBatch.
			if call := made.FindString(line); call != "" && call != "b.Query(" && !strings.Contains(line, "durable(") && !strings.Contains(line, "durableBatch(") {
				t.Errorf("%s:%d makes a statement beside durable: %s", file, i+1, strings.TrimSpace(line))
			}
		}
	}
}

// A commit log is taken that syncs before it answers, each write at once or those of a short window together; everything else is refused by what
// to change.
func TestCommitLogs(t *testing.T) {
	for _, c := range []struct {
		settings settings
		says     string
	}{
		{settings{sync: "batch"}, ""},
		{settings{sync: "batch", window: "null"}, ""},
		{settings{sync: "group", window: "1ms"}, ""},
		{settings{sync: "group", window: maxGroupWindow.String()}, ""},
		{settings{sync: "group", window: "1000ms"}, "commitlog_sync_group_window: 1ms"},
		{settings{sync: "group", window: ""}, "commitlog_sync_group_window: 1ms"},
		{settings{sync: "periodic", window: "1ms"}, "set commitlog_sync: batch"},
		{settings{}, "set commitlog_sync: batch"},
	} {
		err := c.settings.check("10.0.0.1")
		if c.says == "" && err != nil || c.says != "" && (chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%+v: %v", c.settings, err)
		}
	}
	for text, want := range map[string]int{"50KiB": 50 << 10, "1MiB": 1 << 20, "2GiB": 2 << 30, "700B": 700, "": minBatchBytes, "x": minBatchBytes, "-1KiB": minBatchBytes} {
		if have := bytesOf(text); have != want {
			t.Errorf("%q is %d bytes, not %d", text, have, want)
		}
	}
}
