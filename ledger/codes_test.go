package ledger

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestEveryRefusalOfThisPackageHasACodeOfTheList(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files to look at: %v", err)
	}
	consts, used := map[string]string{}, map[string]bool{}
	var asked []ast.Expr
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, id := range n.Names {
					if strings.HasPrefix(id.Name, "Code") && i < len(n.Values) {
						consts[id.Name] = text(t, n.Values[i])
					}
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "Refuse" {
					asked = append(asked, n.Args[0])
				}
			}
			return true
		})
	}
	for _, code := range asked {
		if id, ok := code.(*ast.Ident); ok {
			used[consts[id.Name]] = true
		} else {
			used[text(t, code)] = true
		}
	}
	for code := range used {
		if !slices.Contains(Codes(), code) {
			t.Errorf("something is refused with %q, which is not in the list", code)
		}
	}
	for _, code := range Codes() {
		if !used[code] {
			t.Errorf("nothing is refused with %q", code)
		}
	}
	if len(consts) != len(Codes()) {
		t.Errorf("%d codes have a name and %d are in the list", len(consts), len(Codes()))
	}
}

func text(t *testing.T, e ast.Expr) string {
	t.Helper()
	literal, ok := e.(*ast.BasicLit)
	if !ok {
		t.Fatalf("a code is %T, not a text", e)
	}
	s, err := strconv.Unquote(literal.Value)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
