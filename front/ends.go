package front

import (
	"cmp"
	"crypto/x509"
	"log/slog"
	"slices"
	"time"
)

// A certificate ends soon when less than soonLeft is left of its life, and very soon when less than verySoonLeft is; of a short life the
// shares count. What gets certificates by itself has got the next one long before: an ACME client when a third of the life is left.
const (
	soonLeft, soonShare         = 14 * 24 * time.Hour, 6
	verySoonLeft, verySoonShare = 3 * 24 * time.Hour, 20
)

// Alarm says how near its end a certificate is; a higher one is worse.
type Alarm int

// The alarms, best first.
const (
	EndsLater Alarm = iota
	EndsSoon
	EndsVerySoon
	HasEnded
)

// Certificate is one that is served, or a name for which there is none.
type Certificate struct {
	// Name is the first name in it.
	Name string `json:"name"`
	// Begins and Ends are its life; zero for a name without certificate.
	Begins time.Time `json:"begins,omitzero"`
	Ends   time.Time `json:"ends,omitzero"`
	// ACME: it comes from an ACME server, not from files.
	ACME bool `json:"acme,omitempty"`
	// Error says why the newest attempt to replace it, or to get it, failed.
	Error string `json:"error,omitempty"`
}

func certificateOf(leaf *x509.Certificate) Certificate {
	name := leaf.Subject.CommonName
	if len(leaf.DNSNames) > 0 {
		name = leaf.DNSNames[0]
	}
	return Certificate{Name: name, Begins: leaf.NotBefore, Ends: leaf.NotAfter}
}

// Alarm says how near its end the certificate is at a time. A name without certificate has no end.
func (c Certificate) Alarm(now time.Time) Alarm {
	left, life := c.Ends.Sub(now), c.Ends.Sub(c.Begins)
	switch {
	case c.Ends.IsZero():
		return EndsLater
	case left <= 0:
		return HasEnded
	case left < min(verySoonLeft, life/verySoonShare):
		return EndsVerySoon
	case left < min(soonLeft, life/soonShare):
		return EndsSoon
	}
	return EndsLater
}

// Certificates gives what is served, sorted by name; nothing where the listeners speak plain HTTP.
func (f *Front) Certificates() []Certificate {
	if f == nil || f.certs == nil {
		return nil
	}
	list := f.certs.list()
	slices.SortFunc(list, func(a, b Certificate) int { return cmp.Or(cmp.Compare(a.Name, b.Name), a.Ends.Compare(b.Ends)) })
	return list
}

// watch tells when certificates end: the metrics always, the log when it has become urgent, once for each degree.
type watch struct {
	metrics Metrics
	log     *slog.Logger
	told    map[Certificate]Alarm
	names   map[string]bool // in the metrics
}

func (w *watch) tell(list []Certificate, now time.Time) {
	alarms, names := make(map[Certificate]Alarm), make(map[string]bool)
	for _, c := range list {
		if c.Ends.IsZero() {
			continue
		}
		w.metrics.Set("tls_certificate_ends_seconds", float64(c.Ends.Unix()), c.Name)
		names[c.Name] = true
		same := Certificate{Name: c.Name, Ends: c.Ends.UTC()}
		alarms[same] = c.Alarm(now)
		if alarms[same] > w.told[same] {
			w.log.Error("alarm", "detail", "a certificate is near its end, or has ended", "name", c.Name, "ends", c.Ends.UTC(), "acme", c.ACME,
				"runbook", "runbooks/certificate-ends.md")
		}
	}
	for name := range w.names {
		if !names[name] {
			w.metrics.Remove("tls_certificate_ends_seconds", name)
		}
	}
	w.told, w.names = alarms, names
}
