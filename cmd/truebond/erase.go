package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func eraseCommand() *cobra.Command {
	var to target
	var local logPlace
	var reason string
	var yes bool
	cmd := &cobra.Command{
		Use:   "erase USER",
		Short: "Make a person's data unreadable everywhere, for ever",
		Long: `Destroy the key that a person's data is sealed with, and drop their documents. What they
wrote and who they were can then be read by nobody, in the log and in its backups alike;
amounts and times stay, so that the books still add up. There is no way back.

On a terminal you are asked to confirm. It works while the server runs and while not.`,
		Example: `  truebond erase usr_01JC7Z --reason "asked by letter of 3 May"`,
		Args:    exactly("the user's id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			user := args[0]
			if !yes && isTerminal(cmd.InOrStdin()) {
				if err := confirm(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), user); err != nil {
					return err
				}
			}
			return runAgainst(cmd.Context(), to, local, func(server *client) error {
				in := map[string]string{"user_id": user, "reason": reason}
				err := server.call(cmd.Context(), http.MethodPost, "/api/operator/erase", in, nil)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is erased.\n", user)
				return err
			})
		},
	}
	targetFlags(cmd, &to)
	cmd.Flags().StringVar(&reason, "reason", "the person asked for it", "why, for the audit")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask on a terminal")
	logFlags(cmd, &local)
	return cmd
}

// confirm has a person type what is about to be destroyed.
func confirm(ctx context.Context, in io.Reader, prompt io.Writer, what string) error {
	fmt.Fprintf(prompt, "This cannot be undone. Type %s to go on: ", what)
	line, err := interruptible(ctx, func() (string, error) { return bufio.NewReader(in).ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != what {
		return errors.New("not confirmed; nothing was done")
	}
	return nil
}
