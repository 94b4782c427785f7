package auth

import (
	"strings"
	"unicode"
)

// lookAlikes lists, per line, the character that stands for all the others of the line. All are lower case: folding came
// first, so a capital's twin is a twin of the small letter too (I, l and 1 make i one of them). Where the small and the
// capital form of a letter resemble different letters, the small one counts (Greek nu looks like v, though its capital
// looks like N). Left out on purpose: pairs of letters (rn and m, vv and w) and mere resemblance (2 and z, 5 and s), which
// would make many honest names of different people one.
const lookAlikes = `
a α а ɑ
b β в
c ϲ с
d ԁ
e ε е ҽ
g ɡ ց
h η н һ հ
j ϳ ј
k κ к
l i 1 ι і ı ɩ ӏ ǀ
m μ м
n ո
o 0 ο о σ օ
p ρ р
q ԛ
s ѕ
t τ т
u υ ս
v ν ѵ
w ԝ ѡ
x χ х
y γ у ү
z ζ
3 з ӡ
`

// skeletons maps a look-alike to the character that stands for it; built once, never changed.
var skeletons = func() map[rune]rune {
	table := make(map[rune]rune)
	for line := range strings.Lines(lookAlikes) {
		runes := strings.Fields(line)
		for _, twin := range runes {
			table[[]rune(twin)[0]] = []rune(runes[0])[0]
		}
	}
	return table
}()

// skeletonRune gives the character that stands for all that look like r. Digits of every script count by their value.
func skeletonRune(r rune) rune {
	if r > unicode.MaxASCII && unicode.Is(unicode.Nd, r) {
		r = asciiDigit(r)
	}
	if s, ok := skeletons[r]; ok {
		return s
	}
	return r
}

// asciiDigit gives the ASCII digit with r's value: the digits of a script are ten in a row, from its zero (Unicode §4.6).
func asciiDigit(r rune) rune {
	first := r
	for unicode.Is(unicode.Nd, first-1) {
		first--
	}
	return '0' + (r-first)%10
}
