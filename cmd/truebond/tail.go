package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/wording"
	"truebond/events"
)

func tailCommand() *cobra.Command {
	var to target
	var after uint64
	var raw bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show the log, and events as they come",
		Long: `Show the log's events and then those to come, one a line: position, time, type, actor and
key, and what moved. It ends with Ctrl-C.`,
		Example: `  truebond tail
  truebond tail --after 1000 --json | jq 'select(.event.type == "message.sent")'`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := to.connect(cmd.Context())
			if err != nil {
				return err
			}
			path := "/api/operator/tail?after=" + strconv.FormatUint(after, 10)
			show := showEvent
			if raw {
				show = showJSON
			}
			out := cmd.OutOrStdout()
			err = server.stream(cmd.Context(), http.MethodGet, path, nil, func(line json.RawMessage) error {
				return show(out, line)
			})
			switch {
			case cmd.Context().Err() != nil:
				return nil // that is how one leaves it
			case err == nil:
				return errors.New("the server has stopped")
			}
			return err
		},
	}
	targetFlags(cmd, &to)
	cmd.Flags().Uint64Var(&after, "after", 0, "begin behind this position")
	cmd.Flags().BoolVar(&raw, "json", false, "print the events whole, as JSON")
	return cmd
}

func showJSON(out io.Writer, line json.RawMessage) error {
	_, err := fmt.Fprintf(out, "%s\n", line)
	return err
}

func showEvent(out io.Writer, line json.RawMessage) error {
	var told struct {
		Position uint64
		Event    struct {
			Time  time.Time
			Type  string
			Actor events.Actor
			Key   string
			Moves []events.Move
		}
	}
	if err := json.Unmarshal(line, &told); err != nil {
		return fmt.Errorf("read an event: %w", err)
	}
	var text strings.Builder
	e := told.Event
	fmt.Fprintf(&text, "%d  %s  %s  %s  %s", told.Position, e.Time.Format(time.RFC3339), e.Type, e.Actor, e.Key)
	for _, m := range e.Moves {
		fmt.Fprintf(&text, "  %s → %s %d %s", m.From, m.To, m.Amount, m.Asset)
	}
	_, err := fmt.Fprintln(out, wording.OneLine(text.String()))
	return err
}
