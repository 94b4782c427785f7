package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"meridian/chat"
)

// Account implements chat.Accounts.
func (s *Store) Account(ctx context.Context, id chat.UserID) (a chat.Account, ok bool, err error) {
	const op = "postgres.Account"
	ctx, cancel, err := s.begin(ctx, op)
	if err != nil {
		return a, false, err
	}
	defer cancel()
	var row []byte
	err = s.pool.QueryRow(ctx, `SELECT row FROM accounts WHERE id = $1`, [16]byte(id)).Scan(&row)
	if errors.Is(err, pgx.ErrNoRows) {
		return a, false, nil
	}
	if err != nil {
		return a, false, failure(op, err, false)
	}
	return a, true, decode(op, row, &a)
}

const sessionColumns = `SELECT row, revoked FROM sessions `

// Session implements chat.Accounts.
func (s *Store) Session(ctx context.Context, user chat.UserID, id chat.SessionID) (row chat.Session, ok bool, err error) {
	rows, err := s.sessions(ctx, "postgres.Session", sessionColumns+`WHERE user_id = $1 AND id = $2`, [16]byte(user), [16]byte(id))
	if err != nil || len(rows) == 0 {
		return row, false, err
	}
	return rows[0], true, nil
}

// Sessions implements chat.Accounts.
func (s *Store) Sessions(ctx context.Context, user chat.UserID) ([]chat.Session, error) {
	return s.sessions(ctx, "postgres.Sessions", sessionColumns+`WHERE user_id = $1 AND NOT revoked ORDER BY created_at DESC, id`, [16]byte(user))
}

func (s *Store) sessions(ctx context.Context, op, query string, args ...any) ([]chat.Session, error) {
	ctx, cancel, err := s.begin(ctx, op)
	if err != nil {
		return nil, err
	}
	defer cancel()
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, failure(op, err, false)
	}
	found, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (row chat.Session, err error) {
		var text []byte
		var revoked bool
		if err := r.Scan(&text, &revoked); err != nil {
			return row, err
		}
		err = decode(op, text, &row)
		row.Revoked = revoked
		return row, err
	})
	if err != nil {
		return nil, failure(op, err, false)
	}
	return found, nil
}

// AccountOwners implements chat.AccountStore. PostgreSQL orders UUIDs byte by byte, as ids are.
func (s *Store) AccountOwners(ctx context.Context, after chat.UserID, limit int) ([]chat.OwnerRow, error) {
	const op = "postgres.AccountOwners"
	if limit < 1 || limit > maxOwners {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "limit is out of bounds: 1 to 1000"}
	}
	ctx, cancel, err := s.begin(ctx, op)
	if err != nil {
		return nil, err
	}
	defer cancel()
	query, args := `SELECT id, zone FROM accounts WHERE id > $1 ORDER BY id LIMIT $2`, []any{[16]byte(after), limit}
	if after == chat.NoUser { // an id of zeros is one too
		query, args = `SELECT id, zone FROM accounts ORDER BY id LIMIT $1`, []any{limit}
	}
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, failure(op, err, false)
	}
	found, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (row chat.OwnerRow, err error) {
		err = r.Scan((*[16]byte)(&row.ID), (*string)(&row.Zone))
		return row, err
	})
	if err != nil {
		return nil, failure(op, err, false)
	}
	return found, nil
}

// Of two rows of one key the larger (version, row) stands; a session revoked once stays so.
const (
	saveAccount = `INSERT INTO accounts AS a (id, zone, version, row) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET zone = excluded.zone, version = excluded.version, row = excluded.row
		WHERE (excluded.version, excluded.row) > (a.version, a.row)`
	saveSession = `INSERT INTO sessions AS s (user_id, id, created_at, version, revoked, row) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (user_id, id) DO UPDATE SET
			created_at = CASE WHEN (excluded.version, excluded.row) > (s.version, s.row) THEN excluded.created_at ELSE s.created_at END,
			version = greatest(excluded.version, s.version),
			row = CASE WHEN (excluded.version, excluded.row) > (s.version, s.row) THEN excluded.row ELSE s.row END,
			revoked = s.revoked OR excluded.revoked
		WHERE (excluded.version, excluded.row) > (s.version, s.row) OR excluded.revoked AND NOT s.revoked`
)

// Save implements chat.AccountStore. The rows go in one round trip and one transaction, in the order of their keys, so that two
// nodes that save the same rows wait for each other and never both.
func (s *Store) Save(ctx context.Context, accounts []chat.Account, sessions []chat.Session) error {
	const op = "postgres.Save"
	if err := checkTimes(op, accounts, sessions); err != nil {
		return err
	}
	accounts, sessions = slices.Clone(accounts), slices.Clone(sessions)
	slices.SortFunc(accounts, func(a, b chat.Account) int { return slices.Compare(a.ID[:], b.ID[:]) })
	slices.SortFunc(sessions, func(a, b chat.Session) int {
		return cmp.Or(slices.Compare(a.User[:], b.User[:]), slices.Compare(a.ID[:], b.ID[:]))
	})
	var batch pgx.Batch
	for i := range accounts {
		a := &accounts[i]
		batch.Queue(saveAccount, [16]byte(a.ID), string(a.Zone), int64(a.Version), a.Encoded())
	}
	for i := range sessions {
		x := &sessions[i]
		batch.Queue(saveSession, [16]byte(x.User), [16]byte(x.ID), int64(x.CreatedAt), int64(x.Version), x.Revoked, x.Encoded())
	}
	if batch.Len() == 0 {
		return nil
	}
	ctx, cancel, err := s.begin(ctx, op)
	if err != nil {
		return err
	}
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return failure(op, err, false)
	}
	defer conn.Release()
	if err := conn.SendBatch(ctx, &batch).Close(); err != nil {
		return failure(op, err, true)
	}
	return nil
}

// checkTimes refuses times beyond a bigint: nothing in this world's next 290,000 years has one.
func checkTimes(op string, accounts []chat.Account, sessions []chat.Session) error {
	over := func(t chat.HLC) bool { return t > math.MaxInt64 }
	bad := slices.ContainsFunc(accounts, func(a chat.Account) bool { return over(a.Version) }) ||
		slices.ContainsFunc(sessions, func(s chat.Session) bool { return over(s.Version) || over(s.CreatedAt) })
	if bad {
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "a time is out of bounds"}
	}
	return nil
}

func decode(op string, row []byte, into any) error {
	if err := json.Unmarshal(row, into); err != nil {
		return &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: "a row of the account store is damaged", Cause: err, RetryAfter: retryAfter}
	}
	return nil
}
