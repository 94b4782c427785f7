package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mutantBinary is this test with all mutants in it; the environment says which is active. One build for all: fifty builds
// would take minutes.
type mutantBinary string

// mutantVariable is the environment variable that names the active mutant; mutantDeclaration goes into each package that has
// mutants.
const (
	mutantVariable    = "MERIDIAN_MUTANT"
	mutantDeclaration = "import \"os\"\n\nvar activeMutant = os.Getenv(\"" + mutantVariable + "\")\n"
)

// huntMax bounds a search of one mutant.
const huntMax = 10 * time.Minute

// buildMutants builds this test with the mutants in place of the sources.
func buildMutants(t *testing.T, list []mutant) mutantBinary {
	t.Helper()
	return buildTest(t, "sim", list)
}

// buildTest builds the test of a folder.
func buildTest(t *testing.T, folder string, list []mutant) mutantBinary {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	put := func(original, text string) {
		name := filepath.Join(dir, strconv.Itoa(len(replace))+".go")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[original] = name
	}
	byFile := map[string][]mutant{}
	for _, m := range list {
		byFile[m.file] = append(byFile[m.file], m)
	}
	for file, ms := range byFile {
		original := filepath.Join(root, filepath.FromSlash(file))
		src, err := os.ReadFile(original)
		if err != nil {
			t.Fatal(err)
		}
		woven, name, err := weave(string(src), ms)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		put(original, woven)
		if declared := filepath.Join(filepath.Dir(original), "active_mutant.go"); replace[declared] == "" {
			put(declared, "package "+name+"\n\n"+mutantDeclaration)
		}
	}
	overlay, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	b, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, "meridian/"+folder).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return mutantBinary(binary)
}

// search runs worlds with a mutant ("": with none) and gives the violations.
func (b mutantBinary) search(mutant string, o huntOptions) ([]Violation, error) {
	options, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return b.run(mutant, "-test.run=^TestHunt$", "-hunt="+string(options))
}

// run runs a test of the binary that hunts, and gives the violations that it prints.
func (b mutantBinary) run(mutant string, args ...string) ([]Violation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), huntMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, string(b), append(args, "-test.timeout=0")...)
	cmd.Env = append(os.Environ(), mutantVariable+"="+mutant, "GOMAXPROCS=1", "GOGC=400")
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "\npanic:") {
		return []Violation{{Promise: PromiseNoPanic}}, nil
	}
	_, line, ok := strings.Cut(string(out), "\nhunt: ")
	if !ok || err != nil {
		return nil, fmt.Errorf("%w\n%s", cmp.Or(err, errors.New("it printed nothing")), out)
	}
	line, _, _ = strings.Cut(line, "\n")
	var found []Violation
	return found, json.Unmarshal([]byte(line), &found)
}

// hunt is search for a test that goes no further without.
func (b mutantBinary) hunt(t *testing.T, mutant string, o huntOptions) []Violation {
	t.Helper()
	found, err := b.search(mutant, o)
	if err != nil {
		t.Fatalf("hunt: %v", err)
	}
	return found
}

// weave puts all mutants of a file into it: each function that a mutant changes begins with the changed body, behind a
// question whether that mutant is the active one. It gives the package's name too.
func weave(src string, list []mutant) (woven, pkg string, err error) {
	original, pkg, err := bodiesOf(src)
	if err != nil {
		return "", "", err
	}
	before := map[string]string{} // of each function, what goes before its body
	for _, m := range list {
		text := src
		for i := 0; i < len(m.edits); i += 2 {
			if n := strings.Count(text, m.edits[i]); n != 1 {
				return "", "", fmt.Errorf("mutant %q: %q stands %d times, want once: adapt the mutant to the source", m.name, m.edits[i], n)
			}
			text = strings.Replace(text, m.edits[i], m.edits[i+1], 1)
		}
		mutated, _, err := bodiesOf(text)
		if err != nil {
			return "", "", fmt.Errorf("mutant %q: %w", m.name, err)
		}
		if outside(src, original) != outside(text, mutated) {
			return "", "", fmt.Errorf("mutant %q changes something outside functions", m.name)
		}
		for name, body := range mutated {
			if now, was := text[body.from:body.to], src[original[name].from:original[name].to]; now != was {
				before[name] += fmt.Sprintf("\nif activeMutant == %q {%s%s}\n", m.name, now, body.end)
			}
		}
	}
	places := slices.SortedFunc(maps.Keys(before), func(a, b string) int { return original[b].from - original[a].from })
	for _, name := range places {
		at := original[name].from
		src = src[:at] + before[name] + src[at:]
	}
	return src, pkg, nil
}

// body is what stands between the braces of a function.
type body struct {
	from, to int
	end      string // what ends a body that is not the last thing in its function
}

// bodiesOf finds the functions of a file by receiver and name.
func bodiesOf(src string) (map[string]body, string, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, "", err
	}
	bodies := map[string]body{}
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		b := body{from: set.Position(fn.Body.Lbrace).Offset + 1, to: set.Position(fn.Body.Rbrace).Offset}
		if fn.Type.Results == nil {
			b.end = "\nreturn\n"
		}
		bodies[src[set.Position(fn.Pos()).Offset:b.from]] = b // the signature
	}
	return bodies, file.Name.Name, nil
}

// outside is the text around the functions' bodies.
func outside(src string, bodies map[string]body) string {
	list := slices.SortedFunc(maps.Values(bodies), func(a, b body) int { return a.from - b.from })
	var text strings.Builder
	at := 0
	for _, b := range list {
		text.WriteString(src[at:b.from])
		at = b.to
	}
	text.WriteString(src[at:])
	return text.String()
}
