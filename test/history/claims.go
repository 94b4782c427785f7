package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// ClaimKind says what was done with a username.
type ClaimKind int

// The kinds.
const (
	// ClaimName: somebody signs up under it. Acked: User has it. Failed: it was taken. Unknown: it may be theirs, now or later.
	ClaimName ClaimKind = iota
	// LookUpName: somebody asks who has it. User is the answer, "" for nobody.
	LookUpName
)

// Claim is one operation on the directory of usernames.
type Claim struct {
	Kind              ClaimKind
	Name, Region      string
	User              string
	Outcome           Outcome
	Invoked, Returned time.Duration
}

// CheckClaims says which names have a history that no single directory could have given: names are registers that are set
// once, and every answer must fit one order of all operations. An attempt whose outcome is not known may hold a name for a
// while that nobody has; in the end all regions must say the same.
func CheckClaims(claims []Claim) (problems []string) {
	byName, last := map[string][]porcupine.Operation{}, map[[2]string]Claim{}
	for i, c := range claims {
		op := porcupine.Operation{ClientId: i, Input: i, Output: c, Call: int64(c.Invoked), Return: int64(c.Returned)}
		if c.Outcome == Unknown {
			op.Return = forever // it may take effect at any time from now on
		}
		byName[c.Name] = append(byName[c.Name], op)
		if c.Kind == LookUpName {
			last[[2]string{c.Name, c.Region}] = c
		}
	}
	for key, c := range last {
		for other, d := range last {
			if key[0] == other[0] && key[1] < other[1] && c.User != d.User {
				problems = append(problems, fmt.Sprintf("username %s: in the end %s says %q and %s says %q", key[0], key[1], c.User, other[1], d.User))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if !porcupine.CheckOperations(claimModel, byName[name]) {
			problems = append(problems, fmt.Sprintf("username %s: no order of its operations explains %s", name, claimWords(byName[name])))
		}
	}
	return problems
}

const forever = int64(1) << 62

// nobody and held are states of a name beside the id of who has it; held: by a sign-up whose answer is not known, which may
// get it yet or give it free.
const (
	nobody = ""
	held   = "?"
)

var claimModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{nobody} },
	Step: func(state, _, output any) []any {
		holder, c := state.(string), output.(Claim)
		switch {
		case c.Kind == LookUpName && holder == held && c.User != "":
			return []any{c.User} // now it is known who
		case c.Kind == LookUpName && holder == held:
			return []any{held, nobody}
		case c.Kind == LookUpName && holder == c.User:
			return []any{holder}
		case c.Kind == ClaimName && c.Outcome == Acked && (holder == nobody || holder == held):
			return []any{c.User}
		case c.Kind == ClaimName && c.Outcome == Failed && holder != nobody:
			return []any{holder}
		case c.Kind == ClaimName && c.Outcome == Unknown && holder == nobody:
			return []any{nobody, held}
		case c.Kind == ClaimName && c.Outcome == Unknown:
			return []any{holder}
		}
		return nil
	},
	Equal: func(a, b any) bool { return a == b },
}).ToModel()

func claimWords(ops []porcupine.Operation) string {
	var text strings.Builder
	for _, op := range ops {
		c := op.Output.(Claim)
		what := map[ClaimKind]string{ClaimName: "claim", LookUpName: "look-up"}[c.Kind]
		result := map[Outcome]string{Unknown: "unknown", Acked: "got " + c.User, Failed: "taken"}[c.Outcome]
		fmt.Fprintf(&text, "[%s at %s %v–%v: %s] ", what, c.Region, c.Invoked, c.Returned, result)
	}
	return text.String()
}
