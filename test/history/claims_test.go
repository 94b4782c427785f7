package history

import (
	"testing"
	"time"
)

// One winner for a name, whatever is not known of the other attempts; two winners, a name that is taken by nobody, a winner
// whom a look-up does not find and a holder who changes are found.
func TestCheckClaims(t *testing.T) {
	const ms = time.Millisecond
	claim := func(outcome Outcome, user string, from, to time.Duration) Claim {
		return Claim{Kind: ClaimName, Name: "ann", Outcome: outcome, User: user, Invoked: from * ms, Returned: to * ms}
	}
	look := func(user string, from, to time.Duration) Claim {
		return Claim{Kind: LookUpName, Name: "ann", Outcome: Acked, User: user, Invoked: from * ms, Returned: to * ms}
	}
	far := func(c Claim) Claim { c.Region = "far"; return c }
	for name, c := range map[string]struct {
		claims []Claim
		ok     bool
	}{
		"one wins":                   {[]Claim{claim(Acked, "a", 0, 9), claim(Failed, "", 1, 8), look("a", 10, 11)}, true},
		"unknown, and nobody has it": {[]Claim{claim(Unknown, "", 0, 9), look("", 10, 11)}, true},
		"unknown, and somebody has":  {[]Claim{claim(Unknown, "", 0, 9), claim(Failed, "", 10, 12), look("x", 13, 14), look("x", 15, 16)}, true},
		"unknown takes effect late":  {[]Claim{claim(Unknown, "", 0, 9), look("", 10, 11), look("x", 12, 13)}, true},
		"held by who then fails":     {[]Claim{claim(Unknown, "", 0, 9), claim(Failed, "", 10, 12), look("", 13, 14)}, true},
		"regions differ in the end":  {[]Claim{claim(Unknown, "", 0, 9), look("", 10, 11), far(look("x", 12, 13))}, false},
		"two win":                    {[]Claim{claim(Acked, "a", 0, 9), claim(Acked, "b", 1, 8)}, false},
		"two win, far apart":         {[]Claim{claim(Acked, "a", 0, 1), claim(Acked, "b", 8, 9)}, false},
		"taken by nobody":            {[]Claim{claim(Failed, "", 0, 1), claim(Acked, "a", 2, 3)}, false},
		"the winner is not found":    {[]Claim{claim(Acked, "a", 0, 1), look("", 2, 3)}, false},
		"another one is found":       {[]Claim{claim(Acked, "a", 0, 1), look("b", 2, 3)}, false},
		"the holder changes":         {[]Claim{claim(Unknown, "", 0, 1), look("x", 2, 3), look("y", 4, 5)}, false},
	} {
		if problems := CheckClaims(c.claims); (len(problems) == 0) != c.ok {
			t.Errorf("%s: %q", name, problems)
		}
	}
}
