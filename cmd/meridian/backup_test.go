package main

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"meridian/chat"
	"meridian/config"
	"meridian/store/backup"
	"meridian/store/embedded"
)

// A region's backup is taken while people write. The region goes on, loses its disk, and is restored: it begins a new life, catches
// up by relay with what others originated since, and `verify --repair` brings what it had originated itself: then no region of
// the zone holds anything else than the others, and people read all of it in the restored region, also when it is the only one. What only
// this region had at the time of the backup is there again.
func TestBackupAndRestore(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three regions several times")
	}
	data := t.TempDir()
	stop, ready := runningUp(t, data)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	home, store, copied := ready.Regions["eu-west"].HTTP, filepath.Join(data, "eu-west"), filepath.Join(t.TempDir(), "backups", "eu-west")
	must := func(line string, code int, says string) {
		t.Helper()
		mustVerb(t, line+" --data "+data, code, says)
	}
	own := newCorrespondent(t, "eu-west", home, "world", "restored-anna", "restored-ben")
	other := newCorrespondent(t, "us-east", ready.Regions["us-east"].HTTP, "world", "restored-carl", "restored-dora")
	only := newCorrespondent(t, "eu-west", home, "eu", "restored-eric", "restored-fay") // no other region has what they write
	for _, who := range []*correspondent{own, other, only} {
		who.say(10)
	}
	only.stop()
	during := saying(own, func() { must("backup --region eu-west --to "+copied, exitOK, "Secrets are not in a backup") })
	if during == 0 {
		t.Error("nobody wrote while the backup was taken")
	}
	own.say(15)
	other.say(15)
	own.stop()
	other.stop()
	mustVerb(t, "backup check "+copied, exitOK, "intact")
	must("backup --region eu-west --to "+copied, exitRefused, "exists")
	must("backup --region moon --to "+copied+"2", exitUsage, "known: [ap-south eu-west us-east]")
	must("restore --region eu-west --from "+copied, exitRefused, "in use by process")
	waitVerb(t, data, "verify", exitOK, "0 differ")

	must("region kill eu-west", exitOK, "DEAD")
	must("backup --region eu-west --to "+copied+"2", exitUnreachable, "does not answer")
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	checkRefusals(t, data, copied)
	must("restore --region eu-west --from "+copied, exitOK, "It begins a new life")
	must("region start eu-west", exitOK, "running")
	waitVerb(t, data, "status", exitOK, "nothing waits")

	must("verify --zone world", exitDegraded, "mailboxes differ")
	must("verify --zone world --repair", exitOK, "rows brought")
	waitVerb(t, data, "verify", exitOK, "0 differ")
	// Alone, so that the names by which people log in are its own, too.
	must("region kill us-east", exitOK, "DEAD")
	must("region kill ap-south", exitOK, "DEAD")
	checkTexts(t, home, own.texts, "restored-anna", "restored-ben")
	checkTexts(t, home, only.texts, "restored-eric", "restored-fay")
	checkTexts(t, home, other.texts, "restored-carl", "restored-dora")
}

// Where the nodes of a region share a store process, the backup is made by it, and restored where it was: people read what they wrote.
func TestBackupOfASharedStore(t *testing.T) {
	file, copied := sharing(t), filepath.Join(t.TempDir(), "backup")
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := cfg.Region("eu-west")
	addr, dir := r.Nodes[0].HTTP, filepath.Join(cfg.DataDir, "eu-west")
	endStore := runningStore(t, file)
	endNode := runningNode(t, file)
	who := newCorrespondent(t, "eu-west", addr, "", "restored-eric", "restored-fay")
	who.say(10)
	mustVerb(t, "backup --config "+file+" --region eu-west --to "+copied, exitOK, "embedded, layout")
	texts := slices.Clone(who.texts)
	who.say(5) // lost: no other region has them
	who.stop()
	endNode()
	mustVerb(t, "restore --config "+file+" --region eu-west --from "+copied, exitRefused, "in use by process")
	if err := endStore(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	mustVerb(t, "restore --config "+file+" --region eu-west --from "+copied, exitOK, "Next: 1. meridian store --config")
	endStore = runningStore(t, file)
	endNode = runningNode(t, file)
	checkTexts(t, addr, texts, "restored-eric", "restored-fay")
	endNode()
	if err := endStore(); err != nil {
		t.Fatal(err)
	}
}

// mustVerb runs a command line and wants its exit code, and that it says something.
func mustVerb(t *testing.T, line string, code int, says string) {
	t.Helper()
	got, out, errs := verb(t, strings.Fields(line)...)
	if got != code || !strings.Contains(out+errs, says) {
		t.Fatalf("%s: exit %d, want %d with %q in\n%s%s", line, got, code, says, out, errs)
	}
}

// saying does something while somebody writes, and says how many texts were acknowledged meanwhile.
func saying(w *correspondent, do func()) (texts int) {
	const most = 50 // all of them are read on one page in the end
	before, begun, over, ended := len(w.texts), make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		close(begun)
		for range most {
			w.say(1)
			select {
			case <-over:
				return
			default:
			}
		}
	}()
	<-begun
	do()
	close(over)
	<-ended
	return len(w.texts) - before
}

// checkRefusals has what is no whole backup of eu-west, and what would overwrite something, refused with nothing changed.
func checkRefusals(t *testing.T, data, copied string) {
	t.Helper()
	m, err := backup.Read(copied)
	if err != nil {
		t.Fatal(err)
	}
	first := slices.MaxFunc(m.Files, func(a, b backup.File) int { return cmp.Compare(a.Bytes, b.Bytes) }).Name
	again := func(dir string, change func(*backup.Manifest)) error {
		changed := backup.Manifest{Region: m.Region, Store: m.Store, Began: m.Began, Ended: m.Ended}
		change(&changed)
		_, err := backup.Write(dir, changed, nil)
		return err
	}
	manifest := func(dir string) string { return filepath.Join(dir, backup.ManifestName) }
	for what, c := range map[string]struct {
		breaks func(dir string) error
		says   string
		check  int // exit code of `backup check`
	}{
		"a damaged file":     {func(dir string) error { return flip(filepath.Join(dir, first), -1) }, first + " is damaged", exitDegraded},
		"a short file":       {func(dir string) error { return os.Truncate(filepath.Join(dir, first), 0) }, first + " has 0 bytes", exitDegraded},
		"a missing file":     {func(dir string) error { return os.Remove(filepath.Join(dir, first)) }, first + " is missing", exitDegraded},
		"a file too many":    {func(dir string) error { return os.WriteFile(filepath.Join(dir, "x"), nil, 0o600) }, "x is not in the manifest", exitDegraded},
		"a damaged manifest": {func(dir string) error { return flip(manifest(dir), 40) }, "is damaged", exitDegraded},
		"no manifest":        {func(dir string) error { return os.Remove(manifest(dir)) }, "not finished", exitDegraded},
		"another region's": {func(dir string) error {
			return again(dir, func(m *backup.Manifest) { m.Region = "us-east" })
		}, "a backup of region us-east", exitOK},
		"another kind's": {func(dir string) error {
			return again(dir, func(m *backup.Manifest) { m.Store.Kind = chat.StoreCassandra })
		}, "of kind cassandra", exitOK},
		"a newer version's": {func(dir string) error {
			return again(dir, func(m *backup.Manifest) { m.Store.Version = embedded.Layout + 1 })
		}, "made by a newer version", exitOK},
		"files that are no store": {func(dir string) error {
			err := os.RemoveAll(dir)
			if err == nil {
				err = os.Mkdir(dir, 0o700)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "000004.log"), []byte("no log"), 0o600)
			}
			if err == nil {
				err = again(dir, func(*backup.Manifest) {})
			}
			return err
		}, "cannot be opened as a store", exitOK},
	} {
		dir := filepath.Join(t.TempDir(), "broken")
		if err := os.CopyFS(dir, os.DirFS(copied)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(what, "'s") {
			if err := os.Remove(manifest(dir)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.breaks(dir); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		mustRefuse(t, what, data, dir, c.says)
		mustVerb(t, "backup check "+dir, c.check, "")
	}
	occupied := filepath.Join(data, "eu-west")
	if err := os.MkdirAll(filepath.Join(occupied, "photos"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, "an occupied directory", data, copied, "is not empty")
	if err := os.RemoveAll(occupied); err != nil {
		t.Fatal(err)
	}
}

// mustRefuse has a restore of eu-west refused, with every name and size under data as before.
func mustRefuse(t *testing.T, what, data, from, says string) {
	t.Helper()
	before := regionFiles(t, data)
	t.Log(what)
	mustVerb(t, "restore --region eu-west --from "+from+" --data "+data, exitRefused, says)
	if after := regionFiles(t, data); !slices.Equal(before, after) {
		t.Errorf("%s: the refused restore changed something: %q, before %q", what, after, before)
	}
}

// regionFiles gives what lies in data for eu-west; the other regions work meanwhile.
func regionFiles(t *testing.T, data string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if strings.Contains(path, "eu-west") && !strings.Contains(path, "secrets") {
			list = append(list, path)
		}
		if os.IsNotExist(err) { // another region's, compacted away
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// flip changes one byte of a file; a negative place counts from its end.
func flip(path string, at int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	return os.WriteFile(path, b, 0o600)
}
