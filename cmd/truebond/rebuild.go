package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

func rebuildCommand() *cobra.Command {
	var to target
	var local options
	cmd := &cobra.Command{
		Use:   "rebuild [VIEW]…",
		Short: "Build views again from the log, while the server goes on serving",
		Long: `Build views again from the log, beside the old ones, and swap them when they have caught
up. Without a name, all views are. It works while the server runs and while not.`,
		Example: `  truebond rebuild
  truebond rebuild balances history`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, views []string) error {
			return runAgainst(cmd.Context(), to, local, func(server *client) error {
				return rebuild(cmd.Context(), server, views, cmd.OutOrStdout())
			})
		},
	}
	to.flags(cmd)
	serverFlags(cmd, &local)
	return cmd
}

// built is how far a view is, in events.
type built struct {
	View  string `json:"view"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// rebuild shows how the views grow until each has all its events.
func rebuild(ctx context.Context, server *client, views []string, out io.Writer) error {
	show, end := showProgress(ctx, out)
	last := map[string]built{}
	in := map[string]any{"views": append([]string{}, views...)} // null is no list
	err := server.stream(ctx, http.MethodPost, "/api/operator/rebuild", in, func(line json.RawMessage) error {
		var b built
		if err := json.Unmarshal(line, &b); err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		last[b.View] = b
		show(b)
		return nil
	})
	end()
	if err != nil {
		return err
	}
	return allBuilt(last)
}

// allBuilt refuses a stream that ended before its views were done.
func allBuilt(last map[string]built) error {
	var short []string
	for view, b := range last {
		if b.Done < b.Total {
			short = append(short, view)
		}
	}
	if len(short) > 0 {
		return fmt.Errorf("the server stopped before %s was built; the old view is still in use",
			strings.Join(short, ", "))
	}
	return nil
}

// showProgress shows how far views are, as suits a terminal or a file.
func showProgress(ctx context.Context, out io.Writer) (show func(built), end func()) {
	if isTerminal(out) {
		return progressBars(ctx, out)
	}
	return progressLines(out)
}

// progressLines prints a line a view for every tenth that is done.
func progressLines(out io.Writer) (show func(built), end func()) {
	tenths := map[string]int64{}
	show = func(b built) {
		tenth := int64(10)
		if b.Done < b.Total {
			tenth = b.Done * 10 / b.Total
		}
		if shown, begun := tenths[b.View]; !begun || tenth > shown {
			tenths[b.View] = tenth
			fmt.Fprintf(out, "%s: %d of %s\n", oneLine(b.View), b.Done, eventsIn(b.Total))
		}
	}
	return show, func() {}
}

// progressBars draws a bar a view.
func progressBars(ctx context.Context, out io.Writer) (show func(built), end func()) {
	progress := mpb.NewWithContext(ctx, mpb.WithOutput(out))
	bars := map[string]*mpb.Bar{}
	show = func(b built) {
		bar, begun := bars[b.View]
		if !begun {
			bar = progress.AddBar(b.Total,
				mpb.PrependDecorators(decor.Name(oneLine(b.View), decor.WCSyncSpaceR)),
				mpb.AppendDecorators(
					decor.Any(func(s decor.Statistics) string {
						return fmt.Sprintf("%d of %s  ", s.Current, eventsIn(s.Total))
					}),
					decor.AverageETA(decor.ET_STYLE_GO),
				))
			bars[b.View] = bar
		}
		bar.SetTotal(b.Total, false) // the log grows meanwhile
		bar.SetCurrent(b.Done)
		if b.Done >= b.Total {
			bar.SetTotal(b.Total, true)
		}
	}
	end = func() {
		for _, bar := range bars {
			bar.Abort(false) // without effect on one that is complete
		}
		progress.Wait()
	}
	return show, end
}
