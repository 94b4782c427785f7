package rest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/wire"
)

func (c *cluster) contactsOf(at chat.Region, l wire.Login) string {
	c.t.Helper()
	var out []string
	for _, one := range want[wire.Contacts](c, 200, at, "GET", "/v1/contacts", l.Token, nil).Contacts {
		out = append(out, one.User.Username+" "+one.State)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// A contact is asked in one region and zone, accepted in another, and ends on both sides; both see each step alike.
func TestContacts(t *testing.T) {
	c := newCluster(t, nil)
	bob, anna := c.signUp("us-east", "Bob", ""), c.signUp("eu-west", "anna", "eu")
	both := func(ofBob, ofAnna string) {
		t.Helper()
		for _, at := range []chat.Region{"us-east", "eu-west", "ap-south"} {
			if got := c.contactsOf(at, bob); got != ofBob {
				t.Errorf("%s: bob's contacts are %q, want %q", at, got, ofBob)
			}
		}
		if got := c.contactsOf("eu-west", anna); got != ofAnna {
			t.Errorf("anna's contacts are %q, want %q", got, ofAnna)
		}
	}
	both("", "")
	asked := want[wire.Contact](c, 200, "us-east", "PUT", "/v1/contacts/anna", bob.Token, nil)
	if asked.State != "outgoing" || asked.User != (wire.User{ID: anna.UserID, Username: "anna"}) || asked.Since == "" {
		t.Errorf("asked: %+v", asked)
	}
	if again := want[wire.Contact](c, 200, "ap-south", "PUT", "/v1/contacts/ANNA", bob.Token, nil); again != asked {
		t.Errorf("asked again: %+v, want %+v", again, asked)
	}
	both("anna outgoing", "Bob incoming")
	if got := want[wire.Contact](c, 200, "eu-west", "PUT", "/v1/contacts/bob", anna.Token, nil); got.State != "accepted" {
		t.Errorf("accepted: %+v", got)
	}
	both("anna accepted", "Bob accepted")
	want[none](c, 204, "us-east", "DELETE", "/v1/contacts/anna", bob.Token, nil)
	want[none](c, 204, "us-east", "DELETE", "/v1/contacts/anna", bob.Token, nil)
	both("", "")
	want[wire.Contact](c, 200, "eu-west", "PUT", "/v1/contacts/bob", anna.Token, nil)
	both("anna incoming", "Bob outgoing")
}

// A zone whose policy is deny keeps its people's wishes to itself: they cannot ask or accept outside, the refusal names the
// zones, and they can still refuse what was asked of them.
func TestContactsAcrossADenyZone(t *testing.T) {
	c := newCluster(t, nil)
	bob, ravi := c.signUp("us-east", "bob", ""), c.signUp("ap-south", "ravi", "in")
	e := c.refused(chat.CodeDenied, "ap-south", "PUT", "/v1/contacts/bob", ravi.Token, nil)
	if !strings.Contains(e.Message, "in") || !strings.Contains(e.Message, "world") {
		t.Errorf("%q does not name the zones", e.Message)
	}
	want[wire.Contact](c, 200, "us-east", "PUT", "/v1/contacts/ravi", bob.Token, nil)
	c.refused(chat.CodeDenied, "ap-south", "PUT", "/v1/contacts/bob", ravi.Token, nil)
	if got := c.contactsOf("ap-south", ravi); got != "bob incoming" {
		t.Errorf("ravi's contacts: %q", got)
	}
	want[none](c, 204, "ap-south", "DELETE", "/v1/contacts/bob", ravi.Token, nil)
	if got := c.contactsOf("ap-south", ravi); got != "" {
		t.Errorf("ravi's contacts: %q", got)
	}
	if got := c.contactsOf("us-east", bob); got != "ravi outgoing" {
		t.Errorf("bob's contacts: %q: the refusal left its zone", got)
	}
}

// Contacts come in pages, each once, and are bounded.
func TestContactPagesAndLimit(t *testing.T) {
	c := newCluster(t, func(cfg *config.Config) { cfg.Limits.ContactsPerUser = 7 })
	bob := c.signUp("us-east", "bob", "")
	for i := range 7 {
		c.signUp("us-east", fmt.Sprint("friend", i), "")
		want[wire.Contact](c, 200, "us-east", "PUT", fmt.Sprint("/v1/contacts/friend", i), bob.Token, nil)
	}
	c.signUp("us-east", "onemore", "")
	c.refused(chat.CodeInvalid, "us-east", "PUT", "/v1/contacts/onemore", bob.Token, nil)
	want[none](c, 204, "us-east", "DELETE", "/v1/contacts/friend3", bob.Token, nil)
	seen := map[string]int{}
	next, pages := "", 0
	for {
		p := want[wire.Contacts](c, 200, "us-east", "GET", "/v1/contacts?limit=2&after="+next, bob.Token, nil)
		for _, one := range p.Contacts {
			seen[one.User.Username]++
		}
		if pages++; p.Next == "" || pages > 10 {
			break
		}
		next = p.Next
	}
	if len(seen) != 6 || pages != 3 || seen["friend3"] != 0 {
		t.Errorf("%d pages: %v", pages, seen)
	}
	want[wire.Contact](c, 200, "us-east", "PUT", "/v1/contacts/onemore", bob.Token, nil)
}

func (c *cluster) conversationsOf(at chat.Region, l wire.Login) []wire.Conversation {
	c.t.Helper()
	return want[wire.Conversations](c, 200, at, "GET", "/v1/conversations", l.Token, nil).Conversations
}

func texts(messages []wire.Message) string {
	var out []string
	for _, m := range messages {
		out = append(out, m.Body.Text)
	}
	return strings.Join(out, " ")
}

// A stranger's messages arrive as a request, which an answer, or a contact, makes an ordinary conversation; unread counts
// what the other wrote after the own read mark, and marks show on both sides, in every region.
func TestConversations(t *testing.T) {
	c := newCluster(t, nil)
	bob, anna := c.signUp("us-east", "bob", ""), c.signUp("eu-west", "anna", "eu")
	if got := c.conversationsOf("us-east", bob); len(got) != 0 {
		t.Errorf("before: %+v", got)
	}
	one := c.send("us-east", bob, anna, "one")
	two := c.send("us-east", bob, anna, "two")
	got := c.conversationsOf("eu-west", anna)
	if len(got) != 1 || got[0].State != "request" || got[0].Unread != 2 || got[0].Kind != "direct" ||
		*got[0].Peer != (wire.User{ID: bob.UserID, Username: "bob"}) || got[0].LastMessage == nil || got[0].LastMessage.Body.Text != "two" ||
		got[0].Read != "" || got[0].UpdatedAt != wire.Time(two.Time) {
		t.Fatalf("anna sees %+v", got)
	}
	c.mark("eu-west", anna, bob, chat.MarkDelivered, two.ID)
	c.mark("eu-west", anna, bob, chat.MarkRead, one.ID)
	if got := c.conversationsOf("eu-west", anna); got[0].Unread != 1 || got[0].Read != one.ID.String() || got[0].State != "request" {
		t.Errorf("after reading one, anna sees %+v", got[0])
	}
	for _, at := range []chat.Region{"us-east", "ap-south"} {
		got := c.conversationsOf(at, bob)
		if len(got) != 1 || got[0].State != "accepted" || got[0].Unread != 0 || got[0].PeerRead != one.ID.String() || got[0].PeerDelivered != two.ID.String() {
			t.Errorf("%s: bob sees %+v", at, got)
		}
	}
	three := c.send("eu-west", anna, bob, "three")
	c.mark("eu-west", anna, bob, chat.MarkRead, three.ID)
	if got := c.conversationsOf("eu-west", anna); got[0].State != "accepted" || got[0].Unread != 0 {
		t.Errorf("after answering, anna sees %+v", got[0])
	}
	if got := c.conversationsOf("ap-south", bob); got[0].Unread != 1 || got[0].State != "accepted" || got[0].PeerDelivered != three.ID.String() {
		t.Errorf("bob sees %+v", got[0])
	}
	carl := c.signUp("us-east", "carl", "")
	c.send("us-east", carl, bob, "hello")
	if got := c.conversationsOf("us-east", bob); len(got) != 2 || got[0].Peer.Username != "carl" || got[0].State != "request" {
		t.Errorf("bob sees %+v", got)
	}
	want[wire.Contact](c, 200, "us-east", "PUT", "/v1/contacts/carl", bob.Token, nil)
	if got := c.conversationsOf("us-east", bob); got[0].State != "accepted" {
		t.Errorf("with carl as a contact bob sees %+v", got[0])
	}
	// Nobody else may read it.
	c.refused(chat.CodeUnknownConversation, "us-east", "GET", "/v1/conversations/"+got[0].ID+"/messages", carl.Token, nil)
}

// A block hides what the other writes from then on, until it ends, in every region; what was written meanwhile stays hidden,
// and the other notices nothing.
func TestBlocks(t *testing.T) {
	c := newCluster(t, nil)
	bob, carl := c.signUp("us-east", "bob", ""), c.signUp("us-east", "carl", "")
	first := c.send("us-east", carl, bob, "before")
	path := "/v1/conversations/" + first.Conversation.String() + "/messages"
	sees := func(l wire.Login, expected string) {
		t.Helper()
		for _, at := range []chat.Region{"us-east", "eu-west", "ap-south"} {
			if got := texts(want[wire.Messages](c, 200, at, "GET", path, l.Token, nil).Messages); got != expected {
				t.Errorf("%s: %s sees %q, want %q", at, l.Username, got, expected)
			}
		}
	}
	want[none](c, 204, "us-east", "PUT", "/v1/blocks/carl", bob.Token, nil)
	steps := func() int {
		rows, err := c.regions["us-east"].store.Blocks(t.Context(), ownerOf(t, bob).ID)
		if err != nil {
			t.Fatal(err)
		}
		return len(rows)
	}
	want[none](c, 204, "us-east", "PUT", "/v1/blocks/CARL", bob.Token, nil)
	if n := steps(); n != 1 {
		t.Errorf("blocking twice left %d steps, want 1", n)
	}
	c.send("us-east", carl, bob, "hidden")
	sees(bob, "before")
	sees(carl, "hidden before")
	list := want[wire.Blocks](c, 200, "ap-south", "GET", "/v1/blocks", bob.Token, nil).Blocks
	if len(list) != 1 || list[0].User.Username != "carl" || list[0].Since == "" {
		t.Errorf("blocks: %+v", list)
	}
	if got := c.conversationsOf("us-east", bob); len(got) != 1 || got[0].State != "blocked" || got[0].LastMessage.Body.Text != "before" || got[0].Unread != 1 {
		t.Errorf("bob sees %+v", got)
	}
	if got := c.conversationsOf("us-east", carl); got[0].State != "accepted" {
		t.Errorf("carl sees %+v", got[0])
	}
	if got := want[wire.Blocks](c, 200, "us-east", "GET", "/v1/blocks", carl.Token, nil).Blocks; len(got) != 0 {
		t.Errorf("carl's blocks: %+v", got)
	}
	c.refused(chat.CodeBlocked, "us-east", "PUT", "/v1/contacts/carl", bob.Token, nil)
	want[none](c, 204, "eu-west", "DELETE", "/v1/blocks/carl", bob.Token, nil)
	want[none](c, 204, "eu-west", "DELETE", "/v1/blocks/carl", bob.Token, nil)
	c.send("us-east", carl, bob, "after")
	sees(bob, "after before")

	// Who is blocked before he ever wrote does not appear.
	dora := c.signUp("us-east", "dora", "")
	want[none](c, 204, "us-east", "PUT", "/v1/blocks/dora", bob.Token, nil)
	c.send("us-east", dora, bob, "never seen")
	if got := c.conversationsOf("us-east", bob); len(got) != 1 || got[0].Peer.Username != "carl" {
		t.Errorf("bob sees %+v", got)
	}
}

// History comes in pages that hold every message once, newest first, 50 by default and 100 at most, also where many are
// hidden; the end has no next.
func TestMessagePages(t *testing.T) {
	c := newCluster(t, nil)
	bob, carl := c.signUp("us-east", "bob", ""), c.signUp("us-east", "carl", "")
	var conversation string
	n := 0
	write := func(count int) {
		for range count {
			n++
			conversation = c.send("us-east", carl, bob, fmt.Sprint("m", n)).Conversation.String()
		}
	}
	write(60)
	want[none](c, 204, "us-east", "PUT", "/v1/blocks/carl", bob.Token, nil)
	write(45) // m61 to m105 are hidden
	want[none](c, 204, "us-east", "DELETE", "/v1/blocks/carl", bob.Token, nil)
	write(60)
	read := func(l wire.Login, limit string) (sizes []int, seen []string) {
		next := ""
		for range 200 {
			p := want[wire.Messages](c, 200, "us-east", "GET", "/v1/conversations/"+conversation+"/messages?limit="+limit+"&before="+next, l.Token, nil)
			sizes = append(sizes, len(p.Messages))
			for _, m := range p.Messages {
				seen = append(seen, m.Body.Text)
			}
			if next = p.Next; next == "" {
				break
			}
		}
		return sizes, seen
	}
	var ofBob, ofCarl []string
	for i := n; i > 0; i-- {
		ofCarl = append(ofCarl, fmt.Sprint("m", i))
		if i <= 60 || i > 105 {
			ofBob = append(ofBob, fmt.Sprint("m", i))
		}
	}
	for limit, sizes := range map[string][]int{"": {50, 50, 20}, "1000": {100, 20}, "40": {40, 40, 40}, "7": nil} {
		gotSizes, seen := read(bob, limit)
		if !slices.Equal(seen, ofBob) || sizes != nil && !slices.Equal(gotSizes, sizes) {
			t.Errorf("limit %q: pages of %v: %v", limit, gotSizes, seen)
		}
	}
	if sizes, seen := read(carl, "100"); !slices.Equal(seen, ofCarl) || !slices.Equal(sizes, []int{100, 65}) {
		t.Errorf("carl: pages of %v: %v", sizes, seen)
	}
	if got := c.conversationsOf("us-east", bob); got[0].Unread != 100 {
		t.Errorf("unread = %d, want it to stop at 100", got[0].Unread)
	}
}

// The list of conversations comes in pages too, the latest first.
func TestConversationPages(t *testing.T) {
	c := newCluster(t, nil)
	bob := c.signUp("us-east", "bob", "")
	var names []string
	for i := range 7 {
		name := fmt.Sprint("friend", i)
		c.send("us-east", c.signUp("us-east", name, ""), bob, "hi")
		names = append([]string{name}, names...)
	}
	want[none](c, 204, "us-east", "PUT", "/v1/blocks/friend5", bob.Token, nil) // what it wrote before stays
	var seen []string
	next, pages := "", 0
	for {
		p := want[wire.Conversations](c, http.StatusOK, "us-east", "GET", "/v1/conversations?limit=3&before="+next, bob.Token, nil)
		for _, one := range p.Conversations {
			seen = append(seen, one.Peer.Username)
		}
		if pages++; p.Next == "" || pages > 10 {
			break
		}
		next = p.Next
	}
	if !slices.Equal(seen, names) || pages != 3 {
		t.Errorf("%d pages: %v, want %v", pages, seen, names)
	}
}

// Looking names up is bounded per user, so that nobody crawls the directory.
func TestLookUpsAreBounded(t *testing.T) {
	c := newCluster(t, nil)
	bob, carl := c.signUp("us-east", "bob", ""), c.signUp("us-east", "carl", "")
	for range 300 {
		c.refused(chat.CodeUnknownUser, "us-east", "GET", "/v1/users/nobody", bob.Token, nil)
	}
	c.refused(chat.CodeRateLimited, "us-east", "GET", "/v1/users/nobody", bob.Token, nil)
	want[wire.Profile](c, 200, "us-east", "GET", "/v1/users/bob", carl.Token, nil)
}
