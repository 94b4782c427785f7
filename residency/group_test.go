package residency

import (
	"testing"

	"meridian/chat"
)

// People share a group only where each zone lets every other keep copies.
func TestShare(t *testing.T) {
	for name, c := range map[string]struct {
		zones []chat.Zone
		want  chat.Code
	}{
		"one zone":                  {[]chat.Zone{"in"}, ""},
		"two that let each other":   {[]chat.Zone{"eu", "world"}, ""},
		"one lets the other only":   {[]chat.Zone{"world", "in"}, chat.CodeDenied},
		"a zone that nobody knows":  {[]chat.Zone{"mars"}, chat.CodeDenied},
		"the last of three forbids": {[]chat.Zone{"eu", "world", "in"}, chat.CodeDenied},
	} {
		if d := Share(topology, c.zones); d.Code != c.want || d.Reason == "" {
			t.Errorf("%s: %q (%s)", name, d.Code, d.Reason)
		}
	}
}

// Rows come from a region that keeps the same zone, or say only who is in a group; nobody plants texts in, or draws them
// from, a zone that he does not serve.
func TestRows(t *testing.T) {
	group := chat.UserID{9}
	conversation := chat.ConversationID(group)
	person := chat.Owner{ID: chat.UserID{1}, Zone: "world"}
	in := func(zones ...chat.Zone) (owners []chat.Owner) {
		for _, z := range zones {
			owners = append(owners, chat.GroupOwner(conversation, z))
		}
		return owners
	}
	members := []chat.MemberRow{{Owner: group, Conversation: conversation}}
	for name, c := range map[string]struct {
		owners     []chat.Owner
		rows       chat.Rows
		from, self chat.Region
		want       chat.Code
	}{
		"a repair inside a zone":        {[]chat.Owner{person}, chat.Rows{Messages: []chat.MessageRow{{Owner: person.ID}}}, "us-east", "eu-west", ""},
		"of a zone that is not ours":    {[]chat.Owner{{ID: person.ID, Zone: "in"}}, chat.Rows{}, "ap-south", "eu-west", chat.CodeDenied},
		"of a zone that is not theirs":  {[]chat.Owner{{ID: person.ID, Zone: "eu"}}, chat.Rows{Messages: []chat.MessageRow{{Owner: person.ID}}}, "us-east", "eu-west", chat.CodeDenied},
		"members to a zone that joins":  {in("world", "eu"), chat.Rows{Members: members}, "us-east", "eu-west", ""},
		"texts to a zone that joins":    {in("world", "eu"), chat.Rows{Members: members, Messages: []chat.MessageRow{{Owner: group}}}, "us-east", "eu-west", chat.CodeDenied},
		"members from outside":          {in("eu"), chat.Rows{Members: members}, "us-east", "eu-west", chat.CodeDenied},
		"members of a group that's off": {in("world", "in"), chat.Rows{Members: members}, "us-east", "ap-south", chat.CodeDenied},
		"people beside a group":         {append(in("world", "eu"), person), chat.Rows{Members: members}, "us-east", "eu-west", chat.CodeDenied},
		"members of somebody":           {in("world", "eu"), chat.Rows{Members: []chat.MemberRow{{Owner: person.ID}}}, "us-east", "eu-west", chat.CodeDenied},
	} {
		op := &chat.Op{Kind: chat.OpRows, Owners: c.owners, Rows: &c.rows}
		if d := Rows(topology, op, c.from, c.self); d.Code != c.want || d.Reason == "" {
			t.Errorf("%s: %q (%s), want %q", name, d.Code, d.Reason, c.want)
		}
	}
}
