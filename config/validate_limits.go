package config

import (
	"time"

	"meridian/chat"
)

func (v *validator) checkSecurity() {
	s := v.config.Security
	v.filled("security.secrets_dir", s.SecretsDir)
	within(v, "security.token_ttl", s.TokenTTL, time.Minute, time.Hour)
	within(v, "security.refresh_ttl", s.RefreshTTL, time.Hour, 366*day)
	if s.RefreshTTL <= s.TokenTTL {
		v.add("security.refresh_ttl", "%v is not longer than security.token_ttl (%v)", s.RefreshTTL, s.TokenTTL)
	}
	// Below 8 KiB per thread argon2 raises the memory by itself; 1 GiB is what one log-in may cost.
	within(v, "security.argon2_memory_kib", s.Argon2MemoryKiB, 64, mib)
	within(v, "security.argon2_passes", s.Argon2Passes, 1, 64)
	within(v, "security.argon2_threads", s.Argon2Threads, 1, 64)
	within(v, "security.argon2_parallel", s.Argon2Parallel, 1, 256)
}

func (v *validator) checkLimits() {
	l := v.config.Limits
	within(v, "limits.frame_bytes", l.FrameBytes, kib, mib)
	within(v, "limits.text_bytes", l.TextBytes, 1, 64*kib)
	if l.TextBytes > l.FrameBytes/2 {
		v.add("limits.text_bytes", "%d does not fit: JSON needs room around it; allowed: at most half of limits.frame_bytes (%d)", l.TextBytes, l.FrameBytes)
	}
	within(v, "limits.request_bytes", l.RequestBytes, kib, mib)
	within(v, "limits.username_max_chars", l.UsernameMaxChars, 3, 32)
	within(v, "limits.password_min_chars", l.PasswordMinChars, 1, 128)
	within(v, "limits.password_max_bytes", l.PasswordMaxBytes, 64, 4*kib)
	if l.PasswordMinChars > l.PasswordMaxBytes {
		v.add("limits.password_min_chars", "%d is more than limits.password_max_bytes (%d)", l.PasswordMinChars, l.PasswordMaxBytes)
	}
	within(v, "limits.display_name_max_chars", l.DisplayNameMaxChars, 1, 256)
	within(v, "limits.sockets_per_address", l.SocketsPerAddress, 1, 1_000_000)
	within(v, "limits.sockets_per_user", l.SocketsPerUser, 1, 1000)
	within(v, "limits.send_queue_bytes", l.SendQueueBytes, 4*kib, 256*mib)
	if l.SendQueueBytes < l.FrameBytes {
		v.add("limits.send_queue_bytes", "%d holds no whole frame; allowed: at least limits.frame_bytes (%d)", l.SendQueueBytes, l.FrameBytes)
	}
	within(v, "limits.sends_per_second", l.SendsPerSecond, 0.1, 10_000)
	within(v, "limits.auth_per_minute", l.AuthPerMinute, 1, 100_000)
	within(v, "limits.address_requests_per_second", l.AddressRequestsPerSecond, 0.1, 1_000_000)
	within(v, "limits.user_reads_per_second", l.UserReadsPerSecond, 0.1, 100_000)
	within(v, "limits.user_writes_per_second", l.UserWritesPerSecond, 0.1, 100_000)
	within(v, "limits.lookups_per_second", l.LookupsPerSecond, 0.1, 10_000)
	within(v, "limits.resume_max_events", l.ResumeMaxEvents, 100, 1_000_000)
	within(v, "limits.relay_window_ops", l.RelayWindowOps, 1, 1_000_000)
	within(v, "limits.relay_window_bytes", l.RelayWindowBytes, 256*kib, 1<<30)
	within(v, "limits.relay_tail_ops", l.RelayTailOps, 1, 1_000_000)
	within(v, "limits.outbox_bytes", l.OutboxBytes, 64*kib, 1<<44)
	within(v, "limits.in_flight_ops", l.InFlightOps, 1, 1_000_000)
	within(v, "limits.store_reserve_bytes", l.StoreReserveBytes, 0, 1<<40)
	within(v, "limits.store_cache_bytes", l.StoreCacheBytes, mib, 1<<40)
	within(v, "limits.store_mem_table_bytes", l.StoreMemTableBytes, mib, 1<<30)
	within(v, "limits.sessions_per_user", l.SessionsPerUser, 1, 10_000)
	within(v, "limits.contacts_per_user", l.ContactsPerUser, 1, 100_000)
	within(v, "limits.group_members", l.GroupMembers, 2, 100_000)
	within(v, "limits.groups_per_user", l.GroupsPerUser, 1, 10_000)
	within(v, "limits.group_name_bytes", l.GroupNameBytes, 1, chat.MaxGroupNameBytes)
	within(v, "limits.group_receipt_members", l.GroupReceiptMembers, 0, 10_000)
	within(v, "limits.reactions_per_user", l.ReactionsPerUser, 1, 100)
}

// checkRetention checks the order that promises 1, 2 and 4 rest on: a client re-sends for ClientOutbox, the op reaches
// its last region OpLog later, and until then its retry key must stand; what was missed must still be in the inbox log.
func (v *validator) checkRetention() {
	r := v.config.Retention
	within(v, "retention.client_outbox", r.ClientOutbox, time.Minute, 366*day)
	within(v, "retention.op_log", r.OpLog, time.Minute, 366*day)
	within(v, "retention.retries", r.Retries, time.Minute, 3660*day)
	within(v, "retention.inbox_log", r.InboxLog, time.Minute, 3660*day)
	if r.ClientOutbox >= r.OpLog {
		v.add("retention.client_outbox", "%v must be shorter than retention.op_log (%v)", r.ClientOutbox, r.OpLog)
	}
	if r.ClientOutbox+r.OpLog >= r.Retries {
		v.add("retention.retries", "%v must be longer than retention.client_outbox and retention.op_log together (%v)", r.Retries, r.ClientOutbox+r.OpLog)
	}
	if r.InboxLog < r.Retries {
		v.add("retention.inbox_log", "%v must not be shorter than retention.retries (%v)", r.InboxLog, r.Retries)
	}
}

func (v *validator) checkTiming() {
	t := v.config.Timing
	within(v, "timing.max_drift", t.MaxDrift, 10*time.Millisecond, 10*time.Second)
	within(v, "timing.watermark", t.Watermark, 10*time.Millisecond, 10*time.Second)
	within(v, "timing.resend", t.Resend, 50*time.Millisecond, time.Minute)
	within(v, "timing.hello_timeout", t.HelloTimeout, 100*time.Millisecond, time.Minute)
	within(v, "timing.heartbeat", t.Heartbeat, 100*time.Millisecond, 5*time.Minute)
	within(v, "timing.write_timeout", t.WriteTimeout, 100*time.Millisecond, time.Minute)
	within(v, "timing.reread_inbox", t.RereadInbox, 100*time.Millisecond, 10*time.Minute)
	within(v, "timing.delivered_delay", t.DeliveredDelay, 0, 10*time.Second)
	within(v, "timing.presence_lease", t.PresenceLease, time.Second, time.Hour)
	within(v, "timing.claim_timeout", t.ClaimTimeout, 100*time.Millisecond, time.Minute)
	within(v, "timing.link_dead", t.LinkDead, 100*time.Millisecond, time.Minute)
	within(v, "timing.node_lease", t.NodeLease, 500*time.Millisecond, time.Minute)
	within(v, "timing.forward_after", t.ForwardAfter, time.Second, time.Hour)
	within(v, "timing.adopt_wait", t.AdoptWait, 100*time.Millisecond, time.Minute)
	if t.AdoptWait < 2*t.MaxDrift {
		v.add("timing.adopt_wait", "%v is shorter than two of timing.max_drift (%v): a node that still holds its lease could be adopted", t.AdoptWait, t.MaxDrift)
	}
	if t.LinkDead < 3*t.Watermark {
		v.add("timing.link_dead", "%v is shorter than three of timing.watermark (%v): a quiet link would look dead", t.LinkDead, t.Watermark)
	}
	if t.PresenceLease < 2*t.Heartbeat {
		v.add("timing.presence_lease", "%v is shorter than two of timing.heartbeat (%v): people would flicker", t.PresenceLease, t.Heartbeat)
	}
}
