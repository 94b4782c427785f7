package history

import "testing"

// Marks that agree and are nowhere behind what was shown are well; one that went back, one that differs between regions and one
// that is missing in a region are found.
func TestCheckMarks(t *testing.T) {
	const early, late = "01000000-0000-1000-8000-000000000000", "02000000-0000-1000-8000-000000000000"
	mark := func(region, upTo string) Mark {
		return Mark{Owner: "ann", Conversation: "c", Kind: PeerRead, Region: region, UpTo: upTo}
	}
	for name, c := range map[string]struct {
		marks []Mark
		ok    bool
	}{
		"alike":                 {[]Mark{mark("eu", late), mark("us", late), mark("", early)}, true},
		"nobody has read":       {[]Mark{mark("eu", ""), mark("us", "")}, true},
		"behind what was shown": {[]Mark{mark("eu", early), mark("us", early), mark("", late)}, false},
		"regions differ":        {[]Mark{mark("eu", early), mark("us", late)}, false},
		"missing in one":        {[]Mark{mark("eu", ""), mark("us", late)}, false},
	} {
		if problems := CheckMarks(c.marks); (len(problems) == 0) != c.ok {
			t.Errorf("%s: %q", name, problems)
		}
	}
	other := mark("eu", early)
	other.Kind = OwnRead
	if problems := CheckMarks([]Mark{mark("eu", late), other}); len(problems) > 0 {
		t.Errorf("two kinds of mark are one: %q", problems)
	}
}
