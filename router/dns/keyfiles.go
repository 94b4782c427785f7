package dns

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"meridian/router/dns/keys"
)

// keyWatchEvery is how often the directory of keys is looked at.
const keyWatchEvery = 2 * time.Second

// loadKeys reads the keys of all zones and signs by them from now on. The error has CodeInvalid and names the file; then all
// stays as it was. A zone that is signed does not become unsigned by it: while the parent has a DS record that would make
// the zone fail for everybody who validates, and files that are missing are a likelier mistake.
func (s *Server) loadKeys() error {
	dir := s.opts.Serving.DNSSEC.KeyDir
	if dir == "" {
		s.use(newSigner(nil, 0, 0))
		return nil
	}
	set, err := keys.Load(dir)
	if err != nil {
		return err
	}
	now, old := s.opts.Now(), s.signer.Load()
	for _, apex := range s.apexes {
		shown := (&signer{keys: set}).shown(apex, now)
		if old.signs(apex) && len(shown) == 0 {
			return invalid("%s has no key for %s, which is signed: to sign it no more, restart without keys", dir, apex)
		}
		if len(shown) == 0 {
			delete(set, apex)
		}
	}
	for zone := range set {
		if !slices.Contains(s.apexes, zone) {
			s.opts.Log.Warn("there is a signing key for what is no zone of ours", "zone", zone, "zones", strings.Join(s.apexes, " "))
		}
	}
	d := s.opts.Serving.DNSSEC
	s.use(newSigner(set, d.Validity, d.InceptionSkew))
	return nil
}

// use signs by a signer from now on, on both paths. What the fast one needs is made before.
func (s *Server) use(next *signer) {
	if s.fast == nil { // newFast will ask for it
		s.signer.Store(next)
		return
	}
	pieces := s.fast.newPieces(next)
	s.signer.Store(next)
	s.fast.pieces.Store(pieces)
}

// watchKeys reads the keys again when their files have changed and have then kept still for one look, so that a copy of them
// that is under way is not taken by half.
func (s *Server) watchKeys(ctx context.Context) {
	dir := s.opts.Serving.DNSSEC.KeyDir
	if dir == "" {
		return
	}
	tick := time.NewTicker(keyWatchEvery)
	defer tick.Stop()
	taken := s.keyStamps
	seen := taken
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := stamps(dir)
		still := slices.Equal(now, seen)
		if seen = now; !still || slices.Equal(now, taken) {
			continue
		}
		taken = now
		s.shows.Load().reloadKeys()
	}
}

func (s *Server) reloadKeys() {
	if err := s.loadKeys(); err != nil {
		s.opts.Metrics.Count("dns_key_reloads_total", "refused")
		s.opts.Log.Error("the signing keys changed but cannot be used; the old ones stay", "error", err)
		return
	}
	s.opts.Metrics.Count("dns_key_reloads_total", "taken")
	s.opts.Log.Info("signing keys reloaded")
}

// stamp tells whether a key file has changed.
type stamp struct {
	name    string
	size    int64
	changed time.Time
}

func stamps(dir string) []stamp {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil // the next look may find it
	}
	var out []stamp
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".private" {
			continue
		}
		if info, err := e.Info(); err == nil {
			out = append(out, stamp{e.Name(), info.Size(), info.ModTime()})
		}
	}
	return out
}
