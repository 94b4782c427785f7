package route53_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"meridian/chat"
	"meridian/config"
	"meridian/router/route53"
)

// A call that Route 53 throttles, or that meets a zone which is still changing, is made again; a change counts as made when all name servers
// have it; and what else the API says comes back as a typed error. moto, which the process tests use, does none of these.
func TestClientWaitsAndTriesAgain(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	const refused = `<ErrorResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Error><Type>Sender</Type><Code>%s</Code><Message>so</Message></Error></ErrorResponse>`
	const info = `<%[1]s xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeInfo><Id>/change/C1</Id><Status>%[2]s</Status><SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo></%[1]s>`
	var mu sync.Mutex
	var calls []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.Copy(io.Discard, r.Body)
		call := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/2013-04-01")
		n := strings.Count(strings.Join(calls, "\n"), call)
		calls = append(calls, call)
		switch {
		case call == "POST /hostedzone/Z1/rrset" && n < 2:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, refused, []string{"Throttling", "PriorRequestNotComplete"}[n])
		case call == "POST /hostedzone/Z1/rrset":
			fmt.Fprintf(w, info, "ChangeResourceRecordSetsResponse", "PENDING")
		case call == "GET /change/C1" && n == 0:
			fmt.Fprintf(w, info, "GetChangeResponse", "PENDING")
		case call == "GET /change/C1":
			fmt.Fprintf(w, info, "GetChangeResponse", "INSYNC")
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, refused, map[string]string{"GET /hostedzone/Z2": "NoSuchHostedZone", "GET /hostedzone/Z3": "AccessDenied", "GET /hostedzone/Z4": "Strange"}[call])
		}
	}))
	defer server.Close()
	cfg := config.Default()
	settings := cfg.Router.Route53
	settings.Endpoint, settings.RequestsPerSecond = server.URL, 100
	client, err := route53.NewClient(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := deployment(t, cfg)
	want := render(t, d)
	p := route53.Make(d.Owner, &route53.Records{Records: want.Records}, route53.Observed{Zones: d.Zones})
	var lines []string
	if err := client.Apply(t.Context(), p, func(line string) { lines = append(lines, line) }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(calls, "\n"); strings.Count(got, "POST /hostedzone/Z1/rrset") != 3 || strings.Count(got, "GET /change/C1") != 2 {
		t.Errorf("calls:\n%s", got)
	}
	if got := strings.Join(lines, "\n"); !strings.Contains(got, "batch 1 of 1: PENDING") || !strings.HasSuffix(got, "all name servers have it") {
		t.Errorf("progress:\n%s", got)
	}
	for zone, code := range map[string]chat.Code{"Z2": chat.CodeNotFound, "Z3": chat.CodeUnauthorized, "Z4": chat.CodeInvalid} {
		if _, err := client.HostedZones(t.Context(), []string{zone}); chat.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", zone, err, code)
		}
	}
}
