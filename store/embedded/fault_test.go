package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"meridian/chat"
	"meridian/store/embedded"
	"meridian/store/storetest"
)

var ctx = context.Background()

// fault makes the file system fail: calls of the kinds on files with the suffix.
type fault struct {
	kinds  []errorfs.OpKind
	suffix string
	err    error
}

// faulty is a memory file system in which a fault can be switched on and off.
type faulty struct {
	mem *vfs.MemFS
	now atomic.Pointer[fault]
}

func newFaulty() *faulty { return &faulty{mem: vfs.NewCrashableMem()} }

func (f *faulty) fs() vfs.FS {
	return errorfs.Wrap(f.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		now := f.now.Load()
		if now == nil || now.suffix != "" && !strings.Contains(op.Path, now.suffix) {
			return nil
		}
		if slices.Contains(now.kinds, op.Kind) {
			return now.err
		}
		return nil
	}))
}

func faultyOptions(fs vfs.FS) embedded.Options {
	o := options("/data/store", storetest.DefaultConfig())
	o.FS = fs
	return o
}

func mustOpen(t testing.TB, o embedded.Options) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abandon)
	return s
}

func user(n int) (id chat.UserID) {
	id[0], id[15] = 1, byte(n)
	return id
}

func messageID(n int) chat.MessageID {
	return chat.NewMessageID(chat.HLC(1_700_000_000_000_000+n), user(1), chat.ClientID{byte(n)})
}

// send is a batch with a body of so many bytes.
func send(n, size int) *chat.Batch {
	return &chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{{
		Owner: user(1), OwnerZone: "world", ID: messageID(n), Sender: user(1), Body: []byte(strings.Repeat("x", size)),
	}}}}
}

func has(t testing.TB, s chat.Store, n int) bool {
	t.Helper()
	_, ok, err := s.Message(ctx, user(1), chat.NoConversation, messageID(n))
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return ok
}

func wantCode(t testing.TB, err error, codes ...chat.Code) {
	t.Helper()
	for _, code := range codes {
		if chat.CodeOf(err) == code {
			return
		}
	}
	t.Fatalf("error is %v, want one of %v", err, codes)
}

// When the log cannot be written or synced, the batch in hand has an unknown outcome, later ones are refused with the
// reason, what was acknowledged is still read, nothing unacknowledged is, and the process lives; opened again, all
// that was acknowledged is there.
func TestLogFailure(t *testing.T) {
	faults := map[string]fault{
		"write, disk full": {[]errorfs.OpKind{errorfs.OpFileWrite}, ".log", syscall.ENOSPC},
		"sync, disk full":  {[]errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData}, ".log", syscall.ENOSPC},
		"write, broken":    {[]errorfs.OpKind{errorfs.OpFileWrite}, ".log", syscall.EIO},
		"sync, broken":     {[]errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}, "", syscall.EIO},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			fs := newFaulty()
			s := mustOpen(t, faultyOptions(fs.fs()))
			for n := range 20 {
				if err := storetest.Commit(s, send(n, 100)); err != nil {
					t.Fatal(err)
				}
			}
			fs.now.Store(&f)
			wantCode(t, storetest.Commit(s, send(20, 100)), chat.CodeUnknownOutcome)
			refused := chat.CodeRegionDegraded
			if errors.Is(f.err, syscall.ENOSPC) {
				refused = chat.CodeStoreFull
			}
			wantCode(t, storetest.Commit(s, send(21, 100)), refused)
			_, err := s.InsertKey(ctx, chat.KeyRow{Author: user(1), Zone: "eu"})
			wantCode(t, err, refused)
			checkReadable(t, s, 20)
			fs.now.Store(nil)
			wantCode(t, storetest.Commit(s, send(22, 100)), refused)
			s.Abandon()
			s = mustOpen(t, faultyOptions(fs.mem.CrashClone(vfs.CrashCloneCfg{})))
			for n := range 20 {
				if !has(t, s, n) {
					t.Fatalf("message %d was acknowledged and is gone", n)
				}
			}
			if has(t, s, 21) || has(t, s, 22) {
				t.Fatal("a refused message is there")
			}
		})
	}
}

// checkReadable reads messages 0 to n-1, one by one and as a page, and sees no other.
func checkReadable(t *testing.T, s chat.Store, n int) {
	t.Helper()
	rows, err := s.Messages(ctx, user(1), chat.NoConversation, chat.NoMessage, 1000)
	if err != nil || len(rows) != n {
		t.Fatalf("%d messages are read, want %d; error %v", len(rows), n, err)
	}
	for i := range n {
		if !has(t, s, i) {
			t.Fatalf("message %d cannot be read", i)
		}
	}
}

// When a new log or the manifest cannot be written, in the middle of the change from one to the next, the process lives
// and everything acknowledged is read before and after opening again.
func TestRotationFailure(t *testing.T) {
	faults := map[string]fault{
		"no new log":     {[]errorfs.OpKind{errorfs.OpCreate, errorfs.OpReuseForWrite}, ".log", syscall.ENOSPC},
		"manifest write": {[]errorfs.OpKind{errorfs.OpFileWrite}, "MANIFEST", syscall.ENOSPC},
		"manifest sync":  {[]errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData}, "MANIFEST", syscall.EIO},
		"all writes":     {[]errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpCreate}, "", syscall.ENOSPC},
		"directory gone": {[]errorfs.OpKind{errorfs.OpCreate, errorfs.OpReuseForWrite, errorfs.OpOpenDir}, "", syscall.ENOENT},
		"removing fails": {[]errorfs.OpKind{errorfs.OpRemove}, "", syscall.EIO},
		"table writes":   {[]errorfs.OpKind{errorfs.OpFileWrite}, ".sst", syscall.ENOSPC},
		"no new table":   {[]errorfs.OpKind{errorfs.OpCreate}, ".sst", syscall.EIO},
		"table sync":     {[]errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData}, ".sst", syscall.EIO},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			fs := newFaulty()
			s := mustOpen(t, faultyOptions(fs.fs()))
			acked := 0
			for ; acked < 50; acked++ {
				if err := storetest.Commit(s, send(acked, 10_000)); err != nil {
					t.Fatal(err)
				}
			}
			fs.now.Store(&f)
			failed := error(nil)
			for n := 50; n < 900 && failed == nil; n++ { // several times what a memory table holds
				if failed = storetest.Commit(s, send(n, 20_000)); failed == nil {
					acked++
				}
			}
			if failed != nil {
				wantCode(t, failed, chat.CodeUnknownOutcome, chat.CodeStoreFull, chat.CodeRegionDegraded)
			}
			t.Logf("%d acknowledged, then: %v", acked, failed)
			checkReadable(t, s, acked)
			fs.now.Store(nil)
			s.Abandon()
			s = mustOpen(t, faultyOptions(fs.mem.CrashClone(vfs.CrashCloneCfg{})))
			for n := range acked {
				if !has(t, s, n) {
					t.Fatalf("message %d of %d was acknowledged and is gone", n, acked)
				}
			}
		})
	}
}

// While tables cannot be written the store refuses writes; when they can be again it takes them, without being opened anew.
func TestTableFailureHeals(t *testing.T) {
	fs := newFaulty()
	s := mustOpen(t, faultyOptions(fs.fs()))
	fs.now.Store(&fault{[]errorfs.OpKind{errorfs.OpCreate}, ".sst", syscall.ENOSPC})
	var err error
	n := 0
	for ; n < 2000 && err == nil; n++ {
		err = storetest.Commit(s, send(n, 20_000))
	}
	wantCode(t, err, chat.CodeStoreFull)
	fs.now.Store(nil)
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err = storetest.Commit(s, send(n, 100)); err == nil {
			break
		}
		wantCode(t, err, chat.CodeStoreFull)
		if time.Now().After(end) {
			t.Fatal("still refused after a minute")
		}
	}
	rows, err := s.Messages(ctx, user(1), chat.NoConversation, chat.NoMessage, 1000)
	if err != nil || len(rows) != n || !has(t, s, n) || has(t, s, n-1) {
		t.Fatalf("%d messages are read, want all but the refused one of %d; error %v", len(rows), n+1, err)
	}
}

// Below the reserve of free space writes are refused before they touch the disk, sweeping is not, and when space is back
// so are the writes.
func TestReserve(t *testing.T) {
	mem := vfs.NewMem()
	o := faultyOptions(mem)
	o.ReserveBytes = 1000
	o.Retention.Inbox = time.Hour
	s := mustOpen(t, o)
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 999, TotalBytes: 1 << 30})
	until := func(code chat.Code) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			err := storetest.Commit(s, send(1, 10))
			if chat.CodeOf(err) == code {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("error is %v, want code %q", err, code)
			}
		}
	}
	until(chat.CodeStoreFull)
	_, err := s.Reserve(ctx, chat.Claim{Zone: "eu"})
	wantCode(t, err, chat.CodeStoreFull)
	if _, err := s.Sweep(ctx, 1); err != nil {
		t.Fatalf("sweep: %v", err)
	}
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1000, TotalBytes: 1 << 30})
	until("")
	if !has(t, s, 1) {
		t.Fatal("the message is not there")
	}
}

// A store that cannot be made for lack of space says so.
func TestOpenOnFullDisk(t *testing.T) {
	for _, suffix := range []string{".log", "MANIFEST", "marker", "OPTIONS", ".dbtmp", ""} {
		fs := newFaulty()
		fs.now.Store(&fault{[]errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpCreate}, suffix, fmt.Errorf("write: %w", syscall.ENOSPC)})
		s, err := embedded.Open(faultyOptions(fs.fs()))
		if err == nil { // Pebble makes no such file here
			s.Abandon()
			t.Logf("%q: opened", suffix)
			continue
		}
		wantCode(t, err, chat.CodeStoreFull)
		fs.now.Store(nil)
		mustOpen(t, faultyOptions(fs.fs()))
	}
}
