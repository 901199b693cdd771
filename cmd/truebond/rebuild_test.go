package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"truebond/cmd/truebond/server"
)

func TestViewsAreBuiltAgainWhileTheServerServes(t *testing.T) {
	data := t.TempDir()
	l := prepareLoad(t, data)
	t.Run("under load", func(t *testing.T) {
		w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"})
		callers := l.run(w.url, 8)
		for _, args := range [][]string{{"rebuild"}, {"rebuild", "accounts"}, {"rebuild", "balances", "history"}} {
			out := runRebuild(t, data, exitDone, args...)
			for _, view := range args[1:] {
				if !strings.Contains(out, view+": ") {
					t.Errorf("%v does not tell how far %s is: %s", args, view, out)
				}
			}
		}
		for _, args := range [][]string{{"compare"}, {"compare", "accounts", "message_stats"}} {
			out := runRebuild(t, data, exitDone, args...)
			if strings.Count(out, ", 0 differ") < len(args)-1 || !strings.Contains(out, "accounts: ") {
				t.Errorf("%v says %s", args, out)
			}
		}
		out := runRebuild(t, data, exitFailed, "rebuild", "no_such_view")
		if !strings.Contains(out, "no_such_view") || strings.Contains(out, "internal") {
			t.Errorf("a view that there is not is answered with %s", out)
		}
		l.stop()
		callers.Wait()
	})
	if len(l.acked) < 20 {
		t.Fatalf("only %d commands were acknowledged; that shows nothing", len(l.acked))
	}
	runRebuild(t, data, exitDone, "rebuild") // without a server, too
	checkPromises(t, data, l)
}

func runRebuild(t *testing.T, data string, want int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), append(args, "--data", data), strings.NewReader(""), &out, &errs)
	if code != want {
		t.Errorf("%v ended with %d, want %d: %s%s", args, code, want, &out, &errs)
	}
	return fmt.Sprint(&out, &errs)
}
