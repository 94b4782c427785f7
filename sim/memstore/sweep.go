package memstore

import (
	"maps"
	"slices"
	"time"

	"meridian/chat"
)

// Retention is how long things are kept; 0: for ever.
type Retention struct{ Inbox, OpLog, Retries time.Duration }

// Sweep drops what has outlived its retention; an op only when every destination is known to have it. It counts the rows dropped.
func (t *Tables) Sweep(now chat.HLC, keep Retention) int {
	dropped := 0
	if keep.Inbox > 0 {
		t.floor = max(t.floor, now.Add(-keep.Inbox))
		for owner, rows := range t.inbox {
			kept := slices.DeleteFunc(slices.Clone(rows), func(r chat.InboxRow) bool { return r.Arrival <= t.floor })
			dropped += len(rows) - len(kept)
			t.inbox[owner] = kept
		}
	}
	if keep.Retries > 0 {
		for k, rows := range t.retries {
			kept := slices.DeleteFunc(slices.Clone(rows), func(r chat.RetryRow) bool { return r.ID.Time() <= now.Add(-keep.Retries) })
			dropped += len(rows) - len(kept)
			t.retries[k] = kept
		}
	}
	if keep.OpLog > 0 {
		for stream, ops := range t.log {
			kept := slices.DeleteFunc(slices.Clone(ops), func(op chat.Op) bool {
				waits := slices.ContainsFunc(op.To, func(r chat.Region) bool { return r != t.region && t.positions[stream][r] < op.Seq })
				return !waits && op.Logged <= now.Add(-keep.OpLog)
			})
			dropped += len(ops) - len(kept)
			t.log[stream] = kept
		}
	}
	return dropped
}

// cloneLists copies a map of lists, cloneMaps a map of maps.
func cloneLists[K comparable, V any](m map[K][]V) map[K][]V {
	c := make(map[K][]V, len(m))
	for k, list := range m {
		c[k] = slices.Clone(list)
	}
	return c
}

func cloneMaps[K, L comparable, V any](m map[K]map[L]V) map[K]map[L]V {
	c := make(map[K]map[L]V, len(m))
	for k, in := range m {
		c[k] = maps.Clone(in)
	}
	return c
}

// Clone gives an independent copy.
func (t *Tables) Clone() *Tables {
	return &Tables{
		region: t.region, first: t.first, floor: t.floor, lives: maps.Clone(t.lives),
		log: cloneLists(t.log), inbox: cloneLists(t.inbox), retries: cloneLists(t.retries),
		messages: cloneMaps(t.messages), marks: cloneMaps(t.marks), conversations: cloneMaps(t.conversations),
		contacts: cloneMaps(t.contacts), blocks: cloneMaps(t.blocks), sessions: cloneMaps(t.sessions), positions: cloneMaps(t.positions),
		accounts: maps.Clone(t.accounts), claims: maps.Clone(t.claims), applied: maps.Clone(t.applied),
		dead: maps.Clone(t.dead), keys: maps.Clone(t.keys), changes: cloneMaps(t.changes), groups: cloneMaps(t.groups),
		members: cloneMaps(t.members), groupZones: cloneMaps(t.groupZones), parked: maps.Clone(t.parked), refusals: cloneLists(t.refusals),
	}
}
