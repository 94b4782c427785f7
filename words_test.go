package meridian_test

import (
	"bytes"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"meridian/chat"
	"meridian/observe"
)

// docs/protocol.md lists every error code with the status and retry rule that the code has, and no other.
func TestErrorCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## Error codes\n")
	if !found {
		t.Fatal("docs/protocol.md has no section \"Error codes\"")
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| ([0-9]+|–) \\| (yes|no) \\| \\S.* \\|$")
	documented := map[chat.Code]bool{}
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		code := chat.Code(m[1])
		if documented[code] {
			t.Errorf("docs/protocol.md lists %s twice", code)
		}
		documented[code] = true
		info, ok := chat.Codes[code]
		if !ok {
			t.Errorf("docs/protocol.md lists %s, which chat.Codes does not have", code)
			continue
		}
		status := 0
		if m[2] != "–" {
			if status, err = strconv.Atoi(m[2]); err != nil {
				t.Fatal(err)
			}
		}
		if status != info.HTTPStatus || (m[3] == "yes") != info.Retryable {
			t.Errorf("docs/protocol.md says %s, %s of %s; chat.Codes says %d, retryable %v", m[2], m[3], code, info.HTTPStatus, info.Retryable)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(chat.Codes)) {
		if !documented[code] {
			t.Errorf("docs/protocol.md does not list %s", code)
		}
	}
}

// Every metric that code counts stands in the list of observe, with the right number of label values. By convention a value
// that counts is called metrics or Metrics, whatever it is a field of; names are literals, or constants of their package
// whose own name begins with metric or Metric. The prefix meridian_ is put on by observe.
func TestMetricNamesExist(t *testing.T) {
	list := map[string]observe.Metric{}
	for _, m := range observe.List() {
		list[m.Name] = m
	}
	kinds := map[string]observe.Kind{"Count": observe.Counter, "Add": observe.Counter, "Set": observe.Gauge, "Observe": observe.Histogram}
	files := goFiles(t)
	constants := stringConstants(files)
	for _, folder := range slices.Sorted(maps.Keys(constants)) {
		for _, constant := range slices.Sorted(maps.Keys(constants[folder])) {
			name := constants[folder][constant]
			if _, ok := list[name]; !ok && strings.HasPrefix(strings.ToLower(constant), "metric") {
				t.Errorf("%s: constant %s: metric %q is not in observe/list.go", folder, constant, name)
			}
		}
	}
	for _, f := range files {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || len(call.Args) == 0 || !strings.EqualFold(lastName(selector.X), "metrics") {
				return true
			}
			kind, ok := kinds[selector.Sel.Name]
			if !ok {
				return true
			}
			name, known := stringOf(call.Args[0], constants[f.folder])
			if !known {
				return true // handed through from elsewhere
			}
			metric, ok := list[name]
			fixed := 1
			if selector.Sel.Name != "Count" {
				fixed = 2
			}
			switch labels := len(call.Args) - fixed; {
			case !ok:
				t.Errorf("%s: metric %q is not in observe/list.go", f.at(call.Pos()), name)
			case metric.Kind != kind:
				t.Errorf("%s: metric %q is a %s, but is used by %s", f.at(call.Pos()), name, metric.Kind, selector.Sel.Name)
			case !call.Ellipsis.IsValid() && labels != len(metric.Labels):
				t.Errorf("%s: metric %q has labels %q, but is given %d", f.at(call.Pos()), name, metric.Labels, labels)
			}
			return true
		})
	}
}

// lastName gives the last word of a.b.c.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	default:
		return ""
	}
}

// stringConstants gives the string constants of each folder by name, without those of tests.
func stringConstants(files []goFile) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, f := range files {
		if f.test {
			continue
		}
		if all[f.folder] == nil {
			all[f.folder] = map[string]string{}
		}
		for _, decl := range f.ast.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				value, ok := spec.(*ast.ValueSpec)
				if !ok || len(value.Values) != len(value.Names) {
					continue
				}
				for i, name := range value.Names {
					if s, ok := stringOf(value.Values[i], nil); ok {
						all[f.folder][name.Name] = s
					}
				}
			}
		}
	}
	return all
}

func stringOf(e ast.Expr, constants map[string]string) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		s, ok := constants[e.Name]
		return s, ok
	default:
		return "", false
	}
}

// machinePath is a path that holds on one machine only.
var machinePath = regexp.MustCompile("(^|[\\s\"'`(=:,])/(work|farm|root|home|Users)/[A-Za-z0-9._-]")

// No file but a test names a path of the machine it was written on.
func TestNoMachinePaths(t *testing.T) {
	for _, name := range sourceFiles(t) {
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "web/e2e/") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 {
			continue // not text
		}
		number := 0
		for line := range bytes.Lines(b) {
			number++
			if at := machinePath.Find(line); at != nil {
				t.Errorf("%s:%d names a path of a machine: %s", name, number, bytes.TrimSpace(at))
			}
		}
	}
}
