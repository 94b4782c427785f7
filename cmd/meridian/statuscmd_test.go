package main

import (
	"bytes"
	"strings"
	"testing"

	"meridian/chat"
	regionnode "meridian/region-node"
	"meridian/region-node/messages"
)

// Status tells when a region is owed much, or for long, the worst first, and how much of the budget each link has in use.
func TestStatusTellsOfOutboxes(t *testing.T) {
	state := func(to messages.RelayStatus) []regionState {
		return []regionState{{Region: "us-east", Running: true, Status: &regionnode.Status{
			Ready: true, Peers: map[chat.Region]regionnode.Peer{"eu-west": {Up: true}},
			Streams: messages.Status{To: map[chat.Region]messages.RelayStatus{"eu-west": to}},
		}}}
	}
	for _, c := range []struct {
		to   messages.RelayStatus
		want []string
	}{
		{messages.RelayStatus{OutboxRatio: 0.69}, nil},
		{messages.RelayStatus{OutboxRatio: 0.71, OutboxBytes: 710}, []string{"us-east owes eu-west 710 bytes, 71 % of limits.outbox_bytes: who writes to its people is slowed"}},
		{messages.RelayStatus{OutboxRatio: 0.95, OutboxBytes: 950, OldestSeconds: 86400, Expiring: true}, []string{"95 % of limits.outbox_bytes: who writes to its people is refused", "ops that are 24h0m0s old; retention.op_log is nearly over"}},
	} {
		problems := findProblems(state(c.to))
		if len(problems) != len(c.want) {
			t.Errorf("%+v: problems %+v", c.to, problems)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(problems[i].Text, want) {
				t.Errorf("problem %q, want %q", problems[i].Text, want)
			}
		}
	}
	var out bytes.Buffer
	statusReport{Regions: state(messages.RelayStatus{OutboxRatio: 0.42})}.print(&out)
	if !strings.Contains(out.String(), "eu-west 0/0/0.0s/42%") {
		t.Errorf("printed %s", out.String())
	}
}
