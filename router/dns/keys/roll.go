package keys

import (
	"fmt"
	"slices"
	"time"

	"meridian/chat"
)

// Waits are how long caches may hold what a rollover changes.
type Waits struct {
	// Key is the time to live of DNSKEY, Data the longest of all other records, Parent that of the parent's DS records.
	Key, Data, Parent time.Duration
	// Spread is how long new key files may take to reach all routers.
	Spread time.Duration
}

// In gives the keys of a zone in a state.
func (s Set) In(zone string, state State, now time.Time) []*Key {
	var out []*Key
	for _, k := range s[zone] {
		if k.State(now) == state {
			out = append(out, k)
		}
	}
	return out
}

// Find gives the key of a zone with a tag; nil when there is none.
func (s Set) Find(zone string, tag uint16) *Key {
	i := slices.IndexFunc(s[zone], func(k *Key) bool { return k.Tag() == tag })
	if i < 0 {
		return nil
	}
	return s[zone][i]
}

// Add makes a zone's next key: the first is active at once, for nothing is signed that caches could miss; a later one is
// published. The error has CodeInvalid while another waits to become active.
func (s Set) Add(zone string, now time.Time) (*Key, error) {
	if waiting := s.In(zone, Published, now); len(waiting) > 0 {
		return nil, refused("key %d of %s is published and not active yet: one rollover at a time", waiting[0].Tag(), zone)
	}
	k, err := New(zone, s[zone], now)
	if err != nil {
		return nil, err
	}
	if len(s.In(zone, Active, now)) == 0 {
		k.Activate = k.Created
	}
	s[zone] = append(s[zone], k)
	return k, nil
}

// ReadyAt says from when on a published key may become active, or a retired one be removed; the zero time for others.
func (k *Key) ReadyAt(w Waits, now time.Time) time.Time {
	switch k.State(now) {
	case Published: // every cache has it, or asks anew
		return k.Created.Add(w.Key + w.Spread)
	case Retired: // no cache has its signatures, or a DS set without its successor
		return k.Inactive.Add(max(w.Data, w.Key, w.Parent) + w.Spread)
	case Active, Removed:
	}
	return time.Time{}
}

// ActivateKey makes a published key sign, and retires those that did. It gives the keys to save, in the order in which they must be:
// a router that has seen only the first signs by both. The error has CodeInvalid where it is too early, unless force.
func (s Set) ActivateKey(k *Key, w Waits, now time.Time, force bool) ([]*Key, error) {
	now = now.UTC().Truncate(time.Second)
	if state := k.State(now); state != Published {
		return nil, refused("key %d of %s is %s; only a published one can become active", k.Tag(), k.Zone, state)
	}
	if ready := k.ReadyAt(w, now); now.Before(ready) && !force {
		return nil, refused("key %d of %s may not be in all caches before %s", k.Tag(), k.Zone, ready.Format(time.RFC3339))
	}
	changed := []*Key{k}
	for _, old := range s.In(k.Zone, Active, now) {
		old.Inactive = now
		changed = append(changed, old)
	}
	k.Activate = now
	return changed, nil
}

// RemoveKey takes a retired key out of the zone. The error has CodeInvalid where it is too early, unless force.
func (s Set) RemoveKey(k *Key, w Waits, now time.Time, force bool) error {
	now = now.UTC().Truncate(time.Second)
	if state := k.State(now); state != Retired {
		return refused("key %d of %s is %s; only a retired one can be removed", k.Tag(), k.Zone, state)
	}
	if ready := k.ReadyAt(w, now); now.Before(ready) && !force {
		return refused("key %d of %s may be needed by caches until %s", k.Tag(), k.Zone, ready.Format(time.RFC3339))
	}
	k.Delete = now
	return nil
}

func refused(format string, args ...any) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "keys.Roll", Message: fmt.Sprintf(format, args...)}
}
