package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
	"meridian/config"
)

// lookEvery is how often certificates are looked at: files for changes, all for the time when they end.
const lookEvery = 5 * time.Second

// certificates is where certificates come from: files, or an ACME server.
type certificates interface {
	// get gives the certificate for a handshake.
	get(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// protocols are what is offered by ALPN, best first.
	protocols() []string
	// look brings them up to date, and tells what became of it.
	look(ctx context.Context, m Metrics)
	// list gives those that are served, in no order.
	list() []Certificate
	// own hears which names lead to this process.
	own(names []string)
}

func openCertificates(cfg *config.Config, log *slog.Logger) (certificates, error) {
	t := cfg.Network.TLS
	switch {
	case t.ACME != nil:
		return openACME(cfg, log)
	case len(t.Certificates) > 0:
		return openFiles(t.Certificates, log)
	}
	return nil, nil
}

// Own says which names lead to this process: their certificates are got before a client asks, or a missing one is told in the log.
// Names that an ACME server is not to be asked for are left out.
func (f *Front) Own(names []string) {
	if f != nil && f.certs != nil {
		f.certs.own(names)
	}
}

// keep looks at the certificates until end is called.
func (f *Front) keep() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(f.every)
		defer tick.Stop()
		w := watch{metrics: f.metrics, log: f.log}
		for ctx.Err() == nil {
			f.certs.look(ctx, f.metrics)
			w.tell(f.certs.list(), time.Now())
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// files are pairs of certificate and key that are loaded anew when they change. A pair that cannot be used changes nothing.
type files struct {
	pairs []config.Certificate
	log   *slog.Logger
	used  atomic.Pointer[[]*tls.Certificate]

	mu      sync.Mutex
	taken   []stamp
	refused error // why what stands in the files is not used; nil: it is
}

// openFiles loads all pairs. The error has CodeInvalid and names the file.
func openFiles(pairs []config.Certificate, log *slog.Logger) (*files, error) {
	f := &files{pairs: pairs, log: log, taken: stampsOf(pairs)}
	certs, err := load(pairs)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "front.New", Message: err.Error(), Cause: err}
	}
	f.used.Store(&certs)
	return f, nil
}

func load(pairs []config.Certificate) ([]*tls.Certificate, error) {
	certs := make([]*tls.Certificate, len(pairs))
	for i, p := range pairs {
		c, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("network.tls.certificates[%d]: %s with %s: %w", i, p.CertFile, p.KeyFile, err)
		}
		if time.Now().After(c.Leaf.NotAfter) {
			return nil, fmt.Errorf("network.tls.certificates[%d]: %s has ended on %s", i, p.CertFile, c.Leaf.NotAfter.UTC().Format(time.DateTime))
		}
		certs[i] = &c
	}
	return certs, nil
}

// get gives the first pair that holds the name that the client asks for, or the first of all.
func (f *files) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certs := *f.used.Load()
	for _, c := range certs {
		if hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return certs[0], nil
}

func (f *files) protocols() []string { return nil }

// own warns of names that no pair holds: clients that use them will not connect.
func (f *files) own(names []string) {
	for _, name := range names {
		holds := func(c *tls.Certificate) bool { return c.Leaf.VerifyHostname(name) == nil }
		if !slices.ContainsFunc(*f.used.Load(), holds) {
			f.log.Warn("no certificate holds a name by which clients come here", "name", name)
		}
	}
}

func (f *files) look(_ context.Context, m Metrics) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := stampsOf(f.pairs); !slices.Equal(now, f.taken) {
		f.taken = now // what is broken is tried again when it changes again
		f.reload(m)
	}
}

func (f *files) list() []Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Certificate
	for _, pair := range *f.used.Load() {
		c := certificateOf(pair.Leaf)
		if f.refused != nil {
			c.Error = f.refused.Error()
		}
		out = append(out, c)
	}
	return out
}

func (f *files) reload(m Metrics) {
	certs, err := load(f.pairs)
	if f.refused = err; err != nil {
		m.Count("tls_reloads_total", "refused")
		f.log.Error("certificate files have changed but cannot be used; the old ones stay", "err", err)
		return
	}
	f.used.Store(&certs)
	m.Count("tls_reloads_total", "taken")
	f.log.Info("certificate files reloaded")
}

// stamp tells whether a file has changed; the zero stamp is that of a file that is not there.
type stamp struct {
	size    int64
	changed time.Time
}

func stampsOf(pairs []config.Certificate) []stamp {
	var out []stamp
	for _, p := range pairs {
		for _, file := range []string{p.CertFile, p.KeyFile} {
			var s stamp
			if info, err := os.Stat(file); err == nil {
				s = stamp{info.Size(), info.ModTime()}
			}
			out = append(out, s)
		}
	}
	return out
}

var errNoCertificate = errors.New("no certificate for this name")
