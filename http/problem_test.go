package http

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"truebond/ledger"
)

// Every code that the program can refuse with, found in its source, has its status.
func TestEveryCodeHasAStatus(t *testing.T) {
	codes := codesIn(t, "..")
	if len(codes) < 10 {
		t.Fatalf("found only the codes %v", codes)
	}
	for code, where := range codes {
		if statuses[code] == 0 {
			t.Errorf("%s: the code %q has no status", where, code)
		}
	}
	for code := range statuses {
		if codes[code] == "" {
			t.Errorf("nothing is refused with %q", code)
		}
	}
}

// codesIn finds the first argument of every Refuse(…) and newProblem(…), and what the constants are that it
// may be: CodeNotFound.
func codesIn(t *testing.T, root string) map[string]string {
	t.Helper()
	codes := map[string]string{}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if code, ok := refusedCode(n); ok {
				codes[code] = files.Position(n.Pos()).String()
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return codes
}

func refusedCode(n ast.Node) (string, bool) {
	var value ast.Expr
	switch n := n.(type) {
	case *ast.ValueSpec:
		if len(n.Values) == 1 && strings.HasPrefix(strings.ToLower(n.Names[0].Name), "code") {
			value = n.Values[0]
		}
	case *ast.CallExpr:
		name := ""
		switch f := n.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
		}
		if len(n.Args) > 0 && (name == "Refuse" || name == "newProblem") {
			value = n.Args[0]
		}
	}
	literal, ok := value.(*ast.BasicLit)
	if !ok {
		return "", false
	}
	code, err := strconv.Unquote(literal.Value)
	return code, err == nil
}

func TestARefusalBecomesAProblem(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
		code   string
		retry  string
	}{
		"too few credits": {ledger.Refuse("insufficient_credits", "3 are needed and 1 is left."), 402,
			"insufficient_credits", ""},
		"wrapped":         {fmt.Errorf("decide: %w", ledger.Refuse("not_found", "No.")), 404, "not_found", ""},
		"e-mail taken":    {ledger.Refuse("email_taken", "No."), 409, "email_taken", ""},
		"another request": {ledger.Refuse("key_reused", "No."), 422, "key_reused", ""},
		"under way":       {ledger.Refuse("key_busy", "No."), 409, "key_busy", ""},
		"overloaded":      {ledger.Refuse("overloaded", "No."), 503, "overloaded", "1"},
		"for an operator": {ledger.Refuse("key_missing", "No."), 503, "key_missing", ""},
		"a disk's damage": {ledger.Refuse("damaged", "No."), 503, "damaged", ""},
		"asked to wait":   {ledger.Refuse("login_locked", "No.").With("retry_after", int64(60)), 429, "login_locked", "60"},
		"forbidden":       {ledger.Refuse("forbidden", "No."), 403, "forbidden", ""},
		"unauthorized":    {ledger.Refuse("unauthorized", "No."), 401, "unauthorized", ""},
		"beyond the log":  {ledger.Refuse("beyond_log", "No."), 400, "beyond_log", ""},
		"views behind":    {ledger.Refuse("views_behind", "No."), 503, "views_behind", "1"},
		"one of its own":  {ledger.Refuse("of_a_later_day", "No."), 422, "of_a_later_day", ""},
		"too late":        {fmt.Errorf("append: %w", context.DeadlineExceeded), 503, "timeout", "1"},
		"unknown":         {errors.New("secret SELECT * FROM users"), 500, "internal", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := serving(t, []Route{post("/x", refusing(c.err), "Refuse", public)})
			a := b.send("POST", "/x", "")
			a.wants(t, c.status, c.code)
			if got := a.header.Get("Retry-After"); got != c.retry {
				t.Errorf("Retry-After is %q", got)
			}
			told := a.json(t)
			for _, member := range []string{"type", "title", "status", "detail", "code", "request_id"} {
				if told[member] == nil || told[member] == "" {
					t.Errorf("the problem has no %s: %s", member, a.body)
				}
			}
			if told["request_id"] != a.header.Get("X-Request-Id") || told["status"] != float64(c.status) {
				t.Errorf("the problem does not fit its answer: %s", a.body)
			}
			if strings.Contains(string(a.body), "SELECT") {
				t.Errorf("the client sees the inside: %s", a.body)
			}
			if (c.status == 401) != (a.header.Get("WWW-Authenticate") != "") {
				t.Errorf("WWW-Authenticate is %q", a.header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestFactsAndFieldsAreMembersOfTheProblem(t *testing.T) {
	refusal := ledger.Refuse("insufficient_credits", "3 credits are needed and 1 is left.").About("to/day").
		With("available", 1).With("required", 3).With("status", 200)
	b := serving(t, []Route{post("/x", refusing(refusal), "Refuse", public)})
	a := b.send("POST", "/x", "")
	a.wants(t, 402, "insufficient_credits")
	told := a.json(t)
	if told["available"] != 1.0 || told["required"] != 3.0 || a.pointers(t) != "#/to~1day" || told["status"] != 402.0 {
		t.Errorf("told %s", a.body)
	}
}

func TestAnUnknownErrorIsLoggedOnceUnderItsRequest(t *testing.T) {
	b := serving(t, []Route{post("/x", refusing(errors.New("the disk is full")), "Refuse", public)})
	b.send("POST", "/x", "", "X-Request-Id", "mine-1").wants(t, 500, "internal")
	lines := linesWith(b.log.String(), "the disk is full")
	if len(lines) != 1 || !strings.Contains(lines[0], "request_id=mine-1") ||
		!strings.Contains(lines[0], "level=ERROR") {
		t.Errorf("logged %q", lines)
	}
}

func linesWith(text, part string) []string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return found
}

func TestAPanicIsA500AndTheServerGoesOn(t *testing.T) {
	b := serving(t, []Route{
		post("/x", func(context.Context, nothing) (nothing, error) {
			panic("the inside")
		}, "Panic", public),
		get("/y", whoAsks, "Go on", public),
	})
	a := b.send("POST", "/x", "")
	a.wants(t, 500, "internal")
	if strings.Contains(string(a.body), "goroutine") || strings.Contains(string(a.body), "the inside") {
		t.Errorf("the client sees a stack: %s", a.body)
	}
	lines := linesWith(b.log.String(), "the inside")
	if len(lines) != 1 || !strings.Contains(lines[0], "problem_test.go") {
		t.Errorf("logged %q", lines)
	}
	b.send("GET", "/y", "").wants(t, 200, "")
}

func TestWhatIsNotThereIsAProblemToo(t *testing.T) {
	b := serving(t, []Route{get("/x/{id}", func(context.Context, search) (nothing, error) { return nothing{}, nil },
		"Read", public), post("/y", refusing(nil), "Write", public)})
	b.send("GET", "/nothing", "").wants(t, 404, "not_found")
	b.send("GET", "/x/", "").wants(t, 404, "not_found")
	a := b.send("PUT", "/y", "")
	a.wants(t, 405, "method_not_allowed")
	if allow := a.header.Get("Allow"); !strings.Contains(allow, "POST") || strings.Contains(allow, "PUT") {
		t.Errorf("allows %q", allow)
	}
	b.send("BREW", "/y", "").wants(t, 405, "method_not_allowed")
	if a := b.send("HEAD", "/x/1", ""); a.status != 200 || len(a.body) != 0 {
		t.Errorf("HEAD is %d %q", a.status, a.body)
	}
}
