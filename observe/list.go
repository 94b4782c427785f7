package observe

import "meridian/chat"

// Kind is what a metric is to Prometheus.
type Kind string

// The kinds. A histogram's values are seconds.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Metric is one row of the list of all metrics. Prometheus shows it as meridian_<Name>, with the label region beside its own.
type Metric struct {
	Name   string
	Kind   Kind
	Help   string
	Labels []string
	// Start lists the label values that are shown from the start, as 0. Where a value must stay 0, a missing series would
	// look like health.
	Start [][]string
}

// List gives all metrics, in the order of docs/metrics.md. A name that does not stand here is counted as a defect.
func List() []Metric {
	lists := [][]Metric{clientMetrics(), messageMetrics(), relayMetrics(), storeMetrics(), sharedMetrics(), routerMetrics(), processMetrics()}
	var all []Metric
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func clientMetrics() []Metric {
	var codes [][]string
	for code := range chat.Codes {
		codes = append(codes, []string{string(code)})
	}
	return []Metric{
		{Name: "connections", Kind: Gauge, Help: "Open client sockets."},
		{Name: "connects_total", Kind: Counter, Help: "Sockets that were welcomed."},
		{Name: "reconnects_total", Kind: Counter, Help: "Of those, with a cursor to resume from."},
		{Name: "disconnects_total", Kind: Counter, Help: "Sockets that ended, by close code.", Labels: []string{"close_code"}},
		{Name: "frames_in_total", Kind: Counter, Help: "Frames of clients, by type; what is no known type is \"unknown\".", Labels: []string{"type"}},
		{Name: "frames_out_total", Kind: Counter, Help: "Frames to clients, by type.", Labels: []string{"type"}},
		{Name: "requests_total", Kind: Counter, Help: "HTTP requests, by route pattern and status.", Labels: []string{"route", "status"}},
		{Name: "request_seconds", Kind: Histogram, Help: "Time to answer an HTTP request.", Labels: []string{"route"}},
		{Name: "response_bytes_total", Kind: Counter, Help: "Bytes of REST answers' bodies, by encoding (zstd, gzip, identity): of the body itself, and as sent.", Labels: []string{"encoding", "of"}},
		{Name: "refused_total", Kind: Counter, Help: "Input that was refused, by error code.", Labels: []string{"code"}, Start: codes},
		{Name: "slow_consumers_total", Kind: Counter, Help: "Sockets closed since the reader was too slow."},
		{Name: "heartbeat_timeouts_total", Kind: Counter, Help: "Sockets closed since the client fell silent."},
		{Name: "sign_ups_total", Kind: Counter, Help: "Accounts made."},
		{Name: "logins_total", Kind: Counter, Help: "Log-ins that succeeded."},
		{Name: "auth_failures_total", Kind: Counter, Help: "Log-ins and tokens that were refused, by error code.", Labels: []string{"code"}},
		{Name: "forwarded_ignored_total", Kind: Counter, Help: "Requests whose X-Forwarded-For (Forwarded, X-Real-IP) was not followed: unlisted, who sent it is no trusted proxy; malformed, a trusted proxy's entry is no address.", Labels: []string{"why"}, Start: [][]string{{"unlisted"}, {"malformed"}}},
		{Name: "proxy_headers_total", Kind: Counter, Help: "Connections of listed proxies by their PROXY header: taken, or closed since it was missing, malformed, too_large or not there in time (timeout).", Labels: []string{"outcome"}, Start: [][]string{{"taken"}, {"missing"}, {"malformed"}, {"too_large"}, {"timeout"}}},
		{Name: "tls_certificate_ends_seconds", Kind: Gauge, Help: "When a certificate that is served ends, in seconds since 1970, by the first name in it. Below 14 days, or a sixth of its life, the log alarms.", Labels: []string{"name"}},
		{Name: "tls_reloads_total", Kind: Counter, Help: "Certificate files that changed: taken, or refused, and the old ones stay.", Labels: []string{"outcome"}, Start: [][]string{{"taken"}, {"refused"}}},
		{Name: "acme_failing", Kind: Gauge, Help: "Names for which the ACME server gave no certificate; they are tried again."},
		{Name: "rate_limited_total", Kind: Counter, Help: "Requests over a limit, by what was limited.", Labels: []string{"limit"}},
		{Name: "shed_total", Kind: Counter, Help: "Requests answered with busy, by what was full.", Labels: []string{"limit"}},
		{Name: "password_hash_seconds", Kind: Histogram, Help: "Time of a password check, with the wait for memory."},
		{Name: "claims_total", Kind: Counter, Help: "Username claims, by outcome: confirmed, taken, no_majority.", Labels: []string{"outcome"}},
		{Name: "presence_online", Kind: Gauge, Help: "People known to be online."},
	}
}

func messageMetrics() []Metric {
	return []Metric{
		{Name: "sends_total", Kind: Counter, Help: "Sends taken in, retries included."},
		{Name: "acks_total", Kind: Counter, Help: "Acknowledgements, by level.", Labels: []string{"level"}, Start: [][]string{{"region"}, {"zone"}}},
		{Name: "send_to_ack_seconds", Kind: Histogram, Help: "From the arrival of a send to its ack at level region."},
		{Name: "send_to_zone_ack_seconds", Kind: Histogram, Help: "From the arrival of a send to its ack at level zone."},
		{Name: "send_to_visible_seconds", Kind: Histogram, Help: "From an op's time at its origin to its being visible here.", Labels: []string{"from", "to"}},
		{Name: "send_to_delivered_seconds", Kind: Histogram, Help: "From a message's time to its delivered mark.", Labels: []string{"from", "to"}},
		{Name: "draining", Kind: Gauge, Help: "1 while the region is being drained."},
		{Name: "drain_asked_total", Kind: Counter, Help: "Sockets that a drain asked to move."},
		{Name: "drain_ended_total", Kind: Counter, Help: "Sockets that a drain closed, because they were asked and had not moved in time."},
		{Name: "forwarded_total", Kind: Counter, Help: "Commands handed to another region of the user's home zone.", Labels: []string{"to"}},
		{Name: "passed_total", Kind: Counter, Help: "Requests and sockets passed to another node of the region that runs what this one does not, by service and node.", Labels: []string{"service", "to"}},
		{Name: "passed_again_total", Kind: Counter, Help: "Of those and of what goes to other regions, requests given to the next one: not_taken, the first did nothing of it, or unknown_outcome, it went away and the request changes nothing.", Labels: []string{"service", "why"}},
		{Name: "service_load", Kind: Gauge, Help: "What is under way here of a service that this node runs: requests, or sockets.", Labels: []string{"service"}},
		{Name: "in_flight_ops", Kind: Gauge, Help: "Writes under way in this node."},
		{Name: "resumes_total", Kind: Counter, Help: "Resumes that were answered from the inbox log."},
		{Name: "resume_entries_total", Kind: Counter, Help: "Inbox entries sent to resuming clients."},
		{Name: "resets_total", Kind: Counter, Help: "Resumes answered with reset, by reason.", Labels: []string{"reason"}},
		{Name: "duplicates_dropped_total", Kind: Counter, Help: "What was known already: kind retry (a client's) or op (a relay's).", Labels: []string{"kind"}},
		{Name: "aliases_total", Kind: Counter, Help: "Messages whose id lost against another region's for the same send."},
		{Name: "dead_letters_total", Kind: Counter, Help: "Ops that can never be applied, by reason. Must stay 0.", Labels: []string{"reason"}, Start: [][]string{{"denied"}, {"invalid"}, {"too_large"}, {"too_old"}}},
		{Name: "refusals_told_total", Kind: Counter, Help: "News to people here that a region refused for good what they had written, by error code.", Labels: []string{"code"}},
		{Name: "residency_violations_total", Kind: Counter, Help: "Ops that would have left or entered a zone against its policy, refused at side send or receive. Must stay 0.", Labels: []string{"side"}, Start: [][]string{{"send"}, {"receive"}}},
		{Name: "residency_refusals_total", Kind: Counter, Help: "Sends refused to the user by a zone's policy."},
	}
}

func relayMetrics() []Metric {
	return []Metric{
		{Name: "relay_lag_seconds", Kind: Gauge, Help: "Age of the oldest op that a region has not acknowledged; 0 when it has all.", Labels: []string{"from", "to"}},
		{Name: "relay_depth", Kind: Gauge, Help: "Ops that a region has not acknowledged.", Labels: []string{"from", "to"}},
		{Name: "relay_ops_total", Kind: Counter, Help: "Ops sent to a region, repeats included.", Labels: []string{"from", "to"}},
		{Name: "relay_resent_total", Kind: Counter, Help: "Of those, sent again.", Labels: []string{"from", "to"}},
		{Name: "outbox_bytes", Kind: Gauge, Help: "What this node's op logs owe a region, as frames would carry it.", Labels: []string{"peer"}},
		{Name: "outbox_budget_ratio", Kind: Gauge, Help: "Share of its budget (limits.outbox_bytes) that is. From 0.7 on sends that concern the region are slowed, from 0.95 on refused.", Labels: []string{"peer"}},
		{Name: "outbox_oldest_seconds", Kind: Gauge, Help: "Age of the oldest op that is owed to a region; 0 when it has all. Beyond 0.8 of retention.op_log somebody should look.", Labels: []string{"peer"}},
		{Name: "outbox_slowed_total", Kind: Counter, Help: "Submits that waited since a region's budget was nearly used.", Labels: []string{"peer"}},
		{Name: "outbox_refused_total", Kind: Counter, Help: "Submits that were refused since a region's budget was used.", Labels: []string{"peer"}},
		{Name: "relay_parked", Kind: Gauge, Help: "Ops of a region that are received and parked: they wait for this node's clock, or for a newer build.", Labels: []string{"origin"}},
		{Name: "stable_time_age_seconds", Kind: Gauge, Help: "How far behind the applied watermark of an origin is.", Labels: []string{"origin"}},
		{Name: "link_up", Kind: Gauge, Help: "1 while the link to a node works; the peer is given as region/node.", Labels: []string{"peer"}},
		{Name: "op_logs_adopted_total", Kind: Counter, Help: "Op logs of lives that have ended, adopted by this node."},
		{Name: "pool_member", Kind: Gauge, Help: "1 while the region's gossip pool sees another node of it. A hint, nothing more.", Labels: []string{"member"}},
		{Name: "link_rtt_seconds", Kind: Gauge, Help: "Round trip to a node over the backbone.", Labels: []string{"peer"}},
		{Name: "link_connected_total", Kind: Counter, Help: "Links to a node that came up.", Labels: []string{"peer"}},
		{Name: "link_closed_total", Kind: Counter, Help: "Links that ended after they were up, by reason.", Labels: []string{"peer", "reason"}},
		{Name: "link_refused_total", Kind: Counter, Help: "Peers and their frames that were refused, by reason or error code.", Labels: []string{"reason"}},
		{Name: "link_dropped_total", Kind: Counter, Help: "What was not sent since a queue was full or the link down: relay or tell. Relayed ops are sent again.", Labels: []string{"peer", "what"}},
		{Name: "link_bytes_total", Kind: Counter, Help: "Bytes over the backbone, by direction in or out.", Labels: []string{"peer", "direction"}},
		{Name: "clock_offset_seconds", Kind: Gauge, Help: "Another node's clock minus ours.", Labels: []string{"peer"}},
		{Name: "clock_serves", Kind: Gauge, Help: "1 while the clock is good enough to stamp what people send; 0: they are refused."},
	}
}

func storeMetrics() []Metric {
	return []Metric{
		{Name: "store_commits_total", Kind: Counter, Help: "Synced writes; one may hold many ops."},
		{Name: "store_commit_seconds", Kind: Histogram, Help: "From the hand-over of a batch to its being on disk."},
		{Name: "store_errors_total", Kind: Counter, Help: "Commits and reads that failed, by error code.", Labels: []string{"code"}, Start: [][]string{{"region_degraded"}, {"store_full"}}},
		{Name: "store_free_bytes", Kind: Gauge, Help: "Room on the data directory's disk."},
		{Name: "store_bytes", Kind: Gauge, Help: "Size of the data directory."},
		{Name: "store_swept_total", Kind: Counter, Help: "Buckets dropped after their retention."},
		{Name: "accounts_up", Kind: Gauge, Help: "1 while the region's account store (PostgreSQL) answers. While it does not, nobody can log in; messages go on."},
		{Name: "accounts_owed_total", Kind: Counter, Help: "Accounts and sessions put into the main store since the account store did not take them; it gets them when it answers."},
		{Name: "events_up", Kind: Gauge, Help: "1 while events can be published to a broker; what cannot waits in the op log.", Labels: []string{"sink"}},
		{Name: "events_published_total", Kind: Counter, Help: "Events that a broker has confirmed, repeats included.", Labels: []string{"sink"}, Start: [][]string{{"redis"}, {"rabbitmq"}}},
		{Name: "events_oldest_seconds", Kind: Gauge, Help: "Age of the oldest event that waits for a broker; 0 for none. Beyond 0.8 of retention.op_log somebody must look: after that they are lost.", Labels: []string{"sink"}},
		{Name: "cassandra_request_seconds", Kind: Histogram, Help: "Requests to the region's Cassandra: read, write or batch.", Labels: []string{"kind"}},
		{Name: "cassandra_request_errors_total", Kind: Counter, Help: "Requests to Cassandra that failed.", Labels: []string{"kind"}, Start: [][]string{{"read"}, {"write"}, {"batch"}}},
		{Name: "cassandra_slow_total", Kind: Counter, Help: "Requests to Cassandra that took longer than slow_query.", Labels: []string{"kind"}, Start: [][]string{{"read"}, {"write"}, {"batch"}}},
		{Name: "cassandra_retries_total", Kind: Counter, Help: "Writes whose outcome Cassandra did not tell, sent again."},
		{Name: "cassandra_group_batches", Kind: Gauge, Help: "How many batches a node gives Cassandra as one; it falls where Cassandra is slow."},
		{Name: "cassandra_connects_total", Kind: Counter, Help: "Connections made to nodes of Cassandra: ok or failed.", Labels: []string{"outcome"}, Start: [][]string{{"ok"}, {"failed"}}},
	}
}

// sharedMetrics are of what the nodes of a region share beside the store.
func sharedMetrics() []Metric {
	return []Metric{
		{Name: "cache_reads_total", Kind: Counter, Help: "Reads that may come from the cache, by class (profile, contacts, page) and where they came from: memory (L1), shared (L2, Redis), store (L3), or stale: found, but no longer right, and read from the store.", Labels: []string{"class", "level"}},
		{Name: "cache_read_seconds", Kind: Histogram, Help: "Time of such a read.", Labels: []string{"class", "level"}},
		{Name: "cache_deletes_pending", Kind: Gauge, Help: "What is to be deleted from the shared cache as soon as Redis answers."},
		{Name: "redis_up", Kind: Gauge, Help: "1 while the region's Redis answers this node; 0: the node goes on without it."},
		{Name: "redis_lost_total", Kind: Counter, Help: "How often it was lost."},
		{Name: "redis_restarted_total", Kind: Counter, Help: "How often another life of it was found: a restart, or another server."},
		{Name: "redis_calls_total", Kind: Counter, Help: "Calls of Redis, by what for and outcome: ok, failed, cancelled, or refused since it is lost.", Labels: []string{"call", "outcome"}},
		{Name: "redis_call_seconds", Kind: Histogram, Help: "Time of such a call.", Labels: []string{"call"}},
		{Name: "limiter_fallback_total", Kind: Counter, Help: "Requests that were counted by this node alone since Redis did not answer."},
		{Name: "bus_hints_total", Kind: Counter, Help: "Hints between the region's nodes over Redis, by what became of them here: sent, heard, dropped.", Labels: []string{"outcome"}},
	}
}

func routerMetrics() []Metric {
	return []Metric{
		{Name: "dns_queries_total", Kind: Counter, Help: "DNS queries, by type (a served one, or \"other\") and answer code.", Labels: []string{"type", "rcode"}},
		{Name: "dns_fast_total", Kind: Counter, Help: "Of these, answered by the fast path (Linux, UDP, A, AAAA, HTTPS and SRV); told once a second."},
		{Name: "dns_malformed_total", Kind: Counter, Help: "DNS packets that could not be read."},
		{Name: "dns_limited_total", Kind: Counter, Help: "DNS answers over UDP that the rate limit held back, by outcome truncated or dropped.", Labels: []string{"outcome"}},
		{Name: "dns_tcp_refused_total", Kind: Counter, Help: "TCP connections that DNS had no room for."},
		{Name: "dns_key_reloads_total", Kind: Counter, Help: "Reloads of the DNSSEC keys, by outcome taken or refused.", Labels: []string{"outcome"}},
		{Name: "dns_seconds", Kind: Histogram, Help: "Time to answer a DNS query that is not for the fast path."},
		{Name: "route_decisions_total", Kind: Counter, Help: "Route decisions, by what decided.", Labels: []string{"reason"}},
		{Name: "region_up", Kind: Gauge, Help: "1 while the probes find a region healthy.", Labels: []string{"target"}},
		{Name: "probes_total", Kind: Counter, Help: "Health probes, by outcome ok or failed.", Labels: []string{"target", "outcome"}},
		{Name: "path_probes_total", Kind: Counter, Help: "Walks of the way of a message that probes asked for, by service (chat: from the queue over the store to the hub; messages: a page is read) and outcome ok or failed.", Labels: []string{"service", "outcome"}},
		{Name: "path_probe_seconds", Kind: Histogram, Help: "Time of such a walk.", Labels: []string{"service"}},
		{Name: "client_hints_total", Kind: Counter, Help: "Words of clients that they cannot reach a region, taken, or ignored: the network has just told it, or the region is not known.", Labels: []string{"outcome"}},
		{Name: "router_reloads_total", Kind: Counter, Help: "Reloads of the router's rules and address files, by outcome taken or refused.", Labels: []string{"outcome"}},
		{Name: "geo_refused_total", Kind: Counter, Help: "Reloads of address files that were refused, by what is wrong: unreadable, empty, corrupt, wrong_type, stale, too_large, or canaries: too many well-known addresses would move. The old data stays.", Labels: []string{"fault"}},
		{Name: "rtt_samples_total", Kind: Counter, Help: "Clients' sockets whose round trip was asked for (router.learned.sample): taken; other: the socket ends at a proxy or in another node, or the system does not tell; full: no room for another network.", Labels: []string{"result"}},
		{Name: "rtt_networks", Kind: Gauge, Help: "Networks of which this node has measured round trips in this half of the week."},
		{Name: "learned_refused_total", Kind: Counter, Help: "Files of learned round trips that were refused, by what is wrong: unreadable, empty, corrupt, wrong_type, stale, too_large, or canaries: too many well-known addresses would move. What was learned before stays.", Labels: []string{"fault"}},
		{Name: "learned_age_seconds", Kind: Gauge, Help: "Time since the learned round trips in use were collected; none where none are."},
		{Name: "geo_data_age_seconds", Kind: Gauge, Help: "Age of the address data in use."},
	}
}

func processMetrics() []Metric {
	return []Metric{
		{Name: "defects_total", Kind: Counter, Help: "Things that must not happen, by kind; the log tells more. Must stay 0.", Labels: []string{"kind"}, Start: [][]string{{"metric"}, {"panic"}}},
		{Name: "start_time_seconds", Kind: Gauge, Help: "When this region's node started, seconds since 1970."},
	}
}
