package geo

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
)

// Update says what is to become of one address file.
type Update struct {
	// From is a file or an https URL; what is compressed by gzip is unpacked. To is the file that is replaced, which may not
	// be there yet.
	From, To string
	// SHA256 is the checksum, in hexadecimal, of From as it comes; it may be left out for a file.
	SHA256 string
	// ASN says that it is a file of autonomous systems.
	ASN bool
	// Force takes a file that is stale or moves too many canaries.
	Force bool
	// CheckOnly changes nothing.
	CheckOnly bool
	// Client downloads; nil: http.DefaultClient.
	Client *http.Client
	Now    time.Time
}

// downloadTimeout bounds a download.
const downloadTimeout = 10 * time.Minute

// Result says what an Update did.
type Result struct {
	Old *Source `json:"old"` // nil: there was no file, or a broken one
	New Source  `json:"new"`
	// SHA256 is that of what came.
	SHA256 string `json:"sha256"`
	// Forced is what would have been refused without Force.
	Forced string `json:"forced,omitempty"`
	// Replaced says that To is the new file now.
	Replaced bool `json:"replaced"`
}

// Run fetches the file, checks it as a router would that takes it while serving under cfg, and puts it in the place of To in
// one step. After an error To is as it was. The error has CodeInvalid; see FaultOf.
func (u Update) Run(ctx context.Context, cfg *config.Config) (Result, error) {
	var r Result
	raw, err := u.fetch(ctx)
	if err != nil {
		return r, err
	}
	sum := sha256.Sum256(raw)
	r.SHA256 = hex.EncodeToString(sum[:])
	if u.SHA256 != "" && !strings.EqualFold(u.SHA256, r.SHA256) {
		return r, unusable(u.From, FaultChecksum, fmt.Sprintf("has SHA-256 %s, not %s", r.SHA256, u.SHA256), nil)
	}
	if raw, err = unpack(u.From, raw); err != nil {
		return r, err
	}
	if err := os.MkdirAll(filepath.Dir(u.To), 0o755); err != nil {
		return r, unusable(u.To, FaultUnreadable, "cannot be written", err)
	}
	tmp, err := WriteBeside(u.To, raw)
	if err != nil {
		return r, unusable(u.To, FaultUnreadable, "cannot be written", err)
	}
	defer os.Remove(tmp) // gone when it has taken the place of To
	if err := u.check(cfg, tmp, &r); err != nil {
		return r, err
	}
	if u.CheckOnly {
		return r, nil
	}
	if err := ReplaceFile(tmp, u.To); err != nil {
		return r, unusable(u.To, FaultUnreadable, "cannot be replaced", err)
	}
	r.Replaced = true
	return r, nil
}

// check loads the file and compares it with the one that it is to replace.
func (u Update) check(cfg *config.Config, tmp string, r *Result) error {
	rules := cfg.Router
	rules.Overrides, rules.GeoMaxAge = nil, 0
	next, err := openOne(rules, tmp, u.From, u)
	if err != nil {
		return err
	}
	r.New = next.source(u.ASN)
	refused := u.stale(cfg, r.New.Built)
	if old, err := openOne(rules, u.To, u.To, u); err == nil { // else there is none, or it is broken: any good file is better
		source := old.source(u.ASN)
		r.Old = &source
		refused = errors.Join(refused, u.compare(cfg, old, next))
	}
	if refused == nil || u.Force {
		if refused != nil {
			r.Forced = refused.Error()
		}
		return nil
	}
	return refused
}

func openOne(rules config.Router, file, called string, u Update) (*Data, error) {
	rules.GeoFiles, rules.ASNFiles = []string{file}, nil
	if u.ASN {
		rules.GeoFiles, rules.ASNFiles = nil, []string{file}
	}
	return openAs(rules, u.Now, map[string]string{file: called})
}

// source gives the one file that is not embedded.
func (d *Data) source(asn bool) Source {
	if asn {
		return d.sources[len(d.sources)-1]
	}
	return d.sources[0]
}

func (u Update) stale(cfg *config.Config, built time.Time) error {
	if age := cfg.Router.GeoMaxAge; age > 0 && built.Before(u.Now.Add(-age)) {
		return unusable(u.From, FaultStale, fmt.Sprintf("was made on %s, which is longer ago than router.geo_max_age", built.Format(time.DateOnly)), nil)
	}
	return nil
}

func (u Update) compare(cfg *config.Config, old, next *Data) error {
	if before, now := old.source(u.ASN).Built, next.source(u.ASN).Built; now.Before(before) {
		return unusable(u.From, FaultStale, fmt.Sprintf("was made on %s; %s is of %s", now.Format(time.DateOnly), u.To, before.Format(time.DateOnly)), nil)
	}
	if u.ASN {
		return nil
	}
	world, err := World()
	if err != nil {
		return err
	}
	model, err := decide.NewModel(cfg, world)
	if err != nil {
		return err
	}
	return CheckSwap(model, old, next, cfg.Router.CanaryAddresses(), cfg.Router.CanaryChangedShare)
}

// fetch reads what From names.
func (u Update) fetch(ctx context.Context) ([]byte, error) {
	at, err := url.Parse(u.From)
	if err != nil || at.Scheme == "" {
		return readFile(u.From)
	}
	if at.Scheme != "https" || u.SHA256 == "" {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "geo.Update", Message: u.From + ": only https is taken, and only with a checksum"}
	}
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.From, nil)
	if err != nil {
		return nil, unusable(u.From, FaultUnreadable, "cannot be fetched", err)
	}
	client := http.DefaultClient
	if u.Client != nil {
		client = u.Client
	}
	secure := *client
	secure.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		const redirectsMax = 10
		if req.URL.Scheme != "https" || len(via) >= redirectsMax {
			return fmt.Errorf("redirected to %s", req.URL.Redacted())
		}
		return nil
	}
	resp, err := secure.Do(req)
	if err != nil {
		return nil, unusable(u.From, FaultUnreadable, "cannot be fetched", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, unusable(u.From, FaultUnreadable, "cannot be fetched: "+resp.Status, nil)
	}
	return readBounded(u.From, resp.Body)
}

// readBounded reads at most maxFileBytes.
func readBounded(name string, r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	if err != nil {
		return nil, unusable(name, FaultUnreadable, "cannot be read to its end", err)
	}
	if len(raw) > maxFileBytes {
		return nil, unusable(name, FaultTooLarge, fmt.Sprintf("has more than %d MiB", maxFileBytes>>20), nil)
	}
	return raw, nil
}

func unpack(name string, raw []byte) ([]byte, error) {
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return raw, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, unusable(name, FaultCorrupt, "is not what gzip made", err)
	}
	return readBounded(name, z)
}

// WriteBeside writes a synced file in the directory of another; remove it, or let ReplaceFile take it.
func WriteBeside(file string, content []byte) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// ReplaceFile puts tmp in the place of file, durably.
func ReplaceFile(tmp, file string) error {
	if err := os.Rename(tmp, file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
