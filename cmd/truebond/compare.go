package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"strings"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/wording"
	"truebond/http"
)

func compareCommand() *cobra.Command {
	var to target
	var local logPlace
	cmd := &cobra.Command{
		Use:   "compare [VIEW]…",
		Short: "Hold views against the log, while the server goes on serving",
		Long: `Build views again from the log, one after the other and beside the live ones, and compare
each document with what follows from the log. Nothing is changed; what was built is dropped.
Without a name, all views are compared. It works while the server runs and while not.

It fails when a document differs, is lost or should not be there, and names it and its
positions. Mend a view with "truebond rebuild VIEW" once you know how that came about.`,
		Example: `  truebond compare
  truebond compare balances history`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, views []string) error {
			return runAgainst(cmd.Context(), to, local, func(server *client) error {
				return compare(cmd.Context(), server, views, cmd.OutOrStdout())
			})
		},
	}
	targetFlags(cmd, &to)
	logFlags(cmd, &local)
	return cmd
}

// compare shows how the views are built anew, and then what differs.
func compare(ctx context.Context, server *client, views []string, out io.Writer) error {
	show, end := showProgress(ctx, out)
	var results []http.CompareLine
	in := map[string]any{"views": append([]string{}, views...)} // null is no list
	err := server.stream(ctx, nethttp.MethodPost, "/api/operator/compare", in, func(line json.RawMessage) error {
		var l http.CompareLine
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		show(l.View, l.Done, l.Total)
		if l.Result != nil {
			results = append(results, l)
		}
		return nil
	})
	end()
	if err != nil {
		return err
	}
	return report(out, results)
}

// report prints what comparing came to, and fails when there is drift.
func report(out io.Writer, results []http.CompareLine) error {
	if len(results) == 0 {
		return errors.New("the server stopped before a view was compared")
	}
	var drifted []string
	for _, l := range results {
		fmt.Fprintf(out, "%s: %s compared up to position %d, %s\n",
			wording.OneLine(l.View), wording.Counted(l.Result.Documents, "document", "documents"), l.Result.Position,
			wording.Counted(l.Result.Drift, "differs", "differ"))
		for _, d := range l.Result.Differences {
			fmt.Fprintf(out, "  %s %s: stored at position %d, follows at position %d\n",
				wording.OneLine(d.ID), wording.OneLine(d.What), d.Stored, d.Built)
		}
		if more := int(l.Result.Drift) - len(l.Result.Differences); more > 0 {
			fmt.Fprintf(out, "  and %d more\n", more)
		}
		if l.Result.Drift > 0 {
			drifted = append(drifted, l.View)
		}
	}
	if len(drifted) > 0 {
		return fmt.Errorf("not what follows from the log: %s", strings.Join(drifted, ", "))
	}
	return nil
}
