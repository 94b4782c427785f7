package regionnode_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"

	"meridian/chat"
	"meridian/config"
)

const (
	// crowdSize is how many people the large group has besides its owner.
	crowdSize = 1000
	// crowdAdmins bring them in: nobody may look up more than 300 names at once.
	crowdAdmins = 4
)

// A group of a thousand people over three regions is made, written to and left like a small one: every region counts the
// same members, every socket gets each message once, and who was removed gets nothing more.
func TestGroupOfAThousand(t *testing.T) {
	w := newWorldOf(t, func(c *config.Config) {
		c.Limits.AuthPerMinute, c.Limits.UserWritesPerSecond = 100_000, crowdSize
	})
	owner := w.signUp("us-east", "owner", "")
	crowd := w.crowd(crowdSize)
	group := w.makeGroup("us-east", owner, "the crowd")
	w.bringIn(group, owner, crowd)
	for _, r := range fiveRegions[1:] {
		w.knows(r, crowd[crowdSize-1], group, "member")
		w.eventually(fmt.Sprintf("%s to count all", r), func() bool { return w.members(r, crowd[0], group) == crowdSize+1 })
	}
	var sockets []*client
	for i := 0; i < crowdSize; i += crowdSize / 20 {
		c, _ := w.connect(fiveRegions[i%3], crowd[i], "")
		sockets = append(sockets, c)
	}
	gone, _ := w.connect("us-east", crowd[crowdSize-1], "")
	sockets[0].write(group, "to all", "zone", nil)
	for i, c := range sockets[1:] {
		if c.expect("message", says("to all")) == nil {
			t.Fatalf("socket %d", i)
		}
	}
	if status, out := w.remove("us-east", owner, group, crowd[crowdSize-1].name); status/100 != 2 {
		t.Fatalf("removing: %d %v", status, out)
	}
	gone.expect("group", happened("removed", crowd[crowdSize-1]))
	sockets[0].write(group, "without one", "zone", nil)
	for _, c := range sockets[1:] {
		c.expect("message", says("without one"))
	}
	if code := gone.refused(map[string]any{
		"t": "send", "client_id": uuid.NewString(), "to": map[string]string{"conversation": group}, "body": map[string]string{"text": "still here?"},
	}); code != string(chat.CodeNotMember) {
		t.Errorf("who was removed writes: %v", code)
	}
	if gone.got("without one") {
		t.Error("who was removed is shown what was written after")
	}
}

// bringIn has owner make the first of the crowd admins of the group, and those all at once bring in the rest.
func (w *world) bringIn(group string, owner person, crowd []person) {
	w.t.Helper()
	for _, p := range crowd[:crowdAdmins] {
		if status, out := w.put("us-east", owner, group, p.name, "admin"); status != http.StatusOK {
			w.t.Fatalf("making %s an admin: %d %v", p.name, status, out)
		}
	}
	var all sync.WaitGroup
	for i := range crowdAdmins {
		all.Go(func() {
			for n := crowdAdmins + i; n < len(crowd); n += crowdAdmins {
				if status, out := w.put("us-east", crowd[i], group, crowd[n].name, "member"); status != http.StatusOK {
					w.t.Errorf("bringing %s in: %d %v", crowd[n].name, status, out)
					return
				}
			}
		})
	}
	if all.Wait(); w.t.Failed() {
		w.t.FailNow()
	}
}

// crowd signs n people up, in all regions by turns, several at a time.
func (w *world) crowd(n int) []person {
	w.t.Helper()
	people := make([]person, n)
	var all sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := range people {
		slots <- struct{}{}
		all.Go(func() {
			people[i] = w.signUp(fiveRegions[i%3], fmt.Sprintf("crowd_%d", i), "")
			<-slots
		})
	}
	all.Wait()
	return people
}

// members gives how many members region r counts in a group; 0 while it says another number than it lists, for people may come in
// between two pages.
func (w *world) members(r chat.Region, p person, group string) int {
	w.t.Helper()
	n, after := 0, ""
	for {
		status, out := w.call("GET", r, "/v1/groups/"+group+"?limit=100&after="+after, p.token, nil)
		if status != http.StatusOK {
			return 0
		}
		page := out["members"].([]any)
		n += len(page)
		next, _ := out["next"].(string)
		if next == "" {
			if int(out["member_count"].(float64)) != n {
				return 0
			}
			return n
		}
		after = next
	}
}
