package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func apikeyCommand() *cobra.Command {
	return holding("apikey", "Make keys for servers that call the API", apikeyCreateCommand(), apikeyRevokeCommand())
}

func apikeyCreateCommand() *cobra.Command {
	var to target
	var name string
	var scopes []string
	cmd := &cobra.Command{
		Use:   "create --name N --scope SCOPE…",
		Short: "Make a key and print it, once",
		Long: `Make a key for a server of yours, and print it. Only its hash is kept: it is never
shown again. The key is all that goes to standard output.`,
		Example: `  truebond apikey create --name gifts --scope credits:deduct
  KEY=$(truebond apikey create --name gifts --scope credits:deduct)`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := demand(cmd, "name", "scope"); err != nil {
				return err
			}
			server, err := to.connect(cmd.Context())
			if err != nil {
				return err
			}
			in := map[string]any{"name": name, "scopes": scopes}
			var made struct{ ID, Key string }
			if err := server.call(cmd.Context(), http.MethodPost, "/api/operator/api-keys", in, &made); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "The key %s (%s). It is shown this once only:\n", made.ID, name)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), made.Key)
			return err
		},
	}
	to.flags(cmd)
	cmd.Flags().StringVar(&name, "name", "", "what the key is for")
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "what it may do: credits:deduct, operator (may be repeated)")
	return cmd
}

func apikeyRevokeCommand() *cobra.Command {
	var to target
	cmd := &cobra.Command{
		Use:     "revoke",
		Short:   "Make a key useless; it is read from standard input",
		Example: `  truebond apikey revoke < key.txt`,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := interruptible(cmd.Context(), func() (string, error) { return readKey(cmd.InOrStdin()) })
			if err != nil {
				return err
			}
			server, err := to.connect(cmd.Context())
			if err != nil {
				return err
			}
			in := map[string]any{"key": key}
			if err := server.call(cmd.Context(), http.MethodPost, "/api/operator/api-keys/revoke", in, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "The key is useless now.")
			return err
		},
	}
	to.flags(cmd)
	return cmd
}

const keyBytesMax = 1024 // far more than a key has

// readKey reads a key that stands alone on standard input.
func readKey(in io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(in, keyBytesMax))
	if err != nil {
		return "", fmt.Errorf("read the key: %w", err)
	}
	key := strings.TrimSpace(string(text))
	if key == "" {
		return "", errors.New("there is no key on standard input")
	}
	return key, nil
}
