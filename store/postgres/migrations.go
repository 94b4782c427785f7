package postgres

// migrations are the steps of the schema; step n makes version n. A step that has been released never changes: add another.
// Steps are additive for one release (a binary of the version before still runs), then take away.
var migrations = []string{
	// 1: accounts and sessions. A row is chat.Account.Encoded or chat.Session.Encoded; times are HLC, in µs since 1970.
	`CREATE TABLE accounts (
		id      uuid   PRIMARY KEY,
		zone    text   NOT NULL,
		version bigint NOT NULL,
		row     bytea  NOT NULL
	);
	CREATE TABLE sessions (
		user_id    uuid    NOT NULL,
		id         uuid    NOT NULL,
		created_at bigint  NOT NULL,
		version    bigint  NOT NULL,
		revoked    boolean NOT NULL,
		row        bytea   NOT NULL,
		PRIMARY KEY (user_id, id)
	);
	CREATE INDEX sessions_standing ON sessions (user_id, created_at DESC, id) WHERE NOT revoked;`,
	// 2: what a person may look at.
	`CREATE VIEW account_list AS
		SELECT id, convert_from(row, 'UTF8')::json ->> 'Username' AS username, zone,
			(convert_from(row, 'UTF8')::json ->> 'Pinned')::boolean AS pinned,
			to_timestamp((convert_from(row, 'UTF8')::json ->> 'CreatedAt')::bigint / 1e6) AS created_at,
			to_timestamp(version / 1e6) AS changed_at
		FROM accounts;
	CREATE VIEW session_list AS
		SELECT user_id, id, convert_from(row, 'UTF8')::json ->> 'Device' AS device, convert_from(row, 'UTF8')::json ->> 'Region' AS region,
			to_timestamp(created_at / 1e6) AS created_at, to_timestamp(version / 1e6) AS changed_at, revoked
		FROM sessions;`,
}
