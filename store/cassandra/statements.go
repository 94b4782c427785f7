package cassandra

// Every statement that a store sends. Values are always bound: literals would stay in the server's table of prepared statements
// after the row is gone. Every plain write carries the time that decides which of two stands; the conditional ones (IF) cannot.
const (
	insertMessage = `INSERT INTO messages (owner, conversation, bucket, id, zone, sender, sender_name, client, reply_to, body, alias)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`
	selectMessages = `SELECT id, zone, sender, sender_name, client, reply_to, body, alias FROM messages
		WHERE owner = ? AND conversation = ? AND bucket = ? LIMIT ?`
	selectMessagesBefore = `SELECT id, zone, sender, sender_name, client, reply_to, body, alias FROM messages
		WHERE owner = ? AND conversation = ? AND bucket = ? AND id < ? LIMIT ?`
	selectMessage = `SELECT id, zone, sender, sender_name, client, reply_to, body, alias FROM messages
		WHERE owner = ? AND conversation = ? AND bucket = ? AND id = ?`

	insertBucket  = `INSERT INTO buckets (owner, conversation, kind, bucket) VALUES (?, ?, ?, ?) USING TIMESTAMP ?`
	selectBuckets = `SELECT bucket FROM buckets WHERE owner = ? AND conversation = ? AND kind = ? AND bucket >= ? AND bucket <= ?`

	insertInbox = `INSERT INTO inbox (owner, bucket, arrival, op, kind, mark, conversation, actor, ref)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`
	selectInbox = `SELECT arrival, op, kind, mark, conversation, actor, ref FROM inbox
		WHERE owner = ? AND bucket = ? AND arrival > ? AND arrival <= ? LIMIT ?`

	insertRetry = `INSERT INTO retries (sender, client, conversation, body_hash, id, region, node, incarnation, seq)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`
	selectRetries = `SELECT conversation, body_hash, id, region, node, incarnation, seq FROM retries WHERE sender = ? AND client = ?`

	insertMark  = `INSERT INTO marks (owner, conversation, member, kind, up_to) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?`
	selectMarks = `SELECT member, kind, up_to FROM marks WHERE owner = ? AND conversation = ?`

	insertChange = `INSERT INTO changes (owner, conversation, bucket, target, kind, member, emoji, op, state)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, (?, ?, ?, ?, ?, ?)) USING TIMESTAMP ?`
	selectChanges = `SELECT target, kind, member, emoji, op, state FROM changes
		WHERE owner = ? AND conversation = ? AND bucket = ? AND target >= ? AND target <= ? LIMIT ?`

	insertGroupName = `INSERT INTO group_names (owner, conversation, op, name, made_by, by_zone, client, made)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`
	selectGroupNames = `SELECT op, name, made_by, by_zone, client, made FROM group_names WHERE owner = ? AND conversation = ?`

	insertMember = `INSERT INTO members (owner, conversation, member, op, zone, name, role, made_by, by_zone, client, made)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`
	selectMembers = `SELECT member, op, zone, name, role, made_by, by_zone, client, made FROM members
		WHERE owner = ? AND conversation = ?`
	selectMember = `SELECT member, op, zone, name, role, made_by, by_zone, client, made FROM members
		WHERE owner = ? AND conversation = ? AND member = ?`
	selectLastStep = `SELECT op, role FROM members WHERE owner = ? AND conversation = ? AND member = ? LIMIT 1`

	insertGroupZone  = `INSERT INTO group_zones (conversation, zone, since) VALUES (?, ?, ?) USING TIMESTAMP ?`
	selectGroupZones = `SELECT zone, since FROM group_zones WHERE conversation = ?`

	insertConversation  = `INSERT INTO conversations (owner, id, answered, in_group) VALUES (?, ?, ?, ?) USING TIMESTAMP ?`
	setPeer             = `INSERT INTO conversations (owner, id, peer) VALUES (?, ?, (?, ?, ?)) USING TIMESTAMP ?`
	setLast             = `UPDATE conversations USING TIMESTAMP ? SET last = ? WHERE owner = ? AND id = ?`
	selectConversations = `SELECT id, last, answered, in_group, peer FROM conversations WHERE owner = ?`
	selectConversation  = `SELECT id, last, answered, in_group, peer FROM conversations WHERE owner = ? AND id = ?`

	insertContact  = `INSERT INTO contacts (owner, other, theirs, state) VALUES (?, ?, ?, (?, ?, ?, ?)) USING TIMESTAMP ?`
	selectContacts = `SELECT other, theirs, state FROM contacts WHERE owner = ? AND other > ? LIMIT ?`
	selectContact  = `SELECT other, theirs, state FROM contacts WHERE owner = ? AND other = ?`

	insertBlock  = `INSERT INTO blocks (owner, other, at, blocked, zone, name) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`
	selectBlocks = `SELECT other, at, blocked, zone, name FROM blocks WHERE owner = ?`

	insertOwner  = `INSERT INTO owners (shard, id, zone) VALUES (?, ?, ?) USING TIMESTAMP ?`
	selectOwners = `SELECT id, zone FROM owners WHERE shard = ? AND id > ? LIMIT ?`

	insertAccount  = `INSERT INTO accounts (id, state) VALUES (?, ?) USING TIMESTAMP ?`
	selectAccount  = `SELECT state FROM accounts WHERE id = ?`
	insertSession  = `INSERT INTO sessions (member, id, state) VALUES (?, ?, ?) USING TIMESTAMP ?`
	revokeSession  = `INSERT INTO sessions (member, id, revoked) VALUES (?, ?, ?) USING TIMESTAMP ?`
	selectSession  = `SELECT id, state, revoked FROM sessions WHERE member = ? AND id = ?`
	selectSessions = `SELECT id, state, revoked FROM sessions WHERE member = ?`

	insertOp = `INSERT INTO op_log (region, node, incarnation, bucket, seq, entered, destinations, op)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`
	selectOps = `SELECT destinations, op FROM op_log
		WHERE region = ? AND node = ? AND incarnation = ? AND bucket = ? AND seq > ? AND seq <= ?`
	selectLastOp = `SELECT seq FROM op_log
		WHERE region = ? AND node = ? AND incarnation = ? AND bucket = ? ORDER BY seq DESC LIMIT 1`
	selectOpHeads = `SELECT seq, entered, destinations FROM op_log WHERE region = ? AND node = ? AND incarnation = ? AND bucket = ?`
	deleteOps     = `DELETE FROM op_log USING TIMESTAMP ?
		WHERE region = ? AND node = ? AND incarnation = ? AND bucket = ? AND seq <= ?`

	insertLogBucket  = `INSERT INTO op_log_buckets (region, node, incarnation, bucket) VALUES (?, ?, ?, ?) USING TIMESTAMP ?`
	selectLogBuckets = `SELECT bucket FROM op_log_buckets
		WHERE region = ? AND node = ? AND incarnation = ? AND bucket >= ? AND bucket <= ? ORDER BY bucket ASC`
	selectLastBucket = `SELECT bucket FROM op_log_buckets WHERE region = ? AND node = ? AND incarnation = ? LIMIT 1`
	deleteLogBucket  = `DELETE FROM op_log_buckets USING TIMESTAMP ?
		WHERE region = ? AND node = ? AND incarnation = ? AND bucket = ?`

	insertOpLog  = `INSERT INTO op_logs (shard, region, node, incarnation) VALUES (?, ?, ?, ?) USING TIMESTAMP ?`
	setSwept     = `UPDATE op_logs USING TIMESTAMP ? SET swept = ? WHERE shard = ? AND region = ? AND node = ? AND incarnation = ?`
	selectOpLogs = `SELECT region, node, incarnation, swept FROM op_logs WHERE shard = ?`
	selectSwept  = `SELECT swept FROM op_logs WHERE shard = ? AND region = ? AND node = ? AND incarnation = ?`

	insertPosition  = `INSERT INTO positions (region, node, incarnation, destination, seq) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?`
	selectPositions = `SELECT destination, seq FROM positions WHERE region = ? AND node = ? AND incarnation = ?`

	insertApplied = `INSERT INTO applied (shard, region, node, incarnation, state) VALUES (?, ?, ?, ?, (?, ?)) USING TIMESTAMP ?`
	selectApplied = `SELECT region, node, incarnation, state FROM applied WHERE shard = ?`

	insertDeadLetter = `INSERT INTO dead_letters (month, region, node, incarnation, seq, op, reason, detail, at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`
	selectDeadLetters      = `SELECT region, node, incarnation, seq, op, reason, detail, at FROM dead_letters WHERE month = ?`
	insertDeadLetterMonth  = `INSERT INTO dead_letter_months (shard, month) VALUES (?, ?) USING TIMESTAMP ?`
	selectDeadLetterMonths = `SELECT month FROM dead_letter_months WHERE shard = ?`

	insertRefusal  = `INSERT INTO refusals (op, told, refusal) VALUES (?, ?, ?) USING TIMESTAMP ?`
	selectRefusals = `SELECT told, refusal FROM refusals WHERE op = ?`

	insertParked = `INSERT INTO parked (shard, region, node, incarnation, seq, id, op, reason)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`
	deleteParked = `DELETE FROM parked USING TIMESTAMP ?
		WHERE shard = ? AND region = ? AND node = ? AND incarnation = ? AND seq = ? AND id = ?`
	selectParked = `SELECT op, reason FROM parked WHERE shard = ?`

	setSelf    = `INSERT INTO self (name, value, word) VALUES (?, ?, ?) USING TIMESTAMP ?`
	selectSelf = `SELECT value, word FROM self WHERE name = ?`

	insertHighWater  = `INSERT INTO high_water (shard, node, incarnation, mark) VALUES (?, ?, ?, ?) USING TIMESTAMP ?`
	selectHighWater  = `SELECT mark FROM high_water WHERE shard = ? AND node = ? AND incarnation = ?`
	selectHighWaters = `SELECT mark FROM high_water WHERE shard = ?`

	selectLives  = `SELECT node, incarnation, version, until, low, adopted_by FROM lives WHERE shard = ?`
	firstVersion = `INSERT INTO lives (shard, version) VALUES (?, ?) IF NOT EXISTS`
	updateLife   = `UPDATE lives SET version = ?, until = ?, low = ?, adopted_by = ?
		WHERE shard = ? AND node = ? AND incarnation = ? IF version = ?`

	reserveClaim = `INSERT INTO claims (shard, key, blinded, zone, bucket, attempt, pending, version)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS`
	releaseClaim = `DELETE FROM claims WHERE shard = ? AND key = ? IF attempt = ? AND pending = ?`
	replaceClaim = `UPDATE claims SET blinded = ?, zone = ?, bucket = ?, attempt = ?, pending = ?, version = ?
		WHERE shard = ? AND key = ? IF attempt = ? AND pending = ? AND version = ?`
	selectClaim  = `SELECT key, blinded, zone, bucket, attempt, pending, version FROM claims WHERE shard = ? AND key = ?`
	selectClaims = `SELECT key, blinded, zone, bucket, attempt, pending, version FROM claims WHERE shard = ? AND key > ? LIMIT ?`

	insertBucketZone = `INSERT INTO bucket_zones (bucket, zone, key) VALUES (?, ?, ?) USING TIMESTAMP ?`
	selectBucketZone = `SELECT zone FROM bucket_zones WHERE bucket = ? LIMIT 1`
	selectZoneAfter  = `SELECT zone FROM bucket_zones WHERE bucket = ? AND zone > ? LIMIT 1`

	selectKeyspace = `SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?`
	// A node's own settings: a table that is in its memory only, whatever the consistency.
	selectSetting = `SELECT value FROM system_views.settings WHERE name = ?`

	insertKey = `INSERT INTO data_keys (author, zone, wrapped) VALUES (?, ?, ?) IF NOT EXISTS`
	selectKey = `SELECT wrapped FROM data_keys WHERE author = ? AND zone = ?`
)
