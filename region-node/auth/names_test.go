package auth

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"meridian/chat"
)

const nameMax = 32

// testLines gives the lines of a file under testdata, without comments.
func testLines(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("%s holds nothing", name)
	}
	return lines
}

// Names of people in many scripts may be taken.
func TestValidUsernames(t *testing.T) {
	for _, name := range testLines(t, "usernames_valid.txt") {
		if err := ValidUsername(name, nameMax); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Names that are too short or long, invisible in part, or made of other things than letters and digits are refused.
func TestInvalidUsernames(t *testing.T) {
	for _, line := range testLines(t, "usernames_invalid.txt") {
		name, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if err := ValidUsername(name, nameMax); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("%s: %v, want %s", line, err, chat.CodeInvalid)
		}
	}
	if err := ValidUsername("bob\xff", nameMax); chat.CodeOf(err) != chat.CodeInvalidUTF8 {
		t.Errorf("not UTF-8: %v, want %s", err, chat.CodeInvalidUTF8)
	}
	if err := ValidUsername(strings.Repeat("a", 1<<20), nameMax); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("a megabyte: %v, want %s", err, chat.CodeInvalid)
	}
}

// Names that a reader takes for the same have one key, and honest names of different people do not.
func TestNormaliseJoinsLookAlikes(t *testing.T) {
	for _, line := range testLines(t, "lookalikes.txt") {
		names := strings.Fields(line)
		for _, name := range names {
			if err := ValidUsername(name, nameMax); err != nil {
				t.Errorf("%q: %v", name, err)
			}
			if got, want := Normalise(name), Normalise(names[0]); got != want {
				t.Errorf("Normalise(%q) = %q, that of %q is %q", name, got, names[0], want)
			}
		}
	}
	for _, line := range testLines(t, "distinct.txt") {
		seen := map[string]string{}
		for _, name := range strings.Fields(line) {
			key := Normalise(name)
			if other, ok := seen[key]; ok {
				t.Errorf("%q and %q have one key, %q", name, other, key)
			}
			seen[key] = name
		}
	}
}

// A key is its own key, and neither case nor the normal form that a name was typed in changes it.
func TestNormaliseIsStable(t *testing.T) {
	letters := []rune("abzIil1oO0éßΣςσñЯвİıſK\u0301\u0345ǅﬁǰ१一")
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.SampledFrom(letters), 0, 8, -1).Draw(t, "name")
		key := Normalise(name)
		if again := Normalise(key); again != key {
			t.Fatalf("Normalise(%q) = %q, and of that %q", name, key, again)
		}
		if other := Normalise(Canonical(name)); other != key {
			t.Fatalf("%q and its canonical form have keys %q and %q", name, key, other)
		}
	})
}

// No character of the look-alike table stands for itself and for another.
func TestLookAlikeTable(t *testing.T) {
	for from, to := range skeletons {
		if skeletons[to] != to {
			t.Errorf("%q stands for %q, which stands for %q", from, to, skeletons[to])
		}
	}
	seen := map[string]bool{}
	for _, twin := range strings.Fields(lookAlikes) {
		if seen[twin] {
			t.Errorf("%q stands in the table twice", twin)
		}
		seen[twin] = true
	}
}
