package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	nethttp "net/http"
	"strings"

	"github.com/spf13/cobra"

	"truebond/http"
)

func rebuildCommand() *cobra.Command {
	var to target
	var local logPlace
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
	targetFlags(cmd, &to)
	logFlags(cmd, &local)
	return cmd
}

// rebuild shows how the views grow until each has all its events.
func rebuild(ctx context.Context, server *client, views []string, out io.Writer) error {
	show, end := showProgress(ctx, out)
	last := map[string]http.RebuildLine{}
	in := map[string]any{"views": append([]string{}, views...)} // null is no list
	err := server.stream(ctx, nethttp.MethodPost, "/api/operator/rebuild", in, func(line json.RawMessage) error {
		var l http.RebuildLine
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		last[l.View] = l
		show(l.View, l.Done, l.Total)
		return nil
	})
	end()
	if err != nil {
		return err
	}
	return allBuilt(last)
}

// allBuilt refuses a stream that ended before its views were done.
func allBuilt(last map[string]http.RebuildLine) error {
	var short []string
	for view, l := range last {
		if l.Done < l.Total {
			short = append(short, view)
		}
	}
	if len(short) > 0 {
		return fmt.Errorf("the server stopped before %s was built; the old view is still in use",
			strings.Join(short, ", "))
	}
	return nil
}
