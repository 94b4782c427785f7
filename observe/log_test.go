package observe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"

	"meridian/chat"
	"meridian/observe"
)

const (
	canary   = "canary-4711"
	canaryID = "6f1c0a52-9d1e-4c1b-8a55-0f6f2a9b7c01"
)

// No log line carries a text, a name, an id or a client's full address, whatever is handed to the logger.
func TestLogRedacts(t *testing.T) {
	id, err := chat.ParseUUID(canaryID)
	if err != nil {
		t.Fatal(err)
	}
	op := chat.Op{Author: chat.Owner{ID: chat.UserID(id), Name: canary}, Body: []byte(canary)}
	for _, format := range []string{"text", "json"} {
		var b bytes.Buffer
		log := observe.NewLogger(&b, observe.Telemetry{LogLevel: "debug", LogFormat: format})
		log.Debug("all of it",
			"text", canary, "Body", canary, "username", canary, "password", canary, "token", canary,
			"op", op, "op_pointer", &op, "row", chat.MessageRow{Body: []byte(canary)}, "bytes", []byte(canary), "account", chat.Account{Username: canary},
			"user", chat.UserID(id), "message", chat.MessageID(id), "path", "/v1/conversations/"+canaryID,
			"err", errors.New("no conversation "+strings.ToUpper(canaryID)),
			"client", "203.0.113.77:5000", "addr", netip.MustParseAddr("2001:db8:1:2::77"), "remote_addr", "nonsense 203.0.113.77",
			"region", chat.Region("eu-west"), "listen", "127.0.0.1:8101")
		log.WithGroup("deep").With("text", canary, "user", chat.UserID(id)).Info("in a group")
		line := b.String()
		for _, leak := range []string{canary, canaryID, strings.ToUpper(canaryID), "203.0.113.77", "::77", "Y2FuYXJ5"} {
			if strings.Contains(line, leak) {
				t.Errorf("%s: %q is in the log:\n%s", format, leak, line)
			}
		}
		for _, kept := range []string{"203.0.113.0/24", "2001:db8:1::/48", "eu-west", "127.0.0.1:8101", "[redacted]", "[chat.Op]"} {
			if !strings.Contains(line, kept) {
				t.Errorf("%s: %q is not in the log:\n%s", format, kept, line)
			}
		}
	}
}

// The same id looks the same in one logger, so that lines about one person can be found together.
func TestLogHashesIdsAlike(t *testing.T) {
	id, err := chat.ParseUUID(canaryID)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	log := observe.NewLogger(&b, observe.Telemetry{LogFormat: "json"})
	log.Info("a", "user", chat.UserID(id))
	log.Info("a", "user", canaryID)
	var users []string
	for line := range strings.Lines(b.String()) {
		var entry struct{ User string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		users = append(users, entry.User)
	}
	if len(users) != 2 || users[0] != users[1] || !strings.HasPrefix(users[0], "#") {
		t.Errorf("users = %q, want the same hash twice", users)
	}
}

// Lines below the level are not written.
func TestLogLevel(t *testing.T) {
	for level, want := range map[string]int{"debug": 4, "info": 3, "warn": 2, "error": 1, "": 3} {
		var b bytes.Buffer
		log := observe.NewLogger(&b, observe.Telemetry{LogLevel: level})
		log.Debug("x")
		log.Info("x")
		log.Warn("x")
		log.Error("x")
		if got := strings.Count(b.String(), "\n"); got != want {
			t.Errorf("level %q writes %d lines, want %d", level, got, want)
		}
	}
}

// One message's spans, made in two regions, form one trace by the context that the op carries, and hold only attributes
// that are allowed.
func TestTraceAcrossRegions(t *testing.T) {
	dir := t.TempDir()
	telemetry := observe.Telemetry{Traces: "file:" + filepath.Join(dir, "{region}.jsonl")}
	log := observe.NewLogger(&bytes.Buffer{}, telemetry)
	here, err := observe.NewTracer(telemetry, "us-east", log)
	if err != nil {
		t.Fatal(err)
	}
	there, err := observe.NewTracer(telemetry, "eu-west", log)
	if err != nil {
		t.Fatal(err)
	}
	parent, end := here.Start("", "publish conversation", "meridian.zone", "world", "text", canary, "meridian.reason", "about "+canaryID, "odd")
	_, endThere := there.Start(parent, "process relay.eu-west")
	endThere(&chat.Error{Code: chat.CodeDenied, Message: canary})
	end(nil)
	_, endBad := here.Start("", "publish "+canaryID)
	endBad(nil)
	for _, tracer := range []*observe.Tracer{here, there} {
		if err := tracer.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	first, second := spans(t, filepath.Join(dir, "us-east.jsonl")), spans(t, filepath.Join(dir, "eu-west.jsonl"))
	if len(first) != 2 || len(second) != 1 {
		t.Fatalf("%d and %d spans, want 2 and 1", len(first), len(second))
	}
	if first[0]["trace"] != second[0]["trace"] || second[0]["parent"] != first[0]["span"] || second[0]["region"] != "eu-west" {
		t.Errorf("the spans do not form one trace:\n%v\n%v", first[0], second[0])
	}
	if attributes, ok := second[0]["attributes"].(map[string]any); !ok || attributes["meridian.code"] != "denied" || second[0]["failed"] != true {
		t.Errorf("the failed span is %v", second[0])
	}
	if attributes, ok := first[0]["attributes"].(map[string]any); !ok || attributes["meridian.zone"] != "world" || len(attributes) != 2 {
		t.Errorf("attributes = %v", first[0]["attributes"])
	}
}

func spans(t *testing.T, file string) []map[string]any {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), canary) || strings.Contains(string(b), canaryID) {
		t.Errorf("a span leaks:\n%s", b)
	}
	var list []map[string]any
	for line := range strings.Lines(string(b)) {
		var span map[string]any
		if err := json.Unmarshal([]byte(line), &span); err != nil {
			t.Fatal(err)
		}
		list = append(list, span)
	}
	return list
}

// Spans of libraries go the same way: into the log, with what is not allowed left out.
func TestTraceToLog(t *testing.T) {
	var b bytes.Buffer
	telemetry := observe.Telemetry{Traces: "log"}
	tracer, err := observe.NewTracer(telemetry, "eu-west", observe.NewLogger(&b, telemetry))
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Provider().Tracer("library").Start(context.Background(), "get")
	span.SetAttributes(attribute.String("db.statement", canary), attribute.String("db.operation.name", "get"))
	span.RecordError(errors.New(canary))
	span.End()
	if err := tracer.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if line := b.String(); !strings.Contains(line, "db.operation.name=get") || strings.Contains(line, canary) {
		t.Errorf("log = %s", line)
	}
}

// A tracer that is off makes nothing and hands the context on; a nil one too.
func TestTraceOff(t *testing.T) {
	off, err := observe.NewTracer(observe.Telemetry{Traces: "off"}, "eu-west", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tracer := range []*observe.Tracer{off, nil} {
		child, end := tracer.Start("00-parent", "get")
		end(errors.New("x"))
		if child != "00-parent" || tracer.Provider() == nil || tracer.Close(context.Background()) != nil {
			t.Errorf("Start gave %q, want the parent", child)
		}
	}
	if _, err := observe.NewTracer(observe.Telemetry{Traces: "file:" + t.TempDir()}, "eu-west", nil); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("a directory as trace file: %v", err)
	}
	if got := observe.TraceParent(observe.WithTraceParent(context.Background(), "nonsense")); got != "" {
		t.Errorf("a malformed parent became %q", got)
	}
}
