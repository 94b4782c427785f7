package gateway

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// closed is a connection that notes how it was closed.
type closed struct{ code int }

func (*closed) Read() ([]byte, error)      { return nil, nil }
func (*closed) Write([][]byte) error       { return nil }
func (c *closed) Close(code int, _ string) { c.code = code }

// counted notes what was counted.
type counted struct{ names []string }

func (c *counted) Count(name string, labels ...string) {
	c.names = append(c.names, name+" "+strings.Join(labels, " "))
}
func (*counted) Observe(string, float64, ...string) {}
func (*counted) Set(string, float64, ...string)     {}

// A defect in the work for one socket ends that socket with 1011, is counted and logged, and does not end the process.
func TestDefectEndsOneSocket(t *testing.T) {
	conn, metrics, log := &closed{}, &counted{}, &bytes.Buffer{}
	s := &session{conn: conn, log: slog.New(slog.NewTextHandler(log, nil)), g: &Gateway{opt: Options{Metrics: metrics}}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.dirty = true
		s.write() // there is nothing behind this session: its pump panics
	}()
	<-done
	if conn.code != 1011 || strings.Join(metrics.names, ",") != "defects_total panic" || !strings.Contains(log.String(), "contain") {
		t.Errorf("closed with %d, counted %v, log %s", conn.code, metrics.names, log)
	}
}
