package postgres

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"meridian/chat"
)

// migrationLock is the key of the advisory lock under which one node at a time looks at the schema.
const migrationLock = 0x6d65726964 // "merid"

// migrate brings the schema to the last of steps, in one transaction under a lock: a node that comes second finds it done, and
// a crash in between leaves the schema as it was.
func migrate(ctx context.Context, pool *pgxpool.Pool, steps []string, log *slog.Logger) error {
	const op = "postgres.migrate"
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// A node may wait for another's migration longer than any other statement takes.
		if _, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', $1, true)`, milliseconds(migrateTimeout)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
			return err
		}
		have, err := version(ctx, tx)
		if err != nil {
			return err
		}
		if have > len(steps) {
			return &chat.Error{
				Code: chat.CodeUpgradePending, Op: op,
				Message: fmt.Sprintf("the account store has schema %d, this build knows up to %d: start a newer build", have, len(steps)),
			}
		}
		for n := have + 1; n <= len(steps); n++ {
			if err := step(ctx, tx, n, steps[n-1]); err != nil {
				return fmt.Errorf("migration %d: %w", n, err)
			}
			log.Info("account store migrated", "schema", n)
		}
		return nil
	})
	if err != nil {
		return failure(op, err, false)
	}
	return nil
}

// version gives the schema's version, 0 for an empty database, and makes the table that holds it.
func version(ctx context.Context, tx pgx.Tx) (have int, err error) {
	_, err = tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS meridian_schema (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`)
	if err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM meridian_schema`).Scan(&have)
	return have, err
}

func step(ctx context.Context, tx pgx.Tx, n int, statements string) error {
	// A step holds several statements, without parameters: the simple protocol takes them at once.
	if _, err := tx.Conn().PgConn().Exec(ctx, statements).ReadAll(); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO meridian_schema (version) VALUES ($1)`, n)
	return err
}
