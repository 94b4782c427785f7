package link

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meridian/chat"
)

// TestAuthorityFiles: secrets are readable by their owner only, survive a restart, and belong to one deployment.
func TestAuthorityFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	first, err := LoadOrCreateAuthority(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.IssueRegion("eu-west"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "backbone-eu-west.crt"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Fatalf("files %v, %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("directory has mode %v, %v", info.Mode(), err)
	}

	second, err := LoadOrCreateAuthority(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := second.IssueRegion("eu-west"); err != nil || id.Deployment != "test" || id.Region != "eu-west" {
		t.Fatalf("identity %+v, %v", id, err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "backbone-eu-west.crt")); err != nil || string(after) != string(before) {
		t.Errorf("a good certificate was replaced (%v)", err)
	}
	if _, err := LoadOrCreateAuthority(dir, "other"); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("another deployment's directory: %v", err)
	}
	if _, err := second.IssueRegion("../evil"); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("a path as region: %v", err)
	}
}

// TestCertificateIsRenewed: with less than a third of its life left a certificate is made anew, and a node that runs takes it
// up with its next connection.
func TestCertificateIsRenewed(t *testing.T) {
	w := newWorld(t, nil, "eu-west", "us-east")
	now := time.Now()
	if err := w.authority.issue("eu-west", now.Add(-regionLife), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	old, _, err := readPair(w.authority.dir, "backbone-eu-west.crt", "backbone-eu-west.key")
	if err != nil {
		t.Fatal(err)
	}
	identity, err := LoadIdentity(w.authority.dir, "eu-west")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.authority.IssueRegion("eu-west"); err != nil {
		t.Fatal(err)
	}
	presented, err := identity.tlsConfig(nil).GetCertificate(nil)
	if err != nil || presented.Leaf.Equal(old) || presented.Leaf.NotAfter.Before(now.Add(regionLife/2)) {
		t.Fatalf("the old certificate is still presented (%v)", err)
	}
}

// TestStrangersAreRefused: who has a certificate of another authority, one that has expired, one of another deployment or of a
// region that is not expected here is not let in, whichever side dials, and it is counted.
func TestStrangersAreRefused(t *testing.T) {
	now := time.Now()
	cases := map[string]struct {
		reason  refusal
		prepare func(t *testing.T, stranger *Authority, own *Authority, region chat.Region) // writes the stranger's files
	}{
		"foreign authority": {refusedAuthority, func(t *testing.T, stranger, _ *Authority, region chat.Region) {
			must(t, stranger.issue(region, now.Add(-time.Hour), now.Add(time.Hour)))
		}},
		"expired": {refusedExpired, func(t *testing.T, stranger, own *Authority, region chat.Region) {
			must(t, own.issue(region, now.Add(-2*time.Hour), now.Add(-time.Hour)))
			copyFiles(t, own.dir, stranger.dir)
		}},
		"not valid yet": {refusedExpired, func(t *testing.T, stranger, own *Authority, region chat.Region) {
			must(t, own.issue(region, now.Add(time.Hour), now.Add(2*time.Hour)))
			copyFiles(t, own.dir, stranger.dir)
		}},
		"another deployment": {refusedDeployment, func(t *testing.T, stranger, own *Authority, region chat.Region) {
			forged := *own
			forged.deployment = "other"
			must(t, forged.issue(region, now.Add(-time.Hour), now.Add(time.Hour)))
			copyFiles(t, own.dir, stranger.dir)
		}},
		"another region": {refusedRegion, func(t *testing.T, stranger, own *Authority, region chat.Region) {
			must(t, own.issue("ap-south", now.Add(-time.Hour), now.Add(time.Hour)))
			copyFiles(t, own.dir, stranger.dir)
			for _, end := range []string{".crt", ".key"} {
				must(t, os.Rename(filepath.Join(stranger.dir, "backbone-ap-south"+end), filepath.Join(stranger.dir, "backbone-"+string(region)+end)))
			}
		}},
	}
	for name, c := range cases {
		for _, region := range []chat.Region{"eu-west", "us-east"} { // the stranger dials; the stranger listens
			t.Run(name+" as "+string(region), func(t *testing.T) {
				w := newWorld(t, nil, "eu-west", "us-east")
				honest := chat.Region("us-east")
				if region == honest {
					honest = "eu-west"
				}
				stranger, err := LoadOrCreateAuthority(t.TempDir(), "test")
				must(t, err)
				c.prepare(t, stranger, w.authority, region)
				// The stranger itself believes everybody: only what the honest side says counts.
				identity := &Identity{Deployment: "test", Region: region, dir: stranger.dir, roots: w.authority.pool(), now: time.Now}
				good := w.start(string(honest), nil)
				bad := w.start(string(region), func(o *Options) { o.Identity = identity })
				want := MetricRefused + " " + string(c.reason)
				eventually(t, want, func() bool { return strings.Contains(good.metrics.String(), want) })
				if good.Peers()[ref(string(region))].Up || len(good.seen()) > 0 {
					t.Errorf("the stranger was let in: %q", good.seen())
				}
				bad.Close()
			})
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	must(t, os.RemoveAll(to))
	must(t, os.CopyFS(to, os.DirFS(from)))
}
