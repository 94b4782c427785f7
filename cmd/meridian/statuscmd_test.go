package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/front"
	regionnode "meridian/region-node"
	"meridian/region-node/edge"
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

// Status shows what every node of a region runs and how busy it is, and tells of a node that is down and of a service that nobody
// gives people now; a region that is not ready tells only that.
func TestStatusTellsOfServices(t *testing.T) {
	word := func(taking bool, services ...chat.Service) edge.Word {
		return edge.Word{Services: services, Taking: taking, Load: map[chat.Service]int{chat.ServiceChat: 12}}
	}
	state := func(gone []chat.NodeID, words map[chat.NodeID]edge.Word) []regionState {
		return []regionState{{Region: "us-east", Running: true, Gone: gone, Status: &regionnode.Status{Ready: true, Services: words}}}
	}
	for name, c := range map[string]struct {
		gone  []chat.NodeID
		words map[chat.NodeID]edge.Word
		want  []string
	}{
		"well":    {nil, map[chat.NodeID]edge.Word{"n1": word(true, "auth"), "n2": word(true, "chat", "messages")}, nil},
		"no auth": {[]chat.NodeID{"n1"}, map[chat.NodeID]edge.Word{"n2": word(true, "chat", "messages")}, []string{"no node of region us-east serves auth", "node n1 of region us-east is down"}},
		"away":    {nil, map[chat.NodeID]edge.Word{"n1": word(true, "auth", "messages"), "n2": word(false, "chat")}, []string{"no node of region us-east serves chat"}},
		"nobody":  {nil, map[chat.NodeID]edge.Word{"n1": word(false, "auth", "chat", "messages")}, nil},
	} {
		var texts []string
		for _, p := range findProblems(state(c.gone, c.words)) {
			texts = append(texts, p.Text)
		}
		if !slices.Equal(texts, c.want) {
			t.Errorf("%s: %q, want %q", name, texts, c.want)
		}
	}
	var out bytes.Buffer
	statusReport{Regions: state([]chat.NodeID{"n3"}, map[chat.NodeID]edge.Word{"n1": word(false, "auth"), "n2": word(true, "messages", "chat")})}.print(&out)
	for _, want := range []string{"us-east/n1       away     auth 0\n", "us-east/n2       serving  chat 12, messages 0\n", "us-east/n3       DEAD"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// Status tells when a region's Redis is lost, and nothing of one that answers or is not there.
func TestStatusTellsOfRedis(t *testing.T) {
	for want, shared := range map[int]*regionnode.SharedStatus{0: {Up: true}, 1: {Error: "connection refused"}} {
		problems := findProblems([]regionState{{Region: "eu-west", Running: true, Status: &regionnode.Status{Ready: true, Redis: shared}}})
		if len(problems) != want || want == 1 && (!strings.Contains(problems[0].Text, "the Redis of eu-west is lost") || !strings.Contains(problems[0].Text, "connection refused")) {
			t.Errorf("%+v: problems %+v", *shared, problems)
		}
	}
}

// Status tells of each name the certificate that is worst off among a region's nodes: when it ends, the nearer the higher, why there is none,
// and why a new one cannot be used.
func TestStatusTellsOfCertificates(t *testing.T) {
	now := time.Now()
	cert := func(left time.Duration) front.Certificate {
		return front.Certificate{Name: "chat.test", Begins: now.Add(left - 365*24*time.Hour), Ends: now.Add(left)}
	}
	broken := cert(100 * 24 * time.Hour)
	broken.Error = "half a key"
	for _, c := range []struct {
		nodes []front.Certificate // one each
		rank  int
		want  string
	}{
		{[]front.Certificate{cert(100 * 24 * time.Hour), cert(15 * 24 * time.Hour)}, 0, ""},
		{[]front.Certificate{cert(100 * 24 * time.Hour), cert(10*24*time.Hour + time.Hour)}, 58, "the certificate of chat.test at region eu-west ends in 10 days, on "},
		{[]front.Certificate{cert(30*time.Hour + time.Second), cert(100 * 24 * time.Hour)}, 86, "the certificate of chat.test at region eu-west ends in 30h0m0s, on "},
		{[]front.Certificate{cert(-time.Hour), cert(30 * time.Hour)}, 95, "the certificate of chat.test at region eu-west has ended, on "},
		{[]front.Certificate{cert(100 * 24 * time.Hour), {Name: "chat.test", ACME: true, Error: "rateLimited"}}, 86, "region eu-west has no certificate for chat.test from the ACME server: rateLimited"},
		{[]front.Certificate{broken, broken}, 57, "new certificates of region eu-west cannot be used, the old ones stay: half a key"},
	} {
		state := regionState{Region: "eu-west", Running: true, Status: &regionnode.Status{Ready: true}}
		answers := []*regionnode.Status{nil}
		for _, one := range c.nodes {
			answers = append(answers, &regionnode.Status{Certificates: []front.Certificate{one}})
		}
		addCertificates(&state, answers)
		switch problems := findProblems([]regionState{state}); {
		case c.want == "" && len(problems) == 0:
		case len(problems) != 1 || problems[0].Rank != c.rank || !strings.HasPrefix(problems[0].Text, c.want) || problems[0].Runbook != certificateRunbook:
			t.Errorf("want %q, got %+v", c.want, problems)
		}
	}
}
