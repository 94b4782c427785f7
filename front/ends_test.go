package front

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"meridian/config"
)

// A certificate alarms two weeks before its end and again three days before it, a short-lived one when little of its life is left, and
// one that is renewed in time never.
func TestAlarm(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		life, left time.Duration
		want       Alarm
	}{
		{365 * day, 15 * day, EndsLater}, {365 * day, 13 * day, EndsSoon}, {365 * day, 2 * day, EndsVerySoon}, {365 * day, 0, HasEnded}, {365 * day, -day, HasEnded},
		{90 * day, 29 * day, EndsLater}, {90 * day, 15 * day, EndsLater}, {90 * day, 13 * day, EndsSoon}, {90 * day, 2 * day, EndsVerySoon},
		{6 * day, 2 * day, EndsLater}, {6 * day, 23 * time.Hour, EndsSoon}, {6 * day, 7 * time.Hour, EndsVerySoon},
		{time.Hour, 20 * time.Minute, EndsLater}, {time.Hour, 9 * time.Minute, EndsSoon}, {time.Hour, 2 * time.Minute, EndsVerySoon},
	} {
		ends := now.Add(c.left)
		if got := (Certificate{Begins: ends.Add(-c.life), Ends: ends}).Alarm(now); got != c.want {
			t.Errorf("%v left of %v: alarm %d, want %d", c.left, c.life, got, c.want)
		}
	}
	if got := (Certificate{Name: "a.test", Error: "refused"}).Alarm(now); got != EndsLater {
		t.Errorf("no certificate: alarm %d", got)
	}
}

// The log tells of a certificate once for each degree, and of its successor anew.
func TestAlarmsAreToldOnce(t *testing.T) {
	var log bytes.Buffer
	w := watch{metrics: noMetrics{}, log: slog.New(slog.NewTextHandler(&log, nil))}
	ends := time.Now().Add(100 * 24 * time.Hour)
	list := []Certificate{{Name: "a.test", Begins: ends.Add(-365 * 24 * time.Hour), Ends: ends}, {Name: "b.test", Error: "none"}}
	if w.tell(list, ends.Add(-90*24*time.Hour)); log.Len() > 0 {
		t.Fatalf("90 days before: logged %s", log.String())
	}
	for i, left := range []time.Duration{13 * 24 * time.Hour, 2 * 24 * time.Hour, -time.Hour} {
		for range 3 {
			w.tell(list, ends.Add(-left))
		}
		if got := strings.Count(log.String(), "msg=alarm"); got != i+1 || strings.Contains(log.String(), "b.test") {
			t.Errorf("%v left: logged %s", left, log.String())
		}
	}
	list[0].Ends = ends.Add(13 * 24 * time.Hour)
	w.tell(list, ends)
	if got := strings.Count(log.String(), "msg=alarm"); got != 4 {
		t.Errorf("the successor: logged %s", log.String())
	}
}

// A name that no certificate has first any more leaves the metrics.
func TestEndsOfNamesThatAreGone(t *testing.T) {
	m := &counts{values: make(map[string]float64)}
	w := watch{metrics: m, log: slog.New(slog.DiscardHandler)}
	ends := time.Now().Add(time.Hour)
	for _, name := range []string{"a.test", "b.test"} {
		w.tell([]Certificate{{Name: name, Begins: ends.Add(-time.Hour), Ends: ends}}, ends.Add(-time.Hour))
		if want := float64(ends.Unix()); len(m.values) != 1 || m.get("tls_certificate_ends_seconds "+name) != want {
			t.Errorf("%s: %v", name, m.values)
		}
	}
}

// What is served is listed with its end; a pair that cannot be used shows why until it can.
func TestFilesAreListed(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	pair := a.write(t, dir, "a.test", time.Now().Add(time.Minute))
	s := serve(t, func(n *config.Network) { n.TLS.Certificates = []config.Certificate{pair} })
	listed := func() Certificate {
		list := s.front.Certificates()
		if len(list) != 1 || list[0].Name != "a.test" || list[0].ACME {
			t.Fatalf("listed %+v", list)
		}
		return list[0]
	}
	if c := listed(); c.Error != "" || c.Alarm(time.Now()) == EndsLater {
		t.Errorf("listed %+v", c)
	}
	must(t, os.WriteFile(pair.KeyFile, []byte("half a key"), 0o600))
	wait(t, "the reason is shown", func() bool { return strings.Contains(listed().Error, pair.KeyFile) })
	a.write(t, dir, "a.test", time.Now().Add(24*time.Hour))
	wait(t, "the new pair is listed", func() bool { c := listed(); return c.Error == "" && c.Alarm(time.Now()) == EndsLater })
	if got := (*Front)(nil).Certificates(); got != nil {
		t.Errorf("plain HTTP lists %+v", got)
	}
}

// A name for which the ACME server gives no certificate is listed with the reason, until there is one; a name that nobody came for is not.
func TestNamesByACMEAreListed(t *testing.T) {
	f, _ := withACME(t)
	a, _ := f.acme()
	if got := f.Certificates(); len(got) != 0 {
		t.Errorf("at first: %+v", got)
	}
	a.settle("a.test", nil, errors.New("rateLimited"))
	if got := f.Certificates(); len(got) != 1 || got[0].Name != "a.test" || got[0].Error != "rateLimited" || !got[0].ACME || !got[0].Ends.IsZero() {
		t.Errorf("after a failure: %+v", got)
	}
	authority := newAuthority(t)
	certs, err := load([]config.Certificate{authority.write(t, t.TempDir(), "a.test", time.Now().Add(time.Hour))})
	must(t, err)
	a.settle("a.test", certs[0], nil)
	if got := f.Certificates(); len(got) != 1 || got[0].Error != "" || !got[0].ACME || !got[0].Ends.Equal(certs[0].Leaf.NotAfter) {
		t.Errorf("after a success: %+v", got)
	}
}
