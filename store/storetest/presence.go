package storetest

import (
	"context"
	"testing"
	"time"

	"meridian/chat"
)

// RunPresences runs the suite of chat.Presences. open gives those of n nodes of one region, empty; it cleans up when the test
// ends.
func RunPresences(t *testing.T, open func(t testing.TB, n int) []chat.Presences) {
	t.Run("Leases", func(t *testing.T) { testPresenceLeases(t, open(t, 2)) })
	t.Run("Many", func(t *testing.T) { testPresenceMany(t, open(t, 1)[0]) })
}

// Somebody is online while a node says so and its lease runs; a good-bye, or the end of the last lease, is when they were seen.
func testPresenceLeases(t *testing.T, nodes []chat.Presences) {
	ctx, now := context.Background(), time.Now().Truncate(time.Millisecond)
	n1, n2 := chat.NodeRef{Region: "eu-west", Node: "n1"}, chat.NodeRef{Region: "eu-west", Node: "n2"}
	ann, bob, eve := chat.UserID{1}, chat.UserID{2}, chat.UserID{3}
	check := func(what string, at time.Time, want ...chat.PresenceState) {
		t.Helper()
		for i, node := range nodes {
			got, err := node.Lookup(ctx, []chat.UserID{ann, bob, eve}, at)
			if err != nil || len(got) != 3 {
				t.Fatalf("%s: node %d: %v, %v", what, i, got, err)
			}
			for u := range want {
				if got[u].Online != want[u].Online || !got[u].LastSeen.Equal(want[u].LastSeen) {
					t.Errorf("%s: node %d: user %d is %+v, not %+v", what, i, u+1, got[u], want[u])
				}
			}
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	online, unknown := chat.PresenceState{Online: true}, chat.PresenceState{}
	seen := func(at time.Time) chat.PresenceState { return chat.PresenceState{LastSeen: at} }

	must(nodes[0].Online(ctx, n1, []chat.UserID{ann, bob}, now.Add(time.Minute)))
	must(nodes[1].Online(ctx, n2, []chat.UserID{ann}, now.Add(2*time.Minute)))
	check("both nodes have ann", now, online, online, unknown)
	must(nodes[0].Offline(ctx, n1, []chat.UserID{ann, bob}, now.Add(time.Second)))
	check("n1 says good-bye", now.Add(2*time.Second), online, seen(now.Add(time.Second)), unknown)
	check("n2 is lost", now.Add(3*time.Minute), seen(now.Add(2*time.Minute)), seen(now.Add(time.Second)), unknown)
	must(nodes[1].Offline(ctx, n2, []chat.UserID{ann}, now.Add(500*time.Millisecond)))
	check("an earlier good-bye comes late", now.Add(3*time.Minute), seen(now.Add(time.Second)), seen(now.Add(time.Second)), unknown)
	check("long ago is forgotten", now.Add(chat.LastSeenKeep+time.Hour), unknown, unknown, unknown)
}

// Several thousand people are told and asked at once.
func testPresenceMany(t *testing.T, p chat.Presences) {
	ctx, now, node := context.Background(), time.Now(), chat.NodeRef{Region: "eu-west", Node: "n1"}
	users := make([]chat.UserID, 3000)
	for i := range users {
		users[i] = chat.UserID{byte(i >> 8), byte(i), 1}
	}
	if err := p.Online(ctx, node, users, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	states, err := p.Lookup(ctx, users, now)
	if err != nil || len(states) != len(users) {
		t.Fatalf("%d states, %v", len(states), err)
	}
	for i, s := range states {
		if !s.Online {
			t.Fatalf("user %d is not online", i)
		}
	}
	if states, err := p.Lookup(ctx, nil, now); err != nil || len(states) != 0 {
		t.Errorf("nobody: %v, %v", states, err)
	}
}
