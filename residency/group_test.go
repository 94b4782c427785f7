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
	members := []chat.MemberRow{{Owner: group, Conversation: conversation, ByZone: "world"}}
	names := func(by chat.Zone) []chat.GroupRow {
		return []chat.GroupRow{{Owner: group, Conversation: conversation, ByZone: by}}
	}
	byEU := []chat.MemberRow{members[0], {Owner: group, Conversation: conversation, ByZone: "eu"}}
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
		"steps of another zone's":       {in("world", "eu"), chat.Rows{Members: byEU}, "us-east", "eu-west", chat.CodeDenied},
		"also between its regions":      {in("world"), chat.Rows{Members: byEU}, "us-east", "eu-west", chat.CodeDenied},
		"from where they were made":     {in("world", "eu"), chat.Rows{Members: byEU}, "eu-west", "us-east", ""},
		"steps of nobody's":             {in("world"), chat.Rows{Members: []chat.MemberRow{{Owner: group, Conversation: conversation}}}, "us-east", "eu-west", chat.CodeDenied},
		"a name to a zone that joins":   {in("world", "eu"), chat.Rows{Groups: names("world")}, "us-east", "eu-west", ""},
		"a name of another zone's":      {in("world", "eu"), chat.Rows{Groups: names("eu")}, "us-east", "eu-west", chat.CodeDenied},
		"a name inside a zone":          {in("world"), chat.Rows{Groups: names("eu")}, "us-east", "eu-west", chat.CodeDenied},
		"a name of another group":       {in("world", "eu"), chat.Rows{Groups: []chat.GroupRow{{Owner: person.ID, ByZone: "world"}}}, "us-east", "eu-west", chat.CodeDenied},
		"members of somebody":           {in("world", "eu"), chat.Rows{Members: []chat.MemberRow{{Owner: person.ID, ByZone: "world"}}}, "us-east", "eu-west", chat.CodeDenied},
	} {
		op := &chat.Op{Kind: chat.OpRows, Owners: c.owners, Rows: &c.rows}
		if d := Rows(topology, op, c.from, c.self); d.Code != c.want || d.Reason == "" {
			t.Errorf("%s: %q (%s), want %q", name, d.Code, d.Reason, c.want)
		}
	}
}
