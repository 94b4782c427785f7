package auth

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"meridian/chat"
)

// UsernameMinChars is the least length of a username, in characters of its NFKC form.
const UsernameMinChars = 3

// Canonical gives the form of a username that is stored and shown: NFKC, with the case as typed.
func Canonical(username string) string { return norm.NFKC.String(username) }

// Normalise gives the key under which a username is unique: NFKC, case folded, and look-alikes made one. Two names that
// a reader takes for the same have one key. It is not for display. Any string has a key; ValidUsername says which are names.
func Normalise(username string) string {
	folded := cases.Fold().String(norm.NFKC.String(username))
	// Folding can undo the normal form, and the other way round (NFKC_Casefold, Unicode §3.13).
	folded = norm.NFKC.String(cases.Fold().String(norm.NFKC.String(folded)))
	// Decomposed, so that a look-alike is found under its accents too.
	skeleton := strings.Map(skeletonRune, norm.NFD.String(folded))
	return norm.NFC.String(skeleton)
}

// ValidUsername says whether username may be taken: UsernameMinChars to maxChars letters, digits, ".", "_", "-", of them at
// least one letter or digit. Marks are letters' company: only those that belong to a script (the vowel signs of Devanagari)
// count, not the free-floating accents that stack. The error has CodeInvalid, or CodeInvalidUTF8, and names the rule.
func ValidUsername(username string, maxChars int) error {
	const op = "auth.ValidUsername"
	if !utf8.ValidString(username) {
		return &chat.Error{Code: chat.CodeInvalidUTF8, Op: op, Message: "username is not UTF-8"}
	}
	refuse := func(format string, args ...any) error {
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "username " + fmt.Sprintf(format, args...)}
	}
	// A decomposed letter has at most a few runes; more than this is not worth normalising.
	if len(username) > 4*utf8.UTFMax*maxChars {
		return refuse("has more than %d characters", maxChars)
	}
	name := Canonical(username)
	if n := utf8.RuneCountInString(name); n < UsernameMinChars || n > maxChars {
		return refuse("must have %d to %d characters, not %d", UsernameMinChars, maxChars, n)
	}
	solid, afterLetter := false, false
	for _, r := range name {
		switch {
		case r == '.' || r == '_' || r == '-':
			afterLetter = false
		case isNameMark(r) && afterLetter:
		case isNameLetter(r) || unicode.Is(unicode.Nd, r):
			solid, afterLetter = true, true
		default:
			return refuse("may hold letters, digits, '.', '_' and '-' only, not %q", r)
		}
	}
	if !solid {
		return refuse("must hold a letter or digit")
	}
	return nil
}

func isNameLetter(r rune) bool {
	if !unicode.IsLetter(r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) {
		return false
	}
	// Modifier letters of no script are apostrophes and colons in disguise; the long-vowel sign of Japanese is a letter.
	return !unicode.Is(unicode.Lm, r) || !unicode.Is(unicode.Common, r) || r == 'ー'
}

func isNameMark(r rune) bool {
	return unicode.Is(unicode.M, r) && !unicode.Is(unicode.Inherited, r) && !unicode.Is(unicode.Me, r) &&
		!unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}
