package seal_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"meridian/chat"
	"meridian/residency/seal"
	"meridian/store/embedded"
	"meridian/store/storetest"
)

// Nothing that the tests start outlives them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// keys is a chat.Keys in memory.
type keys struct {
	mu   sync.Mutex
	rows map[string]chat.KeyRow
}

func newKeys() *keys { return &keys{rows: map[string]chat.KeyRow{}} }

func (k *keys) Key(_ context.Context, author chat.UserID, zone chat.Zone) (chat.KeyRow, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	row, ok := k.rows[author.String()+string(zone)]
	return row, ok, nil
}

func (k *keys) InsertKey(_ context.Context, row chat.KeyRow) (chat.KeyRow, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := row.Author.String() + string(row.Zone)
	if have, ok := k.rows[name]; ok {
		return have, nil
	}
	k.rows[name] = row
	return row, nil
}

func (k *keys) destroy(author chat.UserID, zone chat.Zone) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.rows, author.String()+string(zone))
}

var masters = map[chat.Zone][seal.KeyBytes]byte{"world": {1}, "eu": {2}}

func newSealer(t testing.TB, k chat.Keys) *seal.Sealer {
	t.Helper()
	s, err := seal.New(k, masters, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var ann, bob = chat.UserID{1}, chat.UserID{2}

func id(n int) chat.MessageID {
	return chat.NewMessageID(chat.HLC(1_700_000_000_000_000+n), ann, chat.ClientID{byte(n)})
}

func wantCode(t testing.TB, err error, code chat.Code) {
	t.Helper()
	if chat.CodeOf(err) != code {
		t.Fatalf("error is %v, want code %q", err, code)
	}
}

// What is sealed opens as it was, for the same message, author and zone, also by another Sealer over the same keys; two
// sealings of one text differ.
func TestSealAndOpen(t *testing.T) {
	k := newKeys()
	s := newSealer(t, k)
	plain := []byte("meet me at the lighthouse")
	a, err := s.Seal(ctx, id(1), ann, "eu", plain)
	wantCode(t, err, "")
	b, err := s.Seal(ctx, id(1), ann, "eu", plain)
	wantCode(t, err, "")
	if bytes.Equal(a, b) || bytes.Contains(a, plain) || string(plain) != "meet me at the lighthouse" {
		t.Fatal("not sealed, or not at random, or the text was changed")
	}
	for _, opener := range []*seal.Sealer{s, newSealer(t, k)} {
		back, err := opener.Open(ctx, id(1), ann, "eu", a)
		wantCode(t, err, "")
		if !bytes.Equal(back, plain) {
			t.Fatalf("it opens as %q", back)
		}
	}
	for _, empty := range [][]byte{nil, {}} {
		sealed, err := s.Seal(ctx, id(1), ann, "eu", empty)
		if err != nil || len(sealed) != 0 {
			t.Fatalf("an empty text seals as %x, error %v", sealed, err)
		}
	}
}

// A sealed text opens nowhere else: not for another message, author or zone, nor when a byte was changed or is missing.
func TestSealIsBound(t *testing.T) {
	s := newSealer(t, newKeys())
	sealed, err := s.Seal(ctx, id(1), ann, "eu", []byte("hello"))
	wantCode(t, err, "")
	for _, author := range []chat.UserID{ann, bob} {
		for _, zone := range []chat.Zone{"eu", "world"} {
			if _, err := s.Seal(ctx, id(2), author, zone, []byte("so that there is a key")); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err = s.Open(ctx, id(2), ann, "eu", sealed)
	wantCode(t, err, chat.CodeRegionDegraded)
	_, err = s.Open(ctx, id(1), bob, "eu", sealed)
	wantCode(t, err, chat.CodeRegionDegraded)
	_, err = s.Open(ctx, id(1), ann, "world", sealed)
	wantCode(t, err, chat.CodeRegionDegraded)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err = s.Open(ctx, id(1), ann, "eu", changed)
		wantCode(t, err, chat.CodeRegionDegraded)
		if i > 0 {
			_, err = s.Open(ctx, id(1), ann, "eu", sealed[:i])
			wantCode(t, err, chat.CodeRegionDegraded)
		}
	}
}

// A destroyed key is told by its cause, once it is forgotten; a zone without a master key is refused; without random
// numbers nothing is sealed.
func TestSealErrors(t *testing.T) {
	k := newKeys()
	s := newSealer(t, k)
	sealed, err := s.Seal(ctx, id(1), ann, "eu", []byte("hello"))
	wantCode(t, err, "")
	k.destroy(ann, "eu")
	s.Forget(ann, "eu")
	_, err = s.Open(ctx, id(1), ann, "eu", sealed)
	wantCode(t, err, chat.CodeNotFound)
	if !errors.Is(err, seal.ErrKeyGone) {
		t.Fatalf("the error does not say that the key is gone: %v", err)
	}
	_, err = s.Seal(ctx, id(1), ann, "in", []byte("hello"))
	wantCode(t, err, chat.CodeDenied)
	dry, err := seal.New(newKeys(), masters, bytes.NewReader(nil))
	wantCode(t, err, "")
	_, err = dry.Seal(ctx, id(1), ann, "eu", []byte("hello"))
	wantCode(t, err, chat.CodeInternal)
}

// Many that seal an author's first text at once use one key.
func TestSealAtOnce(t *testing.T) {
	k := newKeys()
	var all sync.WaitGroup
	sealed, errs := make([][]byte, 16), make([]error, 16)
	for i := range sealed {
		all.Go(func() { sealed[i], errs[i] = newSealer(t, k).Seal(ctx, id(i), ann, "eu", []byte("hello")) })
	}
	all.Wait()
	for i := range sealed {
		wantCode(t, errs[i], "")
		if _, err := newSealer(t, k).Open(ctx, id(i), ann, "eu", sealed[i]); err != nil {
			t.Fatal(err)
		}
	}
}

// place is an embedded store behind Wrap.
type place struct {
	dir  string
	cfg  storetest.Config
	open *embedded.Store
}

func (p *place) openDir(dir string) (chat.Store, error) {
	s, err := embedded.Open(embedded.Options{
		Dir: dir, Region: p.cfg.Region, Node: p.cfg.Node, Codec: p.cfg.Codec, CacheBytes: 1 << 20, MemTableBytes: 4 << 20,
		Retention: embedded.Retention(p.cfg.Retention),
	})
	if err != nil {
		return nil, err
	}
	p.open = s
	sealer, err := seal.New(s, masters, rand.Reader)
	return seal.Wrap(s, sealer), err
}

func (p *place) Open() (chat.Store, error) { return p.openDir(filepath.Join(p.dir, "store")) }
func (p *place) OpenNode(node chat.NodeID) (chat.Store, error) {
	s, err := p.open.Node(ctx, node)
	if err != nil {
		return nil, err
	}
	sealer, err := seal.New(s, masters, rand.Reader)
	return seal.Wrap(s, sealer), err
}
func (p *place) OpenCopy() (chat.Store, error) { return p.openDir(p.CopyDir()) }
func (p *place) CopyDir() string               { return filepath.Join(p.dir, "copy") }
func (p *place) Crash() {
	if p.open != nil {
		p.open.Abandon()
	}
}

// A store with sealed bodies keeps the contract of chat.Store.
func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB, cfg storetest.Config) storetest.Place {
		p := &place{dir: t.TempDir(), cfg: cfg}
		t.Cleanup(p.Crash)
		return p
	})
}

const canary = "canary-6f1d7c52c1a94c0e"

func canaryBatch() *chat.Batch {
	body := []byte("before " + canary + " behind")
	op := chat.Op{
		ID: id(1), Kind: chat.OpMessage, Time: id(1).Time(), Stream: chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: 1}, Seq: 1,
		Author: chat.Owner{ID: ann, Zone: "eu"}, Body: body, Unknown: body,
	}
	rows := op
	rows.ID, rows.Seq, rows.Kind, rows.Body = id(2), 2, chat.OpRows, nil
	rows.Rows = &chat.Rows{
		Messages: []chat.MessageRow{{Owner: bob, OwnerZone: "world", ID: id(1), Sender: ann, Body: body}},
		Changes:  []chat.ChangeRow{{Owner: bob, OwnerZone: "world", Target: id(1), Op: id(3), Kind: chat.ChangeEdit, User: ann, Body: body}},
	}
	abroad := op // its author's zone has no key here
	abroad.ID, abroad.Seq, abroad.Stream.Region, abroad.Author.Zone, abroad.Owners = id(4), 4, "ap-south", "in", []chat.Owner{{ID: ann, Zone: "in"}, {ID: bob, Zone: "world"}}
	return &chat.Batch{
		Log:    []chat.LogRow{{Op: op}, {Op: rows}, {Op: abroad}},
		Parked: []chat.ParkedRow{{Op: abroad}},
		Rows: chat.Rows{
			Messages: []chat.MessageRow{
				{Owner: ann, OwnerZone: "eu", ID: id(1), Sender: ann, Body: body},
				{Owner: bob, OwnerZone: "world", ID: id(1), Sender: ann, Body: body},
			},
			Changes: []chat.ChangeRow{{Owner: ann, OwnerZone: "eu", Target: id(1), Op: id(3), Kind: chat.ChangeEdit, User: ann, Body: body}},
		},
	}
}

// bodies reads every text of canaryBatch back.
func bodies(t *testing.T, s chat.Store) (texts [][]byte) {
	t.Helper()
	for _, owner := range []chat.UserID{ann, bob} {
		row, ok, err := s.Message(ctx, owner, chat.NoConversation, id(1))
		if err != nil || !ok {
			t.Fatalf("the message: ok %v, error %v", ok, err)
		}
		texts = append(texts, row.Body)
	}
	changes, err := s.Changes(ctx, ann, chat.NoConversation, id(1), id(1), 10)
	if err != nil || len(changes) != 1 {
		t.Fatalf("%d changes, error %v", len(changes), err)
	}
	texts = append(texts, changes[0].Body)
	ops, err := s.ReadLog(ctx, chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: 1}, 0, 9, "", 10)
	if err != nil || len(ops) != 2 {
		t.Fatalf("%d ops, error %v", len(ops), err)
	}
	texts = append(texts, ops[0].Body, ops[0].Unknown, ops[1].Rows.Messages[0].Body, ops[1].Rows.Changes[0].Body)
	foreign, err := s.ReadLog(ctx, chat.StreamID{Region: "ap-south", Node: "n1", Incarnation: 1}, 0, 9, "", 10)
	if err != nil || len(foreign) != 1 {
		t.Fatalf("%d foreign ops, error %v", len(foreign), err)
	}
	parked, err := s.Parked(ctx)
	if err != nil || len(parked) != 1 {
		t.Fatalf("%d parked ops, error %v", len(parked), err)
	}
	return append(texts, foreign[0].Body, foreign[0].Unknown, parked[0].Op.Body, parked[0].Op.Unknown)
}

// rawCodec puts an op's texts into the log as they are, besides JSON.
type rawCodec struct{ storetest.JSONCodec }

func (rawCodec) Append(dst []byte, op *chat.Op) []byte {
	dst = storetest.JSONCodec{}.Append(dst, op)
	dst = append(append(append(dst, '\n'), op.Body...), op.Unknown...)
	if op.Rows != nil {
		dst = append(append(dst, op.Rows.Messages[0].Body...), op.Rows.Changes[0].Body...)
	}
	return dst
}

func (rawCodec) Decode(b []byte) (chat.Op, error) {
	text, _, _ := bytes.Cut(b, []byte{'\n'})
	return storetest.JSONCodec{}.Decode(text)
}

// holding names the files under dir that hold text as it is.
func holding(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// No text is in the clear in any file of the store, neither log nor table, and the caller's rows stay in the clear; with
// sealing off the same search finds it in each kind of file, so it is not blind.
func TestNoPlaintextOnDisk(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		dir := t.TempDir()
		cfg := storetest.DefaultConfig()
		cfg.Codec = rawCodec{}
		p := &place{dir: dir, cfg: cfg}
		s, err := p.Open()
		wantCode(t, err, "")
		if !sealed {
			s = p.open
		}
		b := canaryBatch()
		wantCode(t, storetest.Commit(s, b), "")
		if d := cmp.Diff(canaryBatch(), b, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("the caller's rows were changed: %s", d)
		}
		inLog := holding(t, dir, canary)
		for n := 10; n < 400; n++ { // enough that the log becomes a table
			filler := chat.MessageRow{Owner: bob, OwnerZone: "eu", ID: id(n), Sender: bob, Body: make([]byte, 20_000)}
			if _, err := rand.Read(filler.Body); err != nil {
				t.Fatal(err)
			}
			wantCode(t, storetest.Commit(s, &chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{filler}}}), "")
		}
		wantCode(t, s.Checkpoint(ctx, p.CopyDir()), "")
		for i, text := range bodies(t, s) {
			if !bytes.Contains(text, []byte(canary)) {
				t.Fatalf("text %d reads as %q", i, text)
			}
		}
		wantCode(t, s.Close(), "")
		inAll := holding(t, dir, canary)
		if sealed && len(inLog)+len(inAll) > 0 {
			t.Fatalf("in the clear in %v %v", inLog, inAll)
		}
		tables := 0
		for _, name := range inAll {
			if filepath.Ext(name) == ".sst" {
				tables++
			}
		}
		if !sealed && (len(inLog) == 0 || filepath.Ext(inLog[0]) != ".log" || tables == 0) {
			t.Fatalf("with sealing off the search found %v, then %v", inLog, inAll)
		}
	}
}

// When an author's key is destroyed the bodies read as nil, and the rest of the page, and of the log, is there.
func TestErasedAuthor(t *testing.T) {
	k := newKeys()
	p := &place{dir: t.TempDir(), cfg: storetest.DefaultConfig()}
	_, err := p.Open()
	wantCode(t, err, "")
	defer p.Crash()
	sealer := newSealer(t, k)
	s := seal.Wrap(p.open, sealer)
	wantCode(t, storetest.Commit(s, canaryBatch()), "")
	other := chat.MessageRow{Owner: ann, OwnerZone: "eu", ID: id(2), Sender: bob, Body: []byte("still here")}
	wantCode(t, storetest.Commit(s, &chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{other}}}), "")
	k.destroy(ann, "eu")
	sealer.Forget(ann, "eu")
	rows, err := s.Messages(ctx, ann, chat.NoConversation, chat.NoMessage, 10)
	if err != nil || len(rows) != 2 || string(rows[0].Body) != "still here" || rows[1].Body != nil {
		t.Fatalf("rows %+v, error %v", rows, err)
	}
	gone := bodies(t, s)
	for i, want := range []bool{false, true, false, false, false, true, true, true, true, true, true} { // whether the text's zone is world
		if bytes.Contains(gone[i], []byte(canary)) != want || !want && gone[i] != nil {
			t.Fatalf("text %d reads as %q", i, gone[i])
		}
	}
}

// A zone key file is made once, for its owner only, and read back; of many that make it at once all get the same; a file
// that others may read, or that is no key, is refused.
func TestZoneKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets", "zone-eu.key")
	all := make([][seal.KeyBytes]byte, 16)
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() {
			key, err := seal.LoadOrCreateZoneKey(path)
			if err != nil {
				t.Error(err)
			}
			all[i] = key
		})
	}
	wait.Wait()
	for _, key := range all {
		if key != all[0] || key == [seal.KeyBytes]byte{} {
			t.Fatal("not all got the same key")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, error %v", info.Mode(), err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Fatalf("%d files are left", len(left))
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = seal.LoadOrCreateZoneKey(path)
	wantCode(t, err, chat.CodeInvalid)
	for _, text := range []string{"", "abc", "zz" + string(make([]byte, 62)), "00"} {
		if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		_, err = seal.LoadOrCreateZoneKey(path)
		wantCode(t, err, chat.CodeInvalid)
	}
}
