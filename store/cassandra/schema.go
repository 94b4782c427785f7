package cassandra

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
)

//go:embed migrations/*.cql
var migrationFiles embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version int
	Name    string
	// Statements as they are sent, with the options of the plan filled in.
	Statements []string
	sum        string
}

// SchemaPlan is what Apply would do.
type SchemaPlan struct {
	Keyspace string
	// Have is the version of the keyspace, 0 where there is none; Want is this version's.
	Have, Want int
	// Missing are the steps between them; with Have > Want there are none, and the schema is newer than this version.
	Missing []Migration
}

// tableOptions are what all tables have in common. Tombstones are kept for ten days: repair more often than that.
const tableOptions = `compaction = {'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'T4', 'expired_sstable_check_frequency_seconds': '600'}
  AND gc_grace_seconds = 864000`

// ttlSlack is kept beyond a retention: what expires whole is cut off by Sweep, and gone from the disk some time later.
const ttlSlack = 20 * 24 * time.Hour

// maxTTL is Cassandra's, 20 years.
const maxTTL = 20 * 365 * 24 * time.Hour

func ttlSeconds(keep time.Duration) string {
	if keep <= 0 || keep > maxTTL-ttlSlack {
		return "0"
	}
	return strconv.Itoa(int((keep + ttlSlack) / time.Second))
}

// migrations gives all steps, in order.
func migrations(keep Retention) ([]Migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.cql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	fill := strings.NewReplacer("%OPTIONS%", tableOptions, "%TTL_INBOX%", ttlSeconds(keep.Inbox), "%TTL_RETRIES%", ttlSeconds(keep.Retries))
	var steps []Migration
	for i, name := range names {
		raw, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		base := strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".cql")
		number, title, _ := strings.Cut(base, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s: files are numbered 0001_name.cql on, without gaps", name)
		}
		sum := sha256.Sum256(raw)
		steps = append(steps, Migration{Version: version, Name: title, Statements: statementsOf(string(raw), fill), sum: hex.EncodeToString(sum[:8])})
	}
	return steps, nil
}

// statementsOf splits a file, whose comments stand on lines of their own, and fills its statements.
func statementsOf(file string, fill *strings.Replacer) []string {
	var lines []string
	for line := range strings.Lines(file) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			lines = append(lines, line)
		}
	}
	var out []string
	for _, one := range strings.Split(strings.Join(lines, ""), ";") {
		if one = strings.TrimSpace(one); one != "" {
			out = append(out, fill.Replace(one))
		}
	}
	return out
}

// Schema works on the schema of a keyspace, as a role that may change it.
type Schema struct {
	opts    Options
	replica int
}

// NewSchema makes a Schema; replicas is how many nodes of o.Datacenter keep each row.
func NewSchema(o Options, replicas int) (*Schema, error) {
	o, err := o.withDefaults()
	if err == nil && (replicas < 1 || o.Datacenter == "" || !plainName(o.Keyspace) || !plainName(o.Datacenter)) {
		err = &chat.Error{Code: chat.CodeInvalid, Op: "cassandra.NewSchema", Message: "a schema needs a data centre, at least one replica, and names of letters, digits, _ and -"}
	}
	o.ReadTimeout, o.WriteTimeout = max(o.ReadTimeout, schemaTimeout), max(o.WriteTimeout, schemaTimeout)
	return &Schema{opts: o, replica: replicas}, err
}

// plainName: names stand in statements, where they cannot be bound.
func plainName(s string) bool {
	ok := func(r rune) bool {
		return r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	return s != "" && len(s) <= 48 && !strings.ContainsFunc(s, func(r rune) bool { return !ok(r) })
}

// Plan says what Apply would do. It changes nothing.
func (s *Schema) Plan(ctx context.Context) (SchemaPlan, error) {
	session, err := cluster(s.opts, "").CreateSession()
	if err != nil {
		return SchemaPlan{}, openError("planning the schema", err)
	}
	defer session.Close()
	return s.plan(ctx, session)
}

func (s *Schema) plan(ctx context.Context, session *gocql.Session) (SchemaPlan, error) {
	steps, err := migrations(s.opts.Retention)
	if err != nil {
		return SchemaPlan{}, err
	}
	plan := SchemaPlan{Keyspace: s.opts.Keyspace, Want: len(steps)}
	if plan.Have, err = versionOf(ctx, session, s.opts.Keyspace); err != nil {
		return plan, err
	}
	if plan.Have < plan.Want {
		plan.Missing = steps[plan.Have:]
	}
	return plan, nil
}

// schemaTimeout is the least that a statement gets: one that makes a table takes a busy cluster many seconds.
const schemaTimeout = time.Minute

// Apply brings the keyspace to this version's schema, one step after the other; progress, if not nil, is told of each statement. It may run
// twice, and from two places at once: the second waits for the first. The error has CodeInvalid for a schema that is newer; after any other,
// as of a node that went away, Apply goes on where it was.
func (s *Schema) Apply(ctx context.Context, progress func(step Migration, statement int)) (SchemaPlan, error) {
	if err := s.makeKeyspace(ctx); err != nil {
		return SchemaPlan{}, err
	}
	session, err := cluster(s.opts, s.opts.Keyspace).CreateSession()
	if err != nil {
		return SchemaPlan{}, openError("changing the schema", err)
	}
	defer session.Close()
	lock, err := takeSchemaLock(ctx, session)
	if err != nil {
		return SchemaPlan{}, err
	}
	defer lock.giveBack()
	plan, err := s.plan(ctx, session)
	if err != nil {
		return plan, err
	}
	if plan.Have > plan.Want {
		return plan, newer(plan.Have, plan.Want)
	}
	for _, step := range plan.Missing {
		err := s.change(ctx, session, s.opts.Keyspace, step.Statements, func(i int) error {
			if progress != nil {
				progress(step, i)
			}
			return lock.keep(ctx, i == 0)
		})
		if chat.CodeOf(err) == chat.CodeBusy {
			return plan, err
		}
		if err != nil {
			return plan, openError(fmt.Sprintf("step %d (%s)", step.Version, step.Name), err)
		}
		if err := durable(session.Query(insertStep, shardOne, step.Version, step.Name, step.sum)).WithContext(ctx).Exec(); err != nil {
			return plan, openError("noting a step", err)
		}
	}
	return plan, nil
}

const insertStep = `INSERT INTO schema_steps (shard, version, name, sum) VALUES (?, ?, ?, ?)`

// makeKeyspace makes what the lock lives in. Two that do so at once make the same: the tables have ids of their names.
func (s *Schema) makeKeyspace(ctx context.Context) error {
	session, err := cluster(s.opts, "").CreateSession()
	if err != nil {
		return openError("changing the schema", err)
	}
	defer session.Close()
	ks := s.opts.Keyspace
	err = s.change(ctx, session, "", []string{
		fmt.Sprintf(`CREATE KEYSPACE IF NOT EXISTS "%s" WITH replication = {'class': 'NetworkTopologyStrategy', '%s': %d} AND durable_writes = true`, ks, s.opts.Datacenter, s.replica),
		fmt.Sprintf(`CREATE TABLE IF NOT EXISTS "%s".schema_steps (shard int, version int, name text, sum text, PRIMARY KEY ((shard), version)) WITH ID = %s`, ks, tableID(ks+".schema_steps")),
		fmt.Sprintf(`CREATE TABLE IF NOT EXISTS "%s".schema_lock (shard int PRIMARY KEY, holder uuid) WITH ID = %s`, ks, tableID(ks+".schema_lock")),
	}, func(int) error { return nil })
	if err != nil {
		return openError("making the keyspace", err)
	}
	return nil
}

// tableID gives a table the same id wherever it is made: a version-5 UUID of its name.
func tableID(name string) gocql.UUID {
	sum := sha1.Sum([]byte("meridian.table." + name))
	var id gocql.UUID
	copy(id[:], sum[:])
	id[6], id[8] = id[6]&0x0f|0x50, id[8]&0x3f|0x80
	return id
}

// versionOf gives the schema's version; 0 where there is none.
func versionOf(ctx context.Context, session *gocql.Session, keyspace string) (int, error) {
	var tables int
	const find = `SELECT count(*) FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?`
	if err := durable(session.Query(find, keyspace, "schema_steps")).WithContext(ctx).Scan(&tables); err != nil {
		return 0, openError("looking for the schema", err)
	}
	if tables == 0 {
		return 0, nil
	}
	return lastStep(ctx, session, `"`+keyspace+`".`)
}

func lastStep(ctx context.Context, session *gocql.Session, prefix string) (version int, err error) {
	err = durable(session.Query(`SELECT version FROM `+prefix+`schema_steps WHERE shard = ? ORDER BY version DESC LIMIT 1`, shardOne)).WithContext(ctx).Scan(&version)
	if errors.Is(err, gocql.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, openError("reading the schema's version", err)
	}
	return version, nil
}

func newer(have, want int) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "cassandra.Open", Message: fmt.Sprintf(
		"the keyspace has schema %d, this version knows %d: it was made by a newer version of meridian; run that one", have, want)}
}

// checkSchema refuses a keyspace that this version cannot work with.
func checkSchema(ctx context.Context, session *gocql.Session) error {
	steps, err := migrations(Retention{})
	if err != nil {
		return err
	}
	have, err := lastStep(ctx, session, "")
	var answered gocql.RequestError
	if errors.As(err, &answered) && answered.Code() == gocql.ErrCodeInvalid { // the table is not there
		have, err = 0, nil
	}
	switch {
	case err != nil:
		return err
	case have > len(steps):
		return newer(have, len(steps))
	case have < len(steps):
		return &chat.Error{Code: chat.CodeInvalid, Op: "cassandra.Open", Message: fmt.Sprintf(
			"the keyspace has schema %d, this version needs %d; run: meridian schema apply", have, len(steps))}
	}
	return nil
}
