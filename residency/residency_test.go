package residency

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"meridian/chat"
)

var topology = chat.Topology{
	Regions: []chat.Region{"ap-south", "eu-west", "us-east"},
	Zones: map[chat.Zone]chat.ZoneSpec{
		"world": {Name: "world", Regions: []chat.Region{"ap-south", "eu-west", "us-east"}, Policy: chat.PolicyCopy, Transit: chat.TransitAllow},
		"eu":    {Name: "eu", Regions: []chat.Region{"eu-west"}, Policy: chat.PolicyCopy, Transit: chat.TransitAllow},
		"in":    {Name: "in", Regions: []chat.Region{"ap-south"}, Policy: chat.PolicyDeny, Transit: chat.TransitDeny},
	},
}

// Each question has one answer for each pair of zones and regions, and a refusal carries the code that the client hears.
func TestDecisions(t *testing.T) {
	for name, c := range map[string]struct {
		got  Decision
		want chat.Code
	}{
		"write inside a zone":                 {Write(topology, "in", "in"), ""},
		"write out of a copy zone":            {Write(topology, "eu", "world"), ""},
		"write out of a deny zone":            {Write(topology, "in", "world"), chat.CodeDenied},
		"write into a deny zone":              {Write(topology, "world", "in"), ""},
		"write from a zone nobody knows":      {Write(topology, "mars", "world"), chat.CodeDenied},
		"write to a zone nobody knows":        {Write(topology, "world", "mars"), chat.CodeDenied},
		"store in the owner's zone":           {Store(topology, "world", "eu", "eu-west"), ""},
		"store outside the owner's zone":      {Store(topology, "world", "eu", "us-east"), chat.CodeDenied},
		"store what policy keeps at home":     {Store(topology, "in", "world", "ap-south"), chat.CodeDenied},
		"speak for an own zone":               {Speak(topology, "in", "ap-south"), ""},
		"speak for a foreign zone":            {Speak(topology, "in", "us-east"), chat.CodeDenied},
		"handle at home":                      {Handle(topology, "in", "ap-south"), ""},
		"handle where transit is allowed":     {Handle(topology, "eu", "us-east"), ""},
		"handle where transit is denied":      {Handle(topology, "in", "us-east"), chat.CodeWrongRegion},
		"handle for a zone that nobody knows": {Handle(topology, "mars", "us-east"), chat.CodeDenied},
	} {
		if c.got.Code != c.want || c.got.Reason == "" {
			t.Errorf("%s: %q (%s), want %q with a reason", name, c.got.Code, c.got.Reason, c.want)
		}
		if (c.got.Err("test") == nil) != (c.want == "") || chat.CodeOf(c.got.Err("test")) != c.want {
			t.Errorf("%s: error %v", name, c.got.Err("test"))
		}
	}
}

// Whoever serves a mailbox may hand on what people wrote into it; nobody else's mailbox, and no account, session or block.
func TestBring(t *testing.T) {
	op := func(kind chat.OpKind, author chat.Zone, owners ...chat.Zone) *chat.Op {
		o := &chat.Op{Kind: kind, Author: chat.Owner{Zone: author}}
		for _, z := range owners {
			o.Owners = append(o.Owners, chat.Owner{Zone: z})
		}
		return o
	}
	for name, c := range map[string]struct {
		op   *chat.Op
		by   chat.Region
		want chat.Code
	}{
		"the author's side":             {op(chat.OpAccount, "eu", "eu"), "eu-west", ""},
		"the mailbox's side":            {op(chat.OpMessage, "eu", "eu", "world"), "us-east", ""},
		"a contact":                     {op(chat.OpContact, "eu", "eu", "world"), "us-east", ""},
		"an account":                    {op(chat.OpAccount, "eu", "eu", "world"), "us-east", chat.CodeDenied},
		"a session":                     {op(chat.OpSession, "eu", "eu", "world"), "us-east", chat.CodeDenied},
		"a block":                       {op(chat.OpBlock, "eu", "eu", "world"), "us-east", chat.CodeDenied},
		"no side":                       {op(chat.OpMessage, "eu", "eu"), "us-east", chat.CodeDenied},
		"an author of nowhere":          {op(chat.OpMessage, "mars", "world"), "us-east", chat.CodeDenied},
		"a claim of nobody":             {op(chat.OpClaim, ""), "us-east", ""},
		"a claim for a zone not served": {op(chat.OpClaim, "eu"), "us-east", chat.CodeDenied},
	} {
		if got := Bring(topology, c.op, c.by); got.Code != c.want || got.Reason == "" {
			t.Errorf("%s: %q (%s), want %q with a reason", name, got.Code, got.Reason, c.want)
		}
	}
}

// An op goes to every region of its owners' zones, nowhere else, and nowhere at all when policy keeps one copy at home; only
// a directory claim goes everywhere.
func TestDestinations(t *testing.T) {
	op := func(author chat.Zone, owners ...chat.Zone) *chat.Op {
		o := &chat.Op{Kind: chat.OpMessage, Author: chat.Owner{Zone: author}}
		for _, z := range owners {
			o.Owners = append(o.Owners, chat.Owner{Zone: z})
		}
		return o
	}
	for name, c := range map[string]struct {
		op   *chat.Op
		self chat.Region
		want []chat.Region
	}{
		"world to world":         {op("world", "world", "world"), "us-east", []chat.Region{"ap-south", "eu-west"}},
		"eu alone":               {op("eu", "eu"), "eu-west", nil},
		"eu to world":            {op("eu", "eu", "world"), "eu-west", []chat.Region{"ap-south", "us-east"}},
		"in alone":               {op("in", "in"), "ap-south", nil},
		"in to world is refused": {op("in", "in", "world"), "ap-south", nil},
		"world to in":            {op("world", "world", "in"), "eu-west", []chat.Region{"ap-south", "us-east"}},
		"a claim of a deny zone": {&chat.Op{Kind: chat.OpClaim, Author: chat.Owner{Zone: "in"}}, "ap-south", []chat.Region{"eu-west", "us-east"}},
	} {
		if diff := cmp.Diff(c.want, Destinations(topology, c.op, c.self)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}
