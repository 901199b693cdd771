// Package logging writes a server's log. What must not be in it is masked, whoever writes it.
package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/lmittmann/tint"
)

// New writes lines for a person at a terminal, and JSON for everybody else.
func New(w io.Writer, level slog.Leveler, terminal bool) *slog.Logger {
	if terminal {
		return slog.New(masked(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly})))
	}
	return slog.New(masked(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})))
}

// RedisNotes writes what the Redis client has to say into the server's log. The client knows one
// logger a process, and by itself writes to standard error what no reader of the log understands.
type RedisNotes struct{ Logger *slog.Logger }

// Printf is what the client calls.
func (r RedisNotes) Printf(ctx context.Context, format string, values ...any) {
	r.Logger.WarnContext(ctx, "Redis: "+fmt.Sprintf(format, values...))
}
