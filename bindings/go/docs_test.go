package yokedcache_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// The documentation of the package as `go doc` shows it, with its examples.
func packageDocs(t *testing.T) *doc.Package {
	_, file, _, _ := runtime.Caller(0)
	folder := filepath.Dir(file)
	if _, err := os.Stat(folder); err != nil {
		t.Skip("the sources are not on this machine")
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseDir(files, folder, func(info fs.FileInfo) bool {
		return info.Name() != "export_test.go"
	}, parser.ParseComments)
	check(t, err)
	var sources []*ast.File
	for _, name := range []string{"yokedcache", "yokedcache_test"} {
		for _, source := range parsed[name].Files {
			sources = append(sources, source)
		}
	}
	docs, err := doc.NewFromFiles(files, sources, "github.com/yokedcache/yokedcache-go")
	check(t, err)
	return docs
}

// A comment starts with the name, then a verb; that of a type may have an article before the name.
func checkComment(t *testing.T, name, comment string) {
	start := regexp.MustCompile(`^(An? )?` + name + ` (is|has|[a-z]+s)\b`)
	if !start.MatchString(comment) {
		t.Errorf("%s: the comment starts with %.60q: start it with the name and a verb", name, comment)
	}
}

func checkFunction(t *testing.T, function *doc.Func, needsExample bool) {
	checkComment(t, function.Name, function.Doc)
	if needsExample && len(function.Examples) == 0 {
		t.Errorf("%s%s has no example", function.Recv, function.Name)
	}
	for _, example := range function.Examples {
		if example.Output == "" {
			t.Errorf("%s%s: the example does not run: it has no output", function.Recv, function.Name)
		}
	}
}

func checkConstants(t *testing.T, values []*doc.Value) {
	for _, value := range values {
		for _, spec := range value.Decl.Specs {
			named := spec.(*ast.ValueSpec)
			name := named.Names[0].Name
			// A code has the comment of its sentinel.
			if comment := named.Doc.Text(); ast.IsExported(name) && !strings.HasPrefix(name, "Code") {
				checkComment(t, name, comment+value.Doc)
			}
		}
	}
}

func TestEveryExportedNameIsDocumentedWithAnExample(t *testing.T) {
	docs := packageDocs(t)
	for _, function := range docs.Funcs {
		checkFunction(t, function, true)
	}
	checkConstants(t, append(docs.Consts, docs.Vars...))
	for _, kind := range docs.Types {
		checkComment(t, kind.Name, kind.Doc)
		if len(kind.Examples) == 0 {
			t.Errorf("%s has no example", kind.Name)
		}
		for _, function := range kind.Funcs {
			checkFunction(t, function, true)
		}
		for _, method := range kind.Methods {
			// The example of an iterator or error shows its methods together.
			checkFunction(t, method, kind.Name == "Cache")
		}
		checkConstants(t, append(kind.Consts, kind.Vars...))
	}
}
