package residency

import (
	"testing"

	"meridian/chat"
)

// A region is told of a refusal by who refused, of what it brought itself; nobody speaks for another region.
func TestRefusal(t *testing.T) {
	r := &chat.Refusal{Region: "eu-west", Stream: chat.StreamID{Region: "us-east", Node: "n1", Incarnation: 1}}
	for name, c := range map[string]struct {
		from, self chat.Region
		want       chat.Code
	}{
		"who refused to who brought it": {"eu-west", "us-east", ""},
		"another's refusal":             {"ap-south", "us-east", chat.CodeDenied},
		"what another brought":          {"eu-west", "ap-south", chat.CodeDenied},
	} {
		if d := Refusal(r, c.from, c.self); d.Code != c.want || d.Reason == "" {
			t.Errorf("%s: %q (%s), want %q", name, d.Code, d.Reason, c.want)
		}
	}
}
