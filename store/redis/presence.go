package redis

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"meridian/chat"
)

// usersAtOnce bounds the people of one pipeline.
const usersAtOnce = 500

// Presences is a chat.Presences: a hash for each person, with a field for each node's lease and one for its last good-bye, in
// milliseconds since 1970. A dump that comes back old holds leases that have ended.
type Presences struct{ c *Client }

// Presences gives the client's.
func (c *Client) Presences() *Presences { return &Presences{c} }

const (
	leaseField = "o:"
	seenField  = "s:"
)

func (p *Presences) key(user chat.UserID) string { return p.c.prefix + "p:" + user.String() }

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// Online is chat.Presences's.
func (p *Presences) Online(ctx context.Context, node chat.NodeRef, users []chat.UserID, until time.Time) error {
	return p.each(ctx, users, func(conn rueidis.Client, key string) rueidis.Completed {
		return conn.B().Hset().Key(key).FieldValue().FieldValue(leaseField+node.String(), millis(until)).Build()
	})
}

// Offline is chat.Presences's.
func (p *Presences) Offline(ctx context.Context, node chat.NodeRef, users []chat.UserID, at time.Time) error {
	return p.each(ctx, users, func(conn rueidis.Client, key string) rueidis.Completed {
		return conn.B().Hset().Key(key).FieldValue().FieldValue(leaseField+node.String(), "0").FieldValue(seenField+node.String(), millis(at)).Build()
	})
}

// each does a command on each person's hash, which then lives as long as people are remembered.
func (p *Presences) each(ctx context.Context, users []chat.UserID, command func(rueidis.Client, string) rueidis.Completed) error {
	for len(users) > 0 {
		some := users[:min(len(users), usersAtOnce)]
		users = users[len(some):]
		err := p.c.call(ctx, "presence_put", func(ctx context.Context, conn rueidis.Client) error {
			commands := make(rueidis.Commands, 0, 2*len(some))
			for _, user := range some {
				key := p.key(user)
				commands = append(commands, command(conn, key), conn.B().Pexpire().Key(key).Milliseconds(chat.LastSeenKeep.Milliseconds()).Build())
			}
			return firstError(conn.DoMulti(ctx, commands...))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func firstError(replies []rueidis.RedisResult) error {
	for _, reply := range replies {
		if err := reply.Error(); err != nil {
			return err
		}
	}
	return nil
}

// Lookup is chat.Presences's.
func (p *Presences) Lookup(ctx context.Context, users []chat.UserID, now time.Time) ([]chat.PresenceState, error) {
	states := make([]chat.PresenceState, 0, len(users))
	for len(users) > 0 {
		some := users[:min(len(users), usersAtOnce)]
		users = users[len(some):]
		err := p.c.call(ctx, "presence_get", func(ctx context.Context, conn rueidis.Client) error {
			commands := make(rueidis.Commands, 0, len(some))
			for _, user := range some {
				commands = append(commands, conn.B().Hgetall().Key(p.key(user)).Build())
			}
			for _, reply := range conn.DoMulti(ctx, commands...) {
				fields, err := reply.AsStrMap()
				if err != nil {
					return err
				}
				states = append(states, stateOf(fields, now))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return states, nil
}

// stateOf gives what leases and good-byes say: a lease that has ended was a sighting.
func stateOf(fields map[string]string, now time.Time) chat.PresenceState {
	var seen int64
	for name, value := range fields {
		at, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			continue
		}
		if strings.HasPrefix(name, leaseField) && at > now.UnixMilli() {
			if at <= now.Add(chat.TTLPresence).UnixMilli() {
				return chat.PresenceState{Online: true}
			}
			continue // of a wrong clock
		}
		seen = max(seen, at)
	}
	if seen == 0 || now.UnixMilli()-seen > chat.LastSeenKeep.Milliseconds() {
		return chat.PresenceState{}
	}
	return chat.PresenceState{LastSeen: time.UnixMilli(seen)}
}
