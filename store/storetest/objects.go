package storetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"meridian/chat"
)

// ObjectsFactory gives an empty store for one test; again opens it anew, after its process or server was ended without a word.
type ObjectsFactory func(t testing.TB) (store chat.Objects, again func() chat.Objects)

// RunObjects runs the suite of chat.Objects.
func RunObjects(t *testing.T, f ObjectsFactory) {
	tests := []struct {
		name string
		test func(*testing.T, ObjectsFactory)
	}{
		{"PutGet", testPutGet},
		{"Ranges", testRanges},
		{"WrongContent", testWrongContent},
		{"WrongKeys", testWrongKeys},
		{"Delete", testDeleteObject},
		{"List", testListObjects},
		{"AtOnce", testObjectsAtOnce},
		{"Survive", testObjectsSurvive},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, f) })
	}
}

// content gives bytes that look like nothing in particular, always the same for a seed.
func content(seed uint64, size int) []byte {
	rng := rand.New(rand.NewPCG(seed, 3))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func infoOf(key string, b []byte) chat.ObjectInfo {
	return chat.ObjectInfo{Key: key, Size: int64(len(b)), SHA256: sha256.Sum256(b)}
}

func putObject(t testing.TB, s chat.Objects, key string, b []byte) {
	t.Helper()
	must(t, s.Put(ctx, infoOf(key, b), bytes.NewReader(b)))
}

func wantObject(t testing.TB, s chat.Objects, key string, want []byte) {
	t.Helper()
	r, info, err := s.Get(ctx, key, 0, -1)
	must(t, err)
	have, err := io.ReadAll(r)
	must(t, errors.Join(err, r.Close()))
	if !bytes.Equal(have, want) || info != infoOf(key, want) {
		t.Fatalf("%s has %d bytes and %+v, want %d", key, len(have), info, len(want))
	}
}

func wantNoObject(t testing.TB, s chat.Objects, key string) {
	t.Helper()
	_, _, err := s.Get(ctx, key, 0, -1)
	wantCode(t, err, chat.CodeNotFound)
}

// What is put is got, whole, of any size; put again it is the same; other content replaces it.
func testPutGet(t *testing.T, f ObjectsFactory) {
	s, _ := f(t)
	for i, size := range []int{0, 1, 1000, 64 << 10, 3<<20 + 7} {
		key, b := fmt.Sprintf("sizes/%d", i), content(uint64(i), size)
		wantNoObject(t, s, key)
		putObject(t, s, key, b)
		wantObject(t, s, key, b)
		putObject(t, s, key, b)
		wantObject(t, s, key, b)
	}
	putObject(t, s, "sizes/3", content(9, 10))
	wantObject(t, s, "sizes/3", content(9, 10))
}

// A part of an object is got by offset and length; what lies outside is refused.
func testRanges(t *testing.T, f ObjectsFactory) {
	s, _ := f(t)
	b := content(1, 10_000)
	putObject(t, s, "a", b)
	for _, r := range [][3]int64{{0, 10, 10}, {5000, 10, 10}, {9990, 10, 10}, {9990, 100, 10}, {1, -1, 9999}, {0, 10_000, 10_000}, {10_000, -1, 0}, {10_000, 5, 0}, {7, 0, 0}} {
		part, info, err := s.Get(ctx, "a", r[0], r[1])
		must(t, err)
		have, err := io.ReadAll(part)
		must(t, errors.Join(err, part.Close()))
		if !bytes.Equal(have, b[r[0]:r[0]+r[2]]) || info.Size != 10_000 {
			t.Errorf("from %d, %d bytes: got %d of %d", r[0], r[1], len(have), info.Size)
		}
	}
	for _, r := range [][2]int64{{-1, 5}, {10_001, -1}, {0, -2}} {
		_, _, err := s.Get(ctx, "a", r[0], r[1])
		wantCode(t, err, chat.CodeInvalid)
	}
}

// Content that is not what was said is refused, whatever is wrong with it, and neither seen nor put in the place of what was there.
func testWrongContent(t *testing.T, f ObjectsFactory) {
	s, _ := f(t)
	old, b := content(1, 500), content(2, 100_000)
	other := slices.Clone(b)
	other[70_000]++
	putObject(t, s, "there", old)
	for _, key := range []string{"there", "new"} {
		for name, r := range map[string]io.Reader{
			"too short": bytes.NewReader(b[:99_999]), "too long": bytes.NewReader(append(slices.Clone(b), 1)), "another": bytes.NewReader(other),
			"none": strings.NewReader(""), "broken": io.MultiReader(bytes.NewReader(b[:50_000]), iotest.ErrReader(errors.New("the uploader has gone"))),
		} {
			if err := s.Put(ctx, infoOf(key, b), r); chat.CodeOf(err) != chat.CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := s.Put(ctx, infoOf("new", nil), strings.NewReader("x")); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("an empty one that is not: %v", err)
	}
	wantObject(t, s, "there", old)
	if list := got[[]chat.ObjectInfo](t)(s.List(ctx, "", "", 10)); len(list) > 2 || len(list) == 2 && list[0].Key != "new" {
		t.Errorf("there is %+v", list)
	}
	wantCode(t, s.Put(ctx, chat.ObjectInfo{Key: "huge", Size: chat.MaxObjectBytes + 1}, strings.NewReader("")), chat.CodeTooLarge)
	wantCode(t, s.Put(ctx, chat.ObjectInfo{Key: "less", Size: -1}, strings.NewReader("")), chat.CodeInvalid)
}

// A key that is none is refused by everything that takes one.
func testWrongKeys(t *testing.T, f ObjectsFactory) {
	s, _ := f(t)
	for _, key := range []string{
		"", "/", "/etc/passwd", "a/", "a//b", "../a", "a/../../b", "a/..", ".", "./a", "a\x00b", "a b", "ä", `a\b`, "a%2e", strings.Repeat("a", 201),
		strings.Repeat("a/", 256) + "a",
	} {
		wantCode(t, s.Put(ctx, infoOf(key, nil), strings.NewReader("")), chat.CodeInvalid)
		_, _, err := s.Get(ctx, key, 0, -1)
		wantCode(t, err, chat.CodeInvalid)
		wantCode(t, s.Delete(ctx, key), chat.CodeInvalid)
	}
	for _, key := range []string{"...", ".hidden", "a.d/b.o", "x.o", "x.d", "-", strings.Repeat("a", 200) + "/" + strings.Repeat("b", 200)} {
		putObject(t, s, key, []byte(key))
		wantObject(t, s, key, []byte(key))
	}
}

// What is deleted is gone; deleting what is not there is no error.
func testDeleteObject(t *testing.T, f ObjectsFactory) {
	s, _ := f(t)
	putObject(t, s, "a/b", []byte("one"))
	putObject(t, s, "a/c", []byte("two"))
	must(t, s.Delete(ctx, "a/b"))
	must(t, s.Delete(ctx, "a/b"))
	must(t, s.Delete(ctx, "never/there"))
	wantNoObject(t, s, "a/b")
	wantObject(t, s, "a/c", []byte("two"))
	putObject(t, s, "a/b", []byte("three"))
	wantObject(t, s, "a/b", []byte("three"))
}

// Objects are listed by prefix, page by page, in the order of the bytes of their keys, each once.
func testListObjects(t *testing.T, f ObjectsFactory) {
	s, _ := f(t)
	read := got[[]chat.ObjectInfo](t)
	same(t, "an empty store", read(s.List(ctx, "", "", 10)), []chat.ObjectInfo{})
	var keys []string
	for i := range 30 {
		keys = append(keys, fmt.Sprintf("p/%02d/x", i), fmt.Sprintf("p/%02d-y", i), fmt.Sprintf("q%d", i))
	}
	keys = append(keys, "p/05.z", "p/05/w/v", "p/050", "p-1", "p.1", "p0", "P")
	for i, key := range keys {
		putObject(t, s, key, content(1, i))
	}
	want := slices.Sorted(slices.Values(keys))
	for _, prefix := range []string{"", "p", "p/", "p/05", "p/05/", "q", "nothing"} {
		var have, with []string
		for after := ""; ; {
			page := read(s.List(ctx, prefix, after, 7))
			if len(page) == 0 {
				break
			}
			for _, o := range page {
				if int(o.Size) != slices.Index(keys, o.Key) {
					t.Errorf("%s has %d bytes", o.Key, o.Size)
				}
				have = append(have, o.Key)
			}
			after = page[len(page)-1].Key
		}
		for _, key := range want {
			if strings.HasPrefix(key, prefix) {
				with = append(with, key)
			}
		}
		same(t, "the keys with "+prefix, have, with)
	}
	for _, limit := range []int{0, -1, chat.MaxObjectPage + 1} {
		_, err := s.List(ctx, "", "", limit)
		wantCode(t, err, chat.CodeInvalid)
	}
}

// Of many who put one key at once each succeeds, and whoever reads meanwhile reads one of them, whole, or, where a server mixes them up,
// is told that it is none.
func testObjectsAtOnce(t *testing.T, f ObjectsFactory) {
	s, _ := f(t)
	const writers, each = 6, 8
	putObject(t, s, "key", content(0, 30_000))
	errs := make([]error, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for range each {
				b := content(uint64(w), 30_000+w)
				if err := s.Put(ctx, infoOf("key", b), bytes.NewReader(b)); err != nil {
					errs[w] = err
				}
			}
		})
	}
	for range each {
		r, info, err := s.Get(ctx, "key", 0, -1)
		must(t, err)
		b, err := io.ReadAll(r)
		must(t, r.Close())
		if chat.CodeOf(err) == chat.CodeRegionDegraded {
			continue
		}
		must(t, err)
		if sha256.Sum256(b) != info.SHA256 {
			t.Fatal("an object is read in parts of several")
		}
	}
	all.Wait()
	must(t, errors.Join(errs...))
	r, info, err := s.Get(ctx, "key", 0, -1)
	must(t, err)
	b, err := io.ReadAll(r)
	must(t, errors.Join(err, r.Close()))
	if w := int(info.Size) - 30_000; w < 0 || w >= writers || !bytes.Equal(b, content(uint64(w), 30_000+w)) {
		t.Fatalf("what is left is none of what was put: %d bytes", len(b))
	}
}

// What was put is there after a crash.
func testObjectsSurvive(t *testing.T, f ObjectsFactory) {
	s, again := f(t)
	for i := range 20 {
		putObject(t, s, fmt.Sprintf("dir/%d/x", i), content(uint64(i), 1000))
	}
	must(t, s.Delete(ctx, "dir/3/x"))
	s = again()
	for i := range 20 {
		if key := fmt.Sprintf("dir/%d/x", i); i == 3 {
			wantNoObject(t, s, key)
		} else {
			wantObject(t, s, key, content(uint64(i), 1000))
		}
	}
}
