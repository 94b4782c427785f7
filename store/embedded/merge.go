package embedded

import (
	"bytes"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// newMerger combines the writes of one key when it is read or compacted, so that no commit has to read first. The rules
// do not depend on the order of the writes, nor on how often each is repeated. Its name is stored in the files: a change
// of a rule for values that are there needs a new name and a migration; new tables and flags need storeSchema.
func newMerger() *pebble.Merger {
	return &pebble.Merger{
		Name: "meridian.rows.1",
		Merge: func(key, value []byte) (pebble.ValueMerger, error) {
			return &rowMerger{table: key[0], value: append([]byte(nil), value...)}, nil
		},
	}
}

type rowMerger struct {
	table byte
	value []byte
}

func (m *rowMerger) MergeNewer(value []byte) error { return m.add(value) }
func (m *rowMerger) MergeOlder(value []byte) error { return m.add(value) }

func (m *rowMerger) add(value []byte) error {
	v, err := combine(m.table, m.value, value)
	if err != nil {
		return err
	}
	m.value = append(m.value[:0:0], v...)
	return nil
}

func (m *rowMerger) Finish(bool) ([]byte, io.Closer, error) { return m.value, nil, nil }

// combine gives the row that stands of two written under one key. It is commutative, associative and idempotent.
func combine(table byte, a, b []byte) ([]byte, error) {
	switch table {
	case tagMessage:
		return combineMessages(a, b)
	case tagConversation:
		return combineConversations(a, b)
	case tagSession:
		return combineSessions(a, b)
	case tagLogBucket:
		return combineLogBuckets(a, b)
	default:
		return larger(a, b), nil
	}
}

func larger(a, b []byte) []byte {
	if bytes.Compare(a, b) >= 0 {
		return a
	}
	return b
}

// combineMessages keeps an alias once it is set, the smallest if there are several, and of the rest the larger.
func combineMessages(a, b []byte) ([]byte, error) {
	const head = 1 + 16
	if len(a) < head || len(b) < head || a[0] != rowFormat || b[0] != rowFormat {
		_, err := open("messages", nil)
		return nil, err
	}
	var x, y chat.MessageID
	copy(x[:], a[1:])
	copy(y[:], b[1:])
	if x == chat.NoMessage || y != chat.NoMessage && y.Compare(x) < 0 {
		x = y
	}
	return slices.Concat(a[:1], x[:], larger(a[head:], b[head:])), nil
}

// combineConversations lets Last, Answered and Group grow; of two peers the one that says more stays.
func combineConversations(a, b []byte) ([]byte, error) {
	x, err := unpackConversation(chat.NoUser, chat.NoConversation, a)
	if err != nil {
		return nil, err
	}
	y, err := unpackConversation(chat.NoUser, chat.NoConversation, b)
	if err != nil {
		return nil, err
	}
	const head = 1 + 16 + 1
	if bytes.Compare(a[head:], b[head:]) < 0 {
		x.Peer = y.Peer
	}
	if x.Last.Compare(y.Last) < 0 {
		x.Last = y.Last
	}
	x.Answered, x.Group = x.Answered || y.Answered, x.Group || y.Group
	return packConversation(&x), nil
}

// combineSessions takes the newer version as a whole, but for Revoked, which never goes back.
func combineSessions(a, b []byte) ([]byte, error) {
	if len(a) < 2 || len(b) < 2 || a[0] != rowFormat || b[0] != rowFormat {
		_, err := open("sessions", nil)
		return nil, err
	}
	lastA, lastB := len(a)-1, len(b)-1
	return append(slices.Clone(larger(a[:lastA], b[:lastB])), a[lastA]|b[lastB]), nil
}

// logBucket is what a stretch of an op log holds.
type logBucket struct {
	time chat.HLC // the latest
	seq  uint64   // the largest
	to   []chat.Region
}

func (l *logBucket) add(time chat.HLC, seq uint64, to []chat.Region) {
	l.time, l.seq = max(l.time, time), max(l.seq, seq)
	for _, region := range to {
		if i, found := slices.BinarySearch(l.to, region); !found {
			l.to = slices.Insert(l.to, i, region)
		}
	}
}

func packLogBucket(l *logBucket) []byte {
	w := newValue(32 + 16*len(l.to))
	w.u64(uint64(l.time))
	w.u64(l.seq)
	w.regions(l.to)
	return w.b
}

func unpackLogBucket(v []byte) (logBucket, error) {
	r, err := open("oplog buckets", v)
	if err != nil {
		return logBucket{}, err
	}
	l := logBucket{time: chat.HLC(r.u64()), seq: r.u64(), to: r.regions()}
	return l, r.end("oplog buckets")
}

func combineLogBuckets(a, b []byte) ([]byte, error) {
	x, err := unpackLogBucket(a)
	if err != nil {
		return nil, err
	}
	y, err := unpackLogBucket(b)
	if err != nil {
		return nil, err
	}
	x.add(y.time, y.seq, y.to)
	return packLogBucket(&x), nil
}
