// Package meridian_test holds the rules of the house as tests: who may import whom, what is pure, how long things may be,
// and that the pages say what the code says.
package meridian_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport lists, for each folder, the folders of this module that it may import beside itself. A row speaks for all
// folders below it that have no row of their own; a listed folder means its row. Tests are free: any store's test may use
// storetest. What a part needs from another that is not listed it takes as a small interface, filled in by cmd.
var mayImport = map[string]string{
	"chat":               "",
	"proto":              "",
	"config":             "chat",
	"observe":            "chat",
	"front":              "chat config",
	"residency":          "chat",
	"residency/seal":     "chat",
	"replication":        "chat residency",
	"replication/drift":  "chat",
	"replication/link":   "chat residency replication replication/drift proto",
	"replication/member": "chat residency replication",
	"router":             "chat residency config front router/decide router/geo",
	"router/decide":      "chat residency config",
	"router/geo":         "chat config router/decide",
	"region-node":        "chat residency replication replication/claim replication/drift replication/link config front proto",
	"store/backup":       "chat",
	"store/composed":     "chat",
	"store/embedded":     "chat",
	"store/events":       "chat",
	"store/objects":      "chat",
	"store/postgres":     "chat",
	"store/cassandra":    "chat",
	"store/memory":       "chat",
	"store/redis":        "chat",
	"store/shared":       "chat",
	"store/storetest":    "chat",
	"sim":                "chat residency replication replication/claim replication/drift config proto router/decide region-node store/embedded",
	"web":                "",
	"runbooks":           "",
	"sdk":                "",
	"deploy":             "config",
	"test":               "chat config deploy store/embedded sdk",
	"test/dnsbench":      "chat config router/decide router/geo",
	"cmd": "chat deploy proto config front observe residency residency/seal replication replication/link router router/decide router/geo " +
		"replication/member region-node store/backup store/composed store/embedded store/shared store/cassandra store/postgres store/events store/objects store/memory store/redis sim web sdk",
	"replication/claim": "chat residency",
}

const module = "meridian"

// Every folder with code has a row in the table, and imports only what its row allows.
func TestImports(t *testing.T) {
	for row, allowed := range mayImport {
		for _, other := range strings.Fields(allowed) {
			if _, ok := mayImport[other]; !ok {
				t.Errorf("the row of %q lists %q, which has no row", row, other)
			}
		}
	}
	unknown := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test || f.folder == "." {
			continue
		}
		row, ok := rowOf(f.folder)
		if !ok && !unknown[f.folder] {
			t.Errorf("folder %s has no row in mayImport (imports_test.go): add one that says what it may import", f.folder)
		}
		unknown[f.folder] = !ok
		if !ok {
			continue
		}
		for _, imported := range f.imports() {
			folder, own := strings.CutPrefix(imported, module+"/")
			if !own {
				continue
			}
			other, ok := rowOf(folder)
			if !ok || other != row && !slices.Contains(strings.Fields(mayImport[row]), other) {
				t.Errorf("%s imports %s: the row of %q allows only: %s", f.path, imported, row, mayImport[row])
			}
		}
	}
}

// rowOf gives the longest row of the table that folder lies in.
func rowOf(folder string) (string, bool) {
	for ; folder != "."; folder = path.Dir(folder) {
		if _, ok := mayImport[folder]; ok {
			return folder, true
		}
	}
	return "", false
}

// goFile is one parsed Go file of the module.
type goFile struct {
	path, folder string
	test         bool
	generated    bool
	lines        int
	set          *token.FileSet
	ast          *ast.File
}

func (f goFile) imports() []string {
	var list []string
	for _, spec := range f.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			list = append(list, p)
		}
	}
	return list
}

func (f goFile) at(p token.Pos) string { return f.set.Position(p).String() }

// goFiles parses all Go files of the module.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	for _, name := range sourceFiles(t) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, goFile{
			path: name, folder: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), generated: ast.IsGenerated(parsed),
			lines: strings.Count(string(src), "\n"), set: set, ast: parsed,
		})
	}
	if len(files) == 0 {
		t.Fatal("no Go files: run from the root of the module")
	}
	return files
}

// sourceFiles lists the files of the repository, without what is built, installed or kept by tools.
func sourceFiles(t *testing.T) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		skipped := name == "bin" || name == "data" || name == "web/dist" || d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == ".cache"
		if d.IsDir() && skipped {
			return fs.SkipDir
		}
		if d.Type().IsRegular() && d.Name() != ".git" { // a file in a work tree of its own
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
