package world

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"meridian/chat"
)

// Metric adds up a node's figures of one name (without the prefix meridian_) whose series holds all of labels, each as
// name="value"; false when the node does not answer.
func (w *World) Metric(ref chat.NodeRef, name string, labels ...string) (sum float64, ok bool) {
	text, err := w.Admin(ref, http.MethodGet, "/metrics")
	if err != nil {
		return 0, false
	}
	return sumOf(text, "meridian_"+name, labels), true
}

// Goroutines gives how many a node has; 0 when it does not answer.
func (w *World) Goroutines(ref chat.NodeRef) int {
	text, err := w.Admin(ref, http.MethodGet, "/metrics")
	if err != nil {
		return 0
	}
	return int(sumOf(text, "go_goroutines", nil))
}

// sumOf adds up the series of one name in the text form of Prometheus.
func sumOf(text, name string, labels []string) (sum float64) {
next:
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(strings.TrimSpace(line), name)
		if !found || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(rest, label) {
				continue next
			}
		}
		var v float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &v); err == nil {
			sum += v
		}
	}
	return sum
}

// Status is what a node says of its streams: of the admin listener's answer the part that must come to rest.
type Status struct {
	Ready    bool   `json:"ready"`
	NotReady string `json:"not_ready"`
	Streams  struct {
		To       map[chat.Region]Relay   `json:"to"`
		From     map[chat.Region]Applied `json:"from"`
		InFlight int                     `json:"in_flight"`
	} `json:"streams"`
	DeadLetters int `json:"dead_letters"`
}

// Relay is what waits for another region; Applied is what came from one.
type (
	Relay struct {
		Depth       uint64 `json:"depth"`
		OutboxBytes int64  `json:"outbox_bytes"`
	}
	Applied struct {
		AgeSeconds float64 `json:"watermark_age_seconds"`
		Queued     int     `json:"queued"`
	}
)

// Status asks a node how it stands.
func (w *World) Status(ref chat.NodeRef) (s Status, err error) {
	text, err := w.Admin(ref, http.MethodGet, "/v1/admin/status")
	if err == nil {
		err = json.Unmarshal([]byte(text), &s)
	}
	return s, err
}
