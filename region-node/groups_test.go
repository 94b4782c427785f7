package regionnode_test

import (
	"fmt"
	"maps"
	"net/http"
	"testing"

	"github.com/google/uuid"

	"meridian/chat"
)

// makeGroup has owner make a group of the named people; it gives the group's id.
func (w *world) makeGroup(r chat.Region, owner person, name string, members ...string) string {
	w.t.Helper()
	status, out := w.call("POST", r, "/v1/groups", owner.token, map[string]any{"client_id": uuid.NewString(), "name": name, "members": members})
	if status != http.StatusCreated || out["kind"] != "group" || out["name"] != name || out["role"] != "owner" {
		w.t.Fatalf("making %s: %d %v", name, status, out)
	}
	return out["id"].(string)
}

// put has by bring somebody into a group, or give a role; it gives status and answer.
func (w *world) put(r chat.Region, by person, group, username, role string) (int, map[string]any) {
	w.t.Helper()
	return w.call("PUT", r, "/v1/groups/"+group+"/members/"+username, by.token, map[string]string{"client_id": uuid.NewString(), "role": role})
}

func (w *world) remove(r chat.Region, by person, group, username string) (int, map[string]any) {
	w.t.Helper()
	return w.call("DELETE", r, "/v1/groups/"+group+"/members/"+username, by.token, nil)
}

// write sends a text to a conversation and waits for its ack at level.
func (c *client) write(conversation, text, level string, more map[string]any) map[string]any {
	c.w.t.Helper()
	f := map[string]any{"t": "send", "client_id": uuid.NewString(), "to": map[string]string{"conversation": conversation}, "body": map[string]string{"text": text}}
	maps.Copy(f, more)
	c.send(f)
	return c.expect("ack", func(a map[string]any) bool { return a["client_id"] == f["client_id"] && a["level"] == level })
}

// refused sends a frame and gives the code with which it is refused.
func (c *client) refused(frame map[string]any) any {
	c.w.t.Helper()
	c.send(frame)
	return c.expect("error", nil)["code"]
}

func says(text string) func(map[string]any) bool {
	return func(f map[string]any) bool { return textOf(f) == text }
}

func happened(change string, to person) func(map[string]any) bool {
	return func(f map[string]any) bool {
		user, _ := f["user"].(map[string]any)
		return f["change"] == change && (to.id == "" || user["id"] == to.id)
	}
}

// knows waits until region r knows a role of p in the group.
func (w *world) knows(r chat.Region, p person, group, role string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s to know that %s is %s", r, p.name, role), func() bool {
		status, out := w.call("GET", r, "/v1/conversations", p.token, nil)
		if status != http.StatusOK {
			return false
		}
		for _, c := range out["conversations"].([]any) {
			if c := c.(map[string]any); c["id"] == group {
				return c["role"] == role
			}
		}
		return false
	})
}

// five people over three regions, with the group that they share and a socket each.
type five struct {
	*world
	people  [5]person
	sockets [5]*client
	group   string
}

var fiveRegions = [5]chat.Region{"us-east", "eu-west", "us-east", "eu-west", "ap-south"}

func newFive(t *testing.T) *five {
	t.Helper()
	f := &five{world: newWorld(t)}
	for i := range f.people {
		f.people[i] = f.signUp(fiveRegions[i], fmt.Sprintf("person_%d", i), "")
	}
	for i := range f.people {
		f.sockets[i], _ = f.connect(fiveRegions[i], f.people[i], "")
	}
	f.group = f.makeGroup("us-east", f.people[0], "the five", "person_1", "person_2", "person_3", "person_4")
	for i, c := range f.sockets {
		e := c.expect("group", happened("created", person{}))
		if e["conversation_id"] != f.group || e["name"] != "the five" || e["by"].(map[string]any)["username"] != "person_0" || e["at"] == "" || e["cursor"] == "" {
			t.Fatalf("person %d was told %v", i, e)
		}
	}
	return f
}

// all waits until every socket has a frame of that type that fits.
func (f *five) all(t string, fits func(map[string]any) bool) {
	f.t.Helper()
	for _, c := range f.sockets {
		c.await(t, fits)
	}
}

// A group of five over three regions writes, answers, edits, deletes, reacts and reads; all five see all of it, live and in
// every region's list, and only its own people do.
func TestGroupOfFive(t *testing.T) {
	f := newFive(t)
	sent := f.sockets[1].write(f.group, "helo", "zone", nil)
	id := sent["message_id"].(string)
	if sent["conversation_id"] != f.group {
		t.Fatalf("ack %v", sent)
	}
	for i, c := range f.sockets {
		if i == 1 {
			continue // has the ack
		}
		m := c.expect("message", says("helo"))["message"].(map[string]any)
		if m["id"] != id || m["conversation_id"] != f.group || m["sender"].(map[string]any)["username"] != "person_1" {
			t.Fatalf("person %d got %v", i, m)
		}
	}
	f.sockets[1].change("edit", f.group, id, "zone", body("hello"))
	f.all("edit", about(id))
	f.sockets[4].change("react", f.group, id, "zone", reaction("👍", true))
	f.all("react", about(id))
	answer := f.sockets[2].write(f.group, "an answer", "zone", map[string]any{"reply_to": id})
	m := f.sockets[3].expect("message", says("an answer"))["message"].(map[string]any)
	if m["reply_to"] != id {
		t.Fatalf("answer %v", m)
	}
	f.sockets[3].send(map[string]any{"t": "read", "conversation_id": f.group, "message_id": answer["message_id"]})
	f.all("receipt", func(r map[string]any) bool {
		return r["kind"] == "read" && r["user"] == f.people[3].id && r["message_id"] == answer["message_id"]
	})
	f.sockets[0].send(map[string]any{"t": "typing", "conversation_id": f.group})
	for _, c := range f.sockets[1:] {
		c.expect("typing", func(h map[string]any) bool { return h["user"] == f.people[0].id && h["conversation_id"] == f.group })
	}
	for i, p := range f.people {
		for _, r := range fiveRegions[:2] {
			f.eventually(fmt.Sprintf("the list of person %d in %s", i, r), func() bool { return f.lists(r, p, answer["message_id"]) })
		}
	}
	status, out := f.call("GET", "ap-south", "/v1/groups/"+f.group+"?limit=3", f.people[4].token, nil)
	if status != http.StatusOK || out["member_count"] != 5.0 || out["role"] != "member" || len(out["members"].([]any)) != 3 || out["next"] == nil {
		t.Fatalf("group: %d %v", status, out)
	}
	if first := out["members"].([]any)[0].(map[string]any); first["role"] != "owner" || first["user"].(map[string]any)["username"] != "person_0" {
		t.Errorf("first member: %v", first)
	}
	status, out = f.call("GET", "ap-south", "/v1/groups/"+f.group+"?limit=3&after="+out["next"].(string), f.people[4].token, nil)
	if status != http.StatusOK || len(out["members"].([]any)) != 2 || out["next"] != nil {
		t.Fatalf("rest of the group: %d %v", status, out)
	}
	f.sockets[1].change("delete", f.group, id, "zone", nil)
	f.all("delete", about(id))
	f.strangerIsOut(id)
}

// lists says whether the person's list in a region has the group with that last message.
func (f *five) lists(r chat.Region, p person, last any) bool {
	status, out := f.call("GET", r, "/v1/conversations", p.token, nil)
	if status != http.StatusOK || len(out["conversations"].([]any)) != 1 {
		return false
	}
	c := out["conversations"].([]any)[0].(map[string]any)
	m, _ := c["last_message"].(map[string]any)
	return c["kind"] == "group" && c["name"] == "the five" && c["member_count"] == 5.0 && c["state"] == "accepted" && c["peer"] == nil &&
		m["id"] == last
}

// strangerIsOut: somebody who was never in the group can neither read, write nor change it, and does not learn that it exists.
func (f *five) strangerIsOut(message string) {
	t := f.t
	stranger := f.signUp("us-east", "a_stranger", "")
	c, _ := f.connect("us-east", stranger, "")
	for _, call := range []struct {
		method, path string
		body         any
	}{
		{"GET", "/v1/conversations/" + f.group + "/messages", nil},
		{"GET", "/v1/groups/" + f.group, nil},
		{"PATCH", "/v1/groups/" + f.group, map[string]string{"client_id": uuid.NewString(), "name": "mine"}},
		{"PUT", "/v1/groups/" + f.group + "/members/a_stranger", map[string]string{"client_id": uuid.NewString(), "role": "admin"}},
		{"DELETE", "/v1/groups/" + f.group + "/members/person_1", nil},
	} {
		if status, out := f.call(call.method, "us-east", call.path, stranger.token, call.body); status != http.StatusNotFound || out["code"] != "unknown_conversation" {
			t.Errorf("%s %s by a stranger: %d %v", call.method, call.path, status, out)
		}
	}
	for _, frame := range []map[string]any{
		{"t": "send", "client_id": uuid.NewString(), "to": map[string]string{"conversation": f.group}, "body": map[string]string{"text": "let me in"}},
		{"t": "edit", "client_id": uuid.NewString(), "conversation_id": f.group, "message_id": message, "body": map[string]string{"text": "x"}},
		{"t": "delete", "client_id": uuid.NewString(), "conversation_id": f.group, "message_id": message},
		{"t": "react", "client_id": uuid.NewString(), "conversation_id": f.group, "message_id": message, "emoji": "👍", "on": true},
		{"t": "read", "conversation_id": f.group, "message_id": message},
		{"t": "typing", "conversation_id": f.group},
	} {
		if code := c.refused(frame); code != "unknown_conversation" {
			t.Errorf("%v by a stranger: %v", frame["t"], code)
		}
	}
}

// Who is removed gets the news and nothing written after it, live, on resuming elsewhere and by reading, keeps what was before,
// and can do nothing there any more; who comes in later sees what was written since, and nothing before.
func TestRemovalAndJoining(t *testing.T) {
	f := newFive(t)
	before := f.sockets[0].write(f.group, "for all five", "zone", nil)["message_id"].(string)
	var cursor string
	for _, c := range f.sockets[1:] {
		cursor = c.expect("message", says("for all five"))["cursor"].(string)
	}
	gone, socket := f.people[4], f.sockets[4]
	if status, out := f.remove("us-east", f.people[0], f.group, gone.name); status != http.StatusNoContent {
		t.Fatalf("removing: %d %v", status, out)
	}
	e := socket.expect("group", happened("removed", gone))
	if e["by"].(map[string]any)["username"] != "person_0" {
		t.Errorf("news of the removal: %v", e)
	}
	f.sockets[1].expect("group", happened("removed", gone))
	after := f.sockets[1].write(f.group, "for four", "zone", nil)["message_id"].(string)
	f.sockets[3].expect("message", says("for four"))
	f.sockets[1].change("react", f.group, before, "zone", reaction("👋", true))
	if code := socket.refused(map[string]any{"t": "send", "client_id": uuid.NewString(), "to": map[string]string{"conversation": f.group}, "body": map[string]string{"text": "x"}}); code != "not_member" {
		t.Errorf("a send of who was removed: %v", code)
	}
	if status, out := f.call("GET", "ap-south", "/v1/groups/"+f.group, gone.token, nil); status != http.StatusForbidden || out["code"] != "not_member" {
		t.Errorf("the group for who was removed: %d %v", status, out)
	}
	f.knows("eu-west", gone, f.group, "none")
	elsewhere, _ := f.connect("eu-west", gone, cursor) // everything since is sent again there
	elsewhere.expect("group", happened("removed", gone))
	late := f.signUp("eu-west", "person_5", "")
	fresh, _ := f.connect("eu-west", late, "")
	if status, out := f.put("us-east", f.people[0], f.group, late.name, "member"); status != http.StatusOK || out["role"] != "member" {
		t.Fatalf("inviting: %d %v", status, out)
	}
	fresh.expect("group", happened("joined", late))
	f.sockets[2].expect("group", happened("joined", late))
	f.sockets[0].write(f.group, "welcome", "zone", nil)
	fresh.expect("message", says("welcome"))
	f.sockets[3].expect("message", says("welcome"))
	if m := f.message("eu-west", f.group, late, before); m != nil {
		t.Errorf("who came later reads %v", m)
	}
	if m := f.message("ap-south", f.group, gone, before); m == nil {
		t.Error("who was removed lost what was before")
	}
	if m := f.message("ap-south", f.group, gone, after); m != nil {
		t.Errorf("who was removed reads %v", m)
	}
	for _, c := range []*client{socket, elsewhere} { // a round trip each, through both logs: what was pushed is here by then
		f.roundTrip(c)
		for _, text := range []string{"for four", "welcome"} {
			if c.got(text) {
				t.Errorf("who was removed was pushed %q", text)
			}
		}
		if c.saw("react", f.people[1].id) {
			t.Error("who was removed was pushed a reaction")
		}
	}
}

// roundTrip waits until everything that was visible when it was called has been written to the socket.
func (f *five) roundTrip(c *client) {
	f.t.Helper()
	id := uuid.NewString()
	other := f.signUp("us-east", "rt_"+id[:8], "")
	d, _ := f.connect("us-east", other, "")
	d.say(f.people[4].name, id, "zone")
	c.expect("message", says(id))
}

// got says whether a message of that text ever came.
func (c *client) got(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.all {
		if f["t"] == "message" && textOf(f) == text {
			return true
		}
	}
	return false
}

// Roles decide who invites, removes, renames and deletes; an owner who leaves is followed by the longest-serving admin; every
// refusal says so, and changes nothing.
func TestRolesInGroups(t *testing.T) {
	f := newFive(t)
	owner, admin, member := f.people[0], f.people[1], f.people[2]
	denied := func(what string, status int, out map[string]any) {
		t.Helper()
		if status != http.StatusForbidden || out["code"] != "denied" {
			t.Errorf("%s: %d %v", what, status, out)
		}
	}
	rename := func(r chat.Region, p person, name string) (int, map[string]any) {
		return f.call("PATCH", r, "/v1/groups/"+f.group, p.token, map[string]string{"client_id": uuid.NewString(), "name": name})
	}
	what := func(status int, out map[string]any) func(string) {
		return func(what string) { t.Helper(); denied(what, status, out) }
	}
	f.signUp("us-east", "person_5", "")
	f.signUp("us-east", "person_6", "")
	what(f.put("us-east", member, f.group, "person_5", "member"))("a member invites")
	what(f.remove("us-east", member, f.group, "person_3"))("a member removes")
	what(rename("us-east", member, "mine"))("a member renames")
	if status, out := f.put("us-east", owner, f.group, admin.name, "admin"); status != http.StatusOK || out["role"] != "admin" {
		t.Fatalf("making an admin: %d %v", status, out)
	}
	f.all("group", happened("role", admin))
	if status, out := f.put("eu-west", admin, f.group, "person_5", "member"); status != http.StatusOK {
		t.Fatalf("an admin invites: %d %v", status, out)
	}
	what(f.put("eu-west", admin, f.group, member.name, "admin"))("an admin makes an admin")
	what(f.put("eu-west", admin, f.group, "person_6", "admin"))("an admin invites an admin")
	what(f.remove("eu-west", admin, f.group, owner.name))("an admin removes the owner")
	if status, out := rename("eu-west", admin, "renamed"); status != http.StatusOK || out["name"] != "renamed" {
		t.Fatalf("an admin renames: %d %v", status, out)
	}
	f.all("group", func(g map[string]any) bool { return g["change"] == "renamed" && g["name"] == "renamed" })
	sent := f.sockets[2].write(f.group, "to be deleted", "zone", nil)["message_id"].(string)
	f.sockets[1].expect("message", says("to be deleted"))
	f.sockets[3].expect("message", says("to be deleted"))
	if code := f.sockets[3].refused(map[string]any{"t": "delete", "client_id": uuid.NewString(), "conversation_id": f.group, "message_id": sent}); code != "denied" {
		t.Errorf("a member deletes another's message: %v", code)
	}
	f.sockets[1].change("delete", f.group, sent, "zone", nil)
	f.all("delete", about(sent))
	if status, out := f.remove("us-east", owner, f.group, owner.name); status != http.StatusNoContent {
		t.Fatalf("the owner leaves: %d %v", status, out)
	}
	f.sockets[1].expect("group", happened("left", owner))
	f.knows("eu-west", admin, f.group, "owner")
	f.knows("us-east", admin, f.group, "owner")
	if status, out := f.remove("eu-west", admin, f.group, "person_3"); status != http.StatusNoContent {
		t.Errorf("the new owner removes: %d %v", status, out)
	}
}

// A group is made once however often it is asked for; people of zones that may not write to each other do not come together
// in one; whoever is named is checked.
func TestMakingGroups(t *testing.T) {
	w := newWorld(t)
	ny := w.signUp("us-east", "newyork_user", "")
	w.signUp("eu-west", "paris_user", "eu")
	pune := w.signUp("ap-south", "pune_user", "in")
	create := func(p person, r chat.Region, body any) (int, map[string]any) {
		return w.call("POST", r, "/v1/groups", p.token, body)
	}
	body := map[string]any{"client_id": uuid.NewString(), "name": "two zones", "members": []string{"paris_user"}}
	status, first := create(ny, "us-east", body)
	if status != http.StatusCreated || first["member_count"] != 2.0 {
		t.Fatalf("making: %d %v", status, first)
	}
	if status, again := create(ny, "eu-west", body); status != http.StatusCreated || again["id"] != first["id"] {
		t.Errorf("again, elsewhere: %d %v", status, again)
	}
	long := make([]string, chat.MaxInvited+1)
	for _, c := range []struct {
		name   string
		body   any
		status int
		code   string
	}{
		{"no client id", map[string]any{"name": "x"}, 400, "invalid"},
		{"a client id that is none", map[string]any{"client_id": "x", "name": "x"}, 400, "invalid"},
		{"no name", map[string]any{"client_id": uuid.NewString(), "name": " "}, 400, "invalid"},
		{"a long name", map[string]any{"client_id": uuid.NewString(), "name": fmt.Sprintf("%200d", 1)}, 413, "too_large"},
		{"a name with a line end", map[string]any{"client_id": uuid.NewString(), "name": "a\nb"}, 400, "invalid"},
		{"a name of another type", map[string]any{"client_id": uuid.NewString(), "name": 5}, 400, "invalid"},
		{"members of another type", map[string]any{"client_id": uuid.NewString(), "name": "x", "members": "paris_user"}, 400, "invalid"},
		{"too many members", map[string]any{"client_id": uuid.NewString(), "name": "x", "members": long}, 400, "invalid"},
		{"an unknown member", map[string]any{"client_id": uuid.NewString(), "name": "x", "members": []string{"nobody_here"}}, 404, "unknown_user"},
		{"a zone that keeps its own", map[string]any{"client_id": uuid.NewString(), "name": "x", "members": []string{"pune_user"}}, 403, "denied"},
		{"no JSON", "x", 400, "invalid"},
	} {
		if status, out := create(ny, "us-east", c.body); status != c.status || out["code"] != c.code {
			t.Errorf("%s: %d %v, want %d %s", c.name, status, out, c.status, c.code)
		}
	}
	if status, out := create(pune, "ap-south", map[string]any{"client_id": uuid.NewString(), "name": "alone"}); status != http.StatusCreated || out["member_count"] != 1.0 {
		t.Errorf("a group in the zone that keeps its own: %d %v", status, out)
	}
	group := first["id"].(string)
	if status, out := w.put("us-east", ny, group, "pune_user", "member"); status != 403 || out["code"] != "denied" {
		t.Errorf("inviting from a zone that keeps its own: %d %v", status, out)
	}
	for path, want := range map[string]string{
		"/v1/groups/x/members/paris_user":                "invalid",
		"/v1/groups/" + group + "/members/nobody_here":   "unknown_user",
		"/v1/groups/" + uuid.NewString() + "/members/x_": "unknown_conversation",
	} {
		if _, out := w.call("PUT", "us-east", path, ny.token, map[string]string{"client_id": uuid.NewString(), "role": "member"}); out["code"] != want {
			t.Errorf("PUT %s: %v, want %s", path, out, want)
		}
	}
	for _, role := range []any{"owner", "king", 5} {
		if _, out := w.call("PUT", "us-east", "/v1/groups/"+group+"/members/paris_user", ny.token, map[string]any{"client_id": uuid.NewString(), "role": role}); out["code"] != "invalid" {
			t.Errorf("role %v: %v", role, out)
		}
	}
	if _, out := w.call("GET", "us-east", "/v1/groups/"+group+"?after=x", ny.token, nil); out["code"] != "invalid" {
		t.Errorf("after=x: %v", out)
	}
	if _, out := w.call("POST", "us-east", "/v1/groups/"+group, ny.token, nil); out["code"] != "method_not_allowed" {
		t.Errorf("POST: %v", out)
	}
}

// A member whose socket was away gets, in another region and in order, what was written in the group meanwhile, and whoever
// joined meanwhile is told of it.
func TestGroupResumeElsewhere(t *testing.T) {
	f := newFive(t)
	f.sockets[0].write(f.group, "first", "zone", nil)
	cursor := f.sockets[1].expect("message", says("first"))["cursor"].(string)
	_ = f.sockets[1].ws.Close()
	f.put("us-east", f.people[0], f.group, f.signUp("us-east", "person_5", "").name, "member")
	for i := range 20 {
		f.sockets[i%2*2].write(f.group, fmt.Sprintf("missed %d", i), "zone", nil)
	}
	c, welcome := f.connect("ap-south", f.people[1], cursor)
	if welcome["reset"] == true {
		t.Fatal("reset where the logs reach back")
	}
	for i := 0; i < 20; {
		switch text := textOf(c.expect("message", nil)); text {
		case "first":
		case fmt.Sprintf("missed %d", i):
			i++
		default:
			t.Fatalf("got %q instead of message %d", text, i)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.all {
		if e["t"] == "group" && e["change"] == "joined" {
			return
		}
	}
	t.Error("the joining was not told")
}

// What is written by somebody whom one blocked stays hidden in a group too, and a blocked person's reactions with it.
func TestBlocksInGroups(t *testing.T) {
	f := newFive(t)
	shown := f.sockets[0].write(f.group, "shown", "zone", nil)["message_id"].(string)
	f.sockets[1].expect("message", says("shown"))
	if status, out := f.call("PUT", "eu-west", "/v1/blocks/person_2", f.people[1].token, nil); status != http.StatusNoContent {
		t.Fatalf("blocking: %d %v", status, out)
	}
	hidden := f.sockets[2].write(f.group, "hidden", "zone", nil)["message_id"].(string)
	f.sockets[2].change("react", f.group, shown, "zone", reaction("👎", true))
	f.sockets[0].write(f.group, "last", "zone", nil)
	f.sockets[1].expect("message", says("last"))
	if f.sockets[1].got("hidden") || f.sockets[1].saw("react", f.people[2].id) {
		t.Error("what a blocked person did was pushed")
	}
	if m := f.message("eu-west", f.group, f.people[1], hidden); m != nil {
		t.Errorf("a blocked person's message is read: %v", m)
	}
	if m := f.message("eu-west", f.group, f.people[1], shown); m == nil || m["reactions"] != nil {
		t.Errorf("with a blocked person's reaction: %v", m)
	}
	if m := f.message("eu-west", f.group, f.people[3], shown); m == nil || m["reactions"] == nil {
		t.Errorf("for others: %v", m)
	}
}

// A region that learns late of a joining shows the newcomer what was written there since, although it came before the news; one
// that learns late of a removal shows nothing more of what came between, and neither does any other.
func TestLateNews(t *testing.T) {
	f := newFive(t)
	late, gone := f.signUp("eu-west", "person_5", ""), f.people[3]
	fresh, _ := f.connect("eu-west", late, "")
	for _, r := range []chat.Region{"us-east", "ap-south"} {
		f.net.Cut("eu-west", r, true)
	}
	if status, out := f.remove("us-east", f.people[0], f.group, gone.name); status != http.StatusNoContent {
		t.Fatalf("removing: %d %v", status, out)
	}
	if status, out := f.put("us-east", f.people[0], f.group, late.name, "member"); status != http.StatusOK {
		t.Fatalf("inviting: %d %v", status, out)
	}
	f.sockets[1].write(f.group, "from the one who stays", "region", nil)
	between := f.sockets[3].write(f.group, "from the one who is gone", "region", nil)["message_id"].(string)
	f.sockets[1].expect("message", says("from the one who is gone")) // eu-west does not know yet
	fresh.passed(between)
	for _, r := range []chat.Region{"us-east", "ap-south"} {
		f.net.Heal("eu-west", r)
	}
	fresh.expect("group", happened("joined", late))
	fresh.expect("message", says("from the one who stays"))
	f.sockets[3].expect("group", happened("removed", gone))
	f.sockets[0].expect("message", says("from the one who stays"))
	f.sockets[0].write(f.group, "afterwards", "zone", nil)
	fresh.expect("message", says("afterwards"))
	for _, c := range []*client{f.sockets[0], f.sockets[2], f.sockets[4], fresh} {
		if c.got("from the one who is gone") {
			t.Error("a message of who was removed is pushed where the removal is known")
		}
	}
	for _, p := range []person{f.people[1], gone, late} {
		if m := f.message("eu-west", f.group, p, between); m != nil {
			t.Errorf("%s reads %v", p.name, m)
		}
	}
}

// Who was away from several busy groups gets everything of all of them on resuming, each group's messages in their order, although
// one read of a log holds only a part of it.
func TestResumeFromBusyGroups(t *testing.T) {
	f := newFive(t)
	const each = 300 // more than one read of a log takes
	reader := f.people[4]
	groups := []string{f.group, f.makeGroup("us-east", f.people[0], "second", reader.name), f.makeGroup("us-east", f.people[2], "third", reader.name)}
	for range groups[1:] {
		f.sockets[4].expect("group", happened("created", person{}))
	}
	f.sockets[0].write(f.group, "before", "zone", nil)
	cursor := f.sockets[4].expect("message", says("before"))["cursor"].(string)
	_ = f.sockets[4].ws.Close()
	writers := []*client{f.sockets[1], f.sockets[0], f.sockets[2]}
	for i := range each {
		for g, c := range writers {
			c.send(map[string]any{
				"t": "send", "client_id": uuid.NewString(), "to": map[string]string{"conversation": groups[g]},
				"body": map[string]string{"text": fmt.Sprint(i)},
			})
		}
	}
	for _, c := range writers {
		for range each {
			c.expect("ack", func(a map[string]any) bool { return a["level"] == "zone" })
		}
	}
	for _, r := range []chat.Region{"ap-south", "us-east"} {
		c, welcome := f.connect(r, reader, cursor)
		if welcome["reset"] == true {
			t.Fatal("reset where the logs reach back")
		}
		next := make(map[string]int)
		for n := 0; n < each*len(groups); {
			m := c.expect("message", nil)["message"].(map[string]any)
			group, text := m["conversation_id"].(string), m["body"].(map[string]any)["text"]
			switch text {
			case "before": // another region may repeat it
			case fmt.Sprint(next[group]):
				next[group]++
				n++
			default:
				t.Fatalf("%s: got %v in place of number %d", r, text, next[group])
			}
		}
	}
}

// A step of a membership is told to a socket once, though several regions bring it when a zone comes in.
func TestStepsAreToldOnce(t *testing.T) {
	w := newWorld(t)
	emmy, alan := w.signUp("eu-west", "emmy", "eu"), w.signUp("eu-west", "alan", "eu")
	ada, grace := w.signUp("us-east", "ada", ""), w.signUp("ap-south", "grace", "")
	var sockets []*client
	for _, p := range []person{emmy, alan, ada, grace} {
		c, _ := w.connect(map[person]chat.Region{emmy: "eu-west", alan: "eu-west", ada: "us-east", grace: "ap-south"}[p], p, "")
		sockets = append(sockets, c)
	}
	group := w.makeGroup("eu-west", emmy, "europeans", "alan")
	for round, p := range []person{ada, grace} {
		if status, out := w.put("eu-west", emmy, group, p.name, "member"); status != http.StatusOK {
			t.Fatal(status, out)
		}
		w.knows([]chat.Region{"us-east", "ap-south"}[round], p, group, "member")
		sockets[0].write(group, "welcome "+p.name, "region", nil)
	}
	sockets[0].write(group, "all here", "region", nil)
	for i, c := range sockets[1:] {
		told := map[string]int{}
		c.each(func(frame map[string]any) bool {
			if frame["t"] == "group" {
				told[fmt.Sprint(frame["change"], frame["user"])]++
			}
			return frame["t"] == "message" && textOf(frame) == "all here"
		})
		for what, n := range told {
			if n != 1 {
				t.Errorf("socket %d was told %d times: %s", i+1, n, what)
			}
		}
	}
}
