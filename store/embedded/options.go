package embedded

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"meridian/chat"
)

// Options say where a store lives and what it may take. Dir, Region and Codec are required.
type Options struct {
	// Dir is the directory; it is made when missing and belongs to one open store at a time.
	Dir    string
	Region chat.Region
	// Node is whose handle Open gives; "" for a process that only lends handles to nodes (Store.Node).
	Node chat.NodeID
	// Codec turns the ops of the op log into bytes.
	Codec chat.OpCodec
	// CacheBytes of memory hold blocks of tables; while few writes wait, up to two of MemTableBytes more. 0: 64 MiB.
	CacheBytes int64
	// MemTableBytes of memory gather writes before they become a table; up to five such buffers exist. 0: 64 MiB.
	MemTableBytes int64
	// ReserveBytes of free space on Dir's disk are left alone: below them writes are refused with CodeStoreFull. 0: none.
	ReserveBytes int64
	Retention    Retention
	// FS is the file system; nil: the machine's.
	FS vfs.FS
	// Log gets what happens in the background; nil: nothing is logged.
	Log     *slog.Logger
	Metrics Metrics

	// noSync leaves out every fsync, so that tests can see that they notice.
	noSync bool
}

// Retention says how long Sweep keeps what expires; 0: for ever. What expires goes in whole buckets: inbox entries and
// ops of an op log up to a day late, retries up to 15 days late.
type Retention struct {
	Inbox   time.Duration
	OpLog   time.Duration
	Retries time.Duration
}

// Metrics are told what happens; each may be nil. They are called on the write path and must return at once.
type Metrics struct {
	// Committed: so many batches of so many bytes became durable with one fsync, which took that long.
	Committed func(batches, bytes int, took time.Duration)
	// Refused: so many batches were refused or failed with that code.
	Refused func(batches int, code chat.Code)
}

const (
	defaultCacheBytes    = 64 << 20
	defaultMemTableBytes = 64 << 20
	// minMemTableBytes keeps a group of batches (maxGroupBytes) well below what Pebble would treat as a table of its own.
	minMemTableBytes = 4 << 20
	// cachedMemTables: Pebble takes its write buffers out of the cache's size, so a cache that is no larger than they are
	// caches nothing.
	cachedMemTables = 2
	// neverStall is above what Pebble could reach: it would wait for ever for a disk that stays full. The store holds the
	// writers back itself (pressure.go).
	neverStall   = 1000
	maxOpenFiles = 500
)

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" || o.Region == "" || o.Codec == nil || len(o.Region) > chat.MaxNameBytes || len(o.Node) > chat.MaxNameBytes {
		return o, &chat.Error{Code: chat.CodeInvalid, Op: "embedded.Open", Message: "Dir, Codec and Region are required; names have at most 255 bytes"}
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.MemTableBytes <= 0 {
		o.MemTableBytes = defaultMemTableBytes
	}
	o.MemTableBytes = max(o.MemTableBytes, minMemTableBytes)
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics.Committed == nil {
		o.Metrics.Committed = func(int, int, time.Duration) {}
	}
	if o.Metrics.Refused == nil {
		o.Metrics.Refused = func(int, chat.Code) {}
	}
	return o, nil
}

// pebble gives the options of the engine.
func (o Options) pebble(g *gate, turned *atomic.Bool, lock *pebble.Lock) *pebble.Options {
	e := &pebble.Options{
		FS:   g,
		Lock: lock,
		// With sync offsets in the log, damage before the last fsync is told from a torn tail, and refused.
		FormatMajorVersion:          pebble.FormatWALSyncChunks,
		Merger:                      newMerger(),
		CacheSize:                   o.CacheBytes + cachedMemTables*o.MemTableBytes,
		MemTableSize:                uint64(o.MemTableBytes),
		MemTableStopWritesThreshold: neverStall,
		L0StopWritesThreshold:       neverStall,
		MaxOpenFiles:                maxOpenFiles,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      engineLog{log: o.Log, gate: g},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { o.Log.Error("store: background work failed", "dir", o.Dir, "err", err) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				o.Log.Error("store: damaged file", "dir", o.Dir, "file", info.Path, "err", info.Details)
			},
			WALCreated: func(pebble.WALCreateInfo) { turned.Store(true) }, // a log per memory buffer
		},
	}
	for i := range e.Levels {
		e.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return e
}

// engineLog passes Pebble's words on. Fatalf is what Pebble calls when it cannot go on.
type engineLog struct {
	log  *slog.Logger
	gate *gate
}

func (l engineLog) Infof(format string, args ...any) {
	l.log.Debug("pebble", "text", sprint(format, args))
}

func (l engineLog) Errorf(format string, args ...any) {
	l.log.Error("pebble", "text", sprint(format, args))
}

// Fatalf may not return. With the gate no failing disk leads here, only a defect of the engine or damage that it finds in
// the middle of a change; the store is shut first, so that nothing is made worse.
func (l engineLog) Fatalf(format string, args ...any) {
	err := engineFailed{sprint(format, args)}
	l.log.Error("pebble: fatal", "text", err.text)
	l.gate.shut(err)
	panic(err)
}
