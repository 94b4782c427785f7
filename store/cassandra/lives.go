package cassandra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// selfRegion is the row of table self that names the region.
const selfRegion = "region"

// ensureRegion refuses a keyspace that is another region's; an empty one becomes this region's.
func (s *Store) ensureRegion(ctx context.Context) error {
	for range 2 {
		_, region, err := s.self(ctx, selfRegion)
		switch {
		case err != nil:
			return openError("asking whose keyspace it is", err)
		case region == string(s.opts.Region):
			return nil
		case region != "":
			return &chat.Error{Code: chat.CodeInvalid, Op: "cassandra.Open", Message: fmt.Sprintf(
				"keyspace %s belongs to region %s; this is region %s", s.opts.Keyspace, region, s.opts.Region)}
		}
		// Of two regions at once the larger name stands, and the other finds it when it looks again.
		if err := s.write("cassandra.Open", []statement{{setSelf, []any{selfRegion, gocql.UnsetValue, string(s.opts.Region), fixed}}}); err != nil {
			return err
		}
	}
	return openError("naming the keyspace's region", errors.New("what was written is not there"))
}

// self reads a row of table self.
func (s *Store) self(ctx context.Context, name string) (value int64, word string, err error) {
	q := s.read(ctx, selectSelf, name)
	defer q.Release()
	if err := q.Scan(&value, &word); err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return 0, "", err
	}
	return value, word, nil
}

// lives are the rows of table lives as they stand.
type lives struct {
	version int64
	begun   bool // there is a version
	rows    []chat.NodeRow
}

// latest gives the life of a node with the largest incarnation.
func (l *lives) latest(node chat.NodeID) (row chat.NodeRow, ok bool) {
	for _, r := range l.rows {
		if r.Stream.Node == node && (!ok || r.Stream.Incarnation > row.Stream.Incarnation) {
			row, ok = r, true
		}
	}
	return row, ok
}

func (l *lives) of(stream chat.StreamID) (row chat.NodeRow, ok bool) {
	for _, r := range l.rows {
		if r.Stream == stream {
			return r, true
		}
	}
	return row, false
}

func (s *Store) readLives(ctx context.Context) (lives, error) {
	var out lives
	it := serial(s.read(ctx, selectLives, shardOne)).Iter()
	var node, adopter string
	var incarnation, until, low *int64
	var version int64
	for it.Scan(&node, &incarnation, &version, &until, &low, &adopter) {
		out.version, out.begun = version, true
		if incarnation != nil {
			row := chat.NodeRow{Stream: chat.StreamID{Region: s.opts.Region, Node: chat.NodeID(node), Incarnation: chat.Incarnation(*incarnation)}, AdoptedBy: chat.NodeID(adopter)}
			row.Until, row.Low = chat.HLC(or(until)), chat.HLC(or(low))
			out.rows = append(out.rows, row)
		}
		node, adopter, incarnation, until, low = "", "", nil, nil, nil
	}
	slices.SortFunc(out.rows, func(a, b chat.NodeRow) int { return compareStreams(a.Stream, b.Stream) })
	return out, it.Close()
}

func or(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func compareStreams(a, b chat.StreamID) int {
	return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Incarnation, b.Incarnation))
}

// maxDecisions bounds how often a decision is taken again because another came first.
const maxDecisions = 100

// decide changes one life by a decision on all of them as they stand; f gives the row to write, or none. Where another
// decision came first, it is taken again.
func (s *Store) decide(ctx context.Context, op string, f func(l *lives) (*chat.NodeRow, error)) error {
	lock := s.deciding.of(nil)
	lock.Lock()
	defer lock.Unlock()
	for try := range maxDecisions {
		if err := s.ready(op); err != nil {
			return err
		}
		l, err := s.readLives(ctx)
		if err != nil && again(err) && pause(ctx, try) == nil {
			continue
		}
		if err != nil {
			return readError(ctx, op, err)
		}
		row, err := f(&l)
		if err != nil || row == nil {
			return err
		}
		done, err := s.change(ctx, &l, row)
		if done || err != nil && !again(err) {
			return s.writeError(op, err)
		}
		if err := pause(ctx, try); err != nil {
			return readError(ctx, op, err)
		}
	}
	return &chat.Error{Code: chat.CodeBusy, Op: op, Message: "too many decide at once", RetryAfter: retryAfter}
}

// again says that a conditional write may have happened or not, or that a look at what stands was held up by others who decide: the next
// look tells.
func again(err error) bool {
	var answered gocql.RequestError
	if !errors.As(err, &answered) {
		return false
	}
	switch answered.Code() {
	case gocql.ErrCodeWriteTimeout, gocql.ErrCodeReadTimeout, gocql.ErrCodeCASWriteUnknown:
		return true
	}
	return false
}

// change writes a life if the version still stands.
func (s *Store) change(ctx context.Context, l *lives, row *chat.NodeRow) (bool, error) {
	if !l.begun {
		was := map[string]any{}
		if _, err := s.query(ctx, firstVersion, shardOne, int64(1)).MapScanCAS(was); err != nil {
			return false, err
		}
		return false, nil // look again
	}
	q := s.query(ctx, updateLife, l.version+1, int64(row.Until), int64(row.Low), string(row.AdoptedBy), shardOne, string(row.Stream.Node),
		int64(row.Stream.Incarnation), l.version)
	return q.MapScanCAS(map[string]any{})
}

// ensureLife begins the node's first life where it has none, and works in its latest.
func (s *Store) ensureLife(ctx context.Context) error {
	const op = "cassandra.Open"
	first := chat.StreamID{Region: s.opts.Region, Node: s.opts.Node, Incarnation: 1}
	high, err := s.highest(ctx)
	if err != nil {
		return readError(ctx, op, err)
	}
	err = s.decide(ctx, op, func(l *lives) (*chat.NodeRow, error) {
		if row, ok := l.latest(s.opts.Node); ok {
			s.incarnation.Store(uint64(row.Stream.Incarnation))
			return nil, nil
		}
		s.incarnation.Store(1)
		return &chat.NodeRow{Stream: first}, s.raise(first, high)
	})
	if err != nil {
		return err
	}
	id, err := s.Identity(ctx)
	if err == nil {
		s.known.durable(&writes{life: s.life(), highWater: id.HighWater})
	}
	return err
}

// highest gives the largest high-water mark of all lives.
func (s *Store) highest(ctx context.Context) (chat.HLC, error) {
	it := s.read(ctx, selectHighWaters, shardOne).Iter()
	var mark, high int64
	for it.Scan(&mark) {
		high = max(high, mark)
	}
	return chat.HLC(high), it.Close()
}

// raise moves a life's high-water mark.
func (s *Store) raise(life chat.StreamID, to chat.HLC) error {
	if to == 0 {
		return nil
	}
	return s.write("cassandra.NewIncarnation", []statement{{insertHighWater, []any{shardOne, string(life.Node), int64(life.Incarnation), int64(to), int64(to)}}})
}

// Identity implements chat.Store: of the life that the handle works in.
func (s *Store) Identity(ctx context.Context) (chat.Identity, error) {
	row := chat.NodeRow{Stream: s.life()}
	if err := s.fill(ctx, &row); err != nil {
		return chat.Identity{}, readError(ctx, "cassandra.Identity", err)
	}
	return chat.Identity{Region: s.opts.Region, Node: s.opts.Node, Incarnation: row.Stream.Incarnation, HighWater: row.HighWater, LastSeq: row.LastSeq}, nil
}

// fill adds to a life what other tables say.
func (s *Store) fill(ctx context.Context, row *chat.NodeRow) (err error) {
	var mark int64
	q := s.read(ctx, selectHighWater, shardOne, string(row.Stream.Node), int64(row.Stream.Incarnation))
	if err := q.Scan(&mark); err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return err
	}
	row.HighWater = chat.HLC(mark)
	row.LastSeq, err = s.lastSeq(ctx, row.Stream)
	return err
}

// NewIncarnation implements chat.Store. The handle works in the new life from then on.
func (s *Store) NewIncarnation(ctx context.Context, least chat.Incarnation) (chat.Identity, error) {
	const op = "cassandra.NewIncarnation"
	high, err := s.highest(ctx)
	if err != nil {
		return chat.Identity{}, readError(ctx, op, err)
	}
	var life chat.StreamID
	err = s.decide(ctx, op, func(l *lives) (*chat.NodeRow, error) {
		had, _ := l.latest(s.opts.Node)
		life = chat.StreamID{Region: s.opts.Region, Node: s.opts.Node, Incarnation: max(least, had.Stream.Incarnation+1)}
		return &chat.NodeRow{Stream: life}, s.raise(life, high)
	})
	if err != nil {
		return chat.Identity{}, err
	}
	s.incarnation.Store(uint64(life.Incarnation))
	s.known.durable(&writes{life: life, highWater: high})
	return s.Identity(ctx)
}

// Renew implements chat.Nodes.
func (s *Store) Renew(ctx context.Context, until, low chat.HLC) error {
	const op = "cassandra.Renew"
	life := s.life()
	return s.decide(ctx, op, func(l *lives) (*chat.NodeRow, error) {
		row, ok := l.of(life)
		latest, _ := l.latest(life.Node)
		switch {
		case !ok || latest.Stream != life:
			return nil, conflict(op, "this life of the node has ended: there is a later one")
		case row.AdoptedBy != "":
			return nil, conflict(op, "node "+string(row.AdoptedBy)+" has adopted this life")
		}
		row.Until, row.Low = chat.LeaseEnd(row.Until, until), max(row.Low, low)
		return &row, nil
	})
}

func conflict(op, message string) error {
	return &chat.Error{Code: chat.CodeVersionConflict, Op: op, Message: message}
}

// endedFor is how long it is believed what other tables say of a life that was adopted: nodes ask several times a second, and of an ended
// life it changes only by a sweep, or by what comes late and is read from the op log itself.
const endedFor = 30 * time.Second

// endedLives are what is believed. Safe for concurrent use.
type endedLives struct {
	mu   sync.Mutex
	rows map[chat.StreamID]endedLife
}

type endedLife struct {
	high chat.HLC
	last uint64
	gone bool // nothing is left of its op log
	read time.Time
}

func (e *endedLives) get(stream chat.StreamID, now time.Time) (endedLife, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l, ok := e.rows[stream]
	return l, ok && (l.gone || now.Sub(l.read) < endedFor)
}

func (e *endedLives) put(stream chat.StreamID, l endedLife) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rows == nil {
		e.rows = make(map[chat.StreamID]endedLife)
	}
	e.rows[stream] = l
}

// Nodes implements chat.Nodes.
func (s *Store) Nodes(ctx context.Context) ([]chat.NodeRow, error) {
	const op = "cassandra.Nodes"
	if err := s.ready(op); err != nil {
		return nil, err
	}
	l, err := s.readLives(ctx)
	if err != nil {
		return nil, readError(ctx, op, err)
	}
	var found []chat.NodeRow
	for i, row := range l.rows {
		later := i+1 < len(l.rows) && l.rows[i+1].Stream.Node == row.Stream.Node
		there, err := s.told(ctx, &row, later && row.AdoptedBy != "")
		if err != nil {
			return nil, readError(ctx, op, err)
		}
		if there {
			found = append(found, row)
		}
	}
	return found, nil
}

// told fills a row, and says whether it is told of: of an ended life only while something is left of its op log.
func (s *Store) told(ctx context.Context, row *chat.NodeRow, ended bool) (bool, error) {
	if !ended {
		return true, s.fill(ctx, row)
	}
	now := time.Now()
	l, known := s.ended.get(row.Stream, now)
	if !known {
		left, err := s.lastRow(ctx, row.Stream)
		if err == nil && left > 0 {
			err = s.fill(ctx, row)
		}
		if err != nil {
			return false, err
		}
		l = endedLife{high: row.HighWater, last: row.LastSeq, gone: left == 0, read: now}
		s.ended.put(row.Stream, l)
	}
	row.HighWater, row.LastSeq = l.high, l.last
	return !l.gone, nil
}

// Adopt implements chat.Nodes. The error has CodeInvalid for a life that is not known.
func (s *Store) Adopt(ctx context.Context, life chat.StreamID, now chat.HLC) (chat.NodeRow, error) {
	const op = "cassandra.Adopt"
	var adopted chat.NodeRow
	err := s.decide(ctx, op, func(l *lives) (*chat.NodeRow, error) {
		row, ok := l.of(life)
		if !ok {
			return nil, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "no such life"}
		}
		if err := s.adoptable(l, &row, now); err != nil {
			return nil, err
		}
		had := row.AdoptedBy == s.opts.Node
		row.AdoptedBy = s.opts.Node
		adopted = row
		if had {
			return nil, nil
		}
		return &row, nil
	})
	if err != nil {
		return chat.NodeRow{}, err
	}
	err = s.fill(ctx, &adopted)
	return adopted, readError(ctx, op, err)
}

// adoptable says whether this node may answer for a life.
func (s *Store) adoptable(l *lives, row *chat.NodeRow, now chat.HLC) error {
	const op = "cassandra.Adopt"
	own, _ := l.latest(row.Stream.Node)
	switch {
	case row.Stream.Node == s.opts.Node && row.Stream == own.Stream:
		return conflict(op, "a node does not adopt the life that it leads")
	case row.AdoptedBy == s.opts.Node:
		return nil
	case row.AdoptedBy == "" && row.Until >= now:
		return conflict(op, "the life's lease still runs")
	case row.AdoptedBy == "":
		return nil
	}
	if leads, _ := l.latest(row.AdoptedBy); leads.Until >= now {
		return conflict(op, "node "+string(row.AdoptedBy)+" has adopted the life, and its lease still runs")
	}
	return nil
}
