package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
)

// newLogger writes lines for people on a terminal and JSON everywhere else. What must
// not be in a log is masked, whoever writes it.
func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	if isTerminal(w) {
		return slog.New(masked(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly})))
	}
	return slog.New(masked(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})))
}

// redisNotes writes what the Redis client has to say into the server's log. The client knows one
// logger a process, and by itself writes to standard error what no reader of the log understands.
type redisNotes struct{ logger *slog.Logger }

func (r redisNotes) Printf(ctx context.Context, format string, values ...any) {
	r.logger.WarnContext(ctx, "Redis: "+fmt.Sprintf(format, values...))
}

// isTerminal tells whether a person is at the other end of a reader or a writer.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
