package meridian_test

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// pure lists the folders whose code is a function of its input: no clock, no chance, no socket, no file, no goroutine.
// That is what lets a seed replay a failure exactly.
var pure = []string{"chat", "residency", "replication", "replication/claim", "replication/drift", "router/decide"}

var impureImports = []string{"net", "net/http", "os", "io/ioutil", "math/rand", "math/rand/v2", "crypto/rand", "sync", "sync/atomic", "runtime", "unsafe", "syscall", "log", "log/slog"}

var impureTime = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// Pure folders import the standard library and this module only, start no goroutine, and read no clock.
func TestPureFoldersArePure(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || !slices.Contains(pure, f.folder) {
			continue
		}
		for _, imported := range f.imports() {
			first, _, _ := strings.Cut(imported, "/")
			if slices.Contains(impureImports, imported) || strings.Contains(first, ".") {
				t.Errorf("%s: a pure folder may not import %s", f.path, imported)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
				t.Errorf("%s: no goroutine, channel or select in a pure folder", f.at(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(impureTime, n.Sel.Name) {
					t.Errorf("%s: time.%s in a pure folder: take the time as an argument", f.at(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
}

// fileBytesMax is more than the largest file that belongs here, the table of countries.
const fileBytesMax = 1 << 20

// Nothing that is built is kept: no file in the repository is larger than a megabyte.
func TestNoLargeFiles(t *testing.T) {
	names := sourceFiles(t)
	if listed, err := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z").Output(); err == nil { // else it was unpacked, not cloned
		names = strings.Split(strings.TrimRight(string(listed), "\x00"), "\x00")
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err == nil && info.Size() > fileBytesMax {
			t.Errorf("%s has %d bytes; at most %d", name, info.Size(), fileBytesMax)
		}
	}
}

const (
	functionLinesMax = 70
	fileLinesMax     = 800
	fileLinesWanted  = 400
)

// No function is longer than 70 lines and no file than 800, so that one sitting reads them.
func TestLengths(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.generated {
			continue
		}
		if f.lines > fileLinesMax {
			t.Errorf("%s has %d lines; at most %d, better %d: split it by job", f.path, f.lines, fileLinesMax, fileLinesWanted)
		} else if f.lines > fileLinesWanted {
			t.Logf("%s has %d lines; wanted are %d", f.path, f.lines, fileLinesWanted)
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			lines := f.set.Position(fn.Body.Rbrace).Line - f.set.Position(fn.Body.Lbrace).Line - 1
			if lines > functionLinesMax {
				t.Errorf("%s: %s has %d lines; at most %d", f.at(fn.Pos()), fn.Name.Name, lines, functionLinesMax)
			}
		}
	}
}

// Every package has a package comment, and every exported name a comment of its own or of its group. No package has an
// init function: what a part needs it gets as an argument.
func TestDocumented(t *testing.T) {
	packageComment := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test || f.generated {
			continue
		}
		packageComment[f.folder] = packageComment[f.folder] || f.ast.Doc != nil
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == "init" && d.Recv == nil {
					t.Errorf("%s: no init functions", f.at(d.Pos()))
				}
				if d.Name.IsExported() && d.Doc == nil && receiverExported(d) {
					t.Errorf("%s: %s is exported and has no comment", f.at(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				undocumented(t, f, d)
			}
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(packageComment)) {
		if !packageComment[folder] {
			t.Errorf("package in %s has no package comment", folder)
		}
	}
}

// receiverExported says whether the method needs a comment: its type is seen from outside, and it is not String, whose job
// is known.
func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	ident, ok := typ.(*ast.Ident)
	return ok && ident.IsExported() && d.Name.Name != "String"
}

func undocumented(t *testing.T, f goFile, d *ast.GenDecl) {
	t.Helper()
	if d.Tok == token.IMPORT || d.Doc != nil {
		return
	}
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && s.Comment == nil {
				t.Errorf("%s: type %s is exported and has no comment", f.at(s.Pos()), s.Name.Name)
			}
		case *ast.ValueSpec:
			for _, name := range s.Names {
				if name.IsExported() && s.Doc == nil && s.Comment == nil {
					t.Errorf("%s: %s is exported and has no comment", f.at(name.Pos()), name.Name)
				}
			}
		}
	}
}
