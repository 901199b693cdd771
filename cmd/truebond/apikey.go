package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/wording"
	"truebond/queries"
)

func apikeyCommand() *cobra.Command {
	return holding("apikey", "Make keys for servers that call the API",
		apikeyCreateCommand(), apikeyListCommand(), apikeyRevokeCommand())
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
	targetFlags(cmd, &to)
	cmd.Flags().StringVar(&name, "name", "", "what the key is for")
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "what it may do: credits:deduct, operator (may be repeated)")
	return cmd
}

func apikeyListCommand() *cobra.Command {
	var to target
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Show all keys there ever were, the newest first, and what they may do",
		Example: `  truebond apikey list`,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := to.connect(cmd.Context())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "id\tname\tscopes\t") //nolint:errcheck // Flush tells
			for cursor, more := "", true; more; {
				var page queries.List[queries.APIKey]
				path := "/api/operator/api-keys?" + url.Values{"limit": {"100"}, "cursor": {cursor}}.Encode()
				if err := server.call(cmd.Context(), http.MethodGet, path, nil, &page); err != nil {
					return err
				}
				for _, k := range page.Data {
					state := ""
					if k.Revoked {
						state = "revoked"
					}
					fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", //nolint:errcheck // Flush tells
						k.ID, wording.OneLine(k.Name), strings.Join(k.Scopes, ","), state)
				}
				cursor, more = page.NextCursor, page.HasMore
			}
			return table.Flush()
		},
	}
	targetFlags(cmd, &to)
	return cmd
}

func apikeyRevokeCommand() *cobra.Command {
	var to target
	cmd := &cobra.Command{
		Use:   "revoke [ID]",
		Short: "Make a key useless; without its id, the key is read from standard input",
		Example: `  truebond apikey revoke key_019ad1…
  truebond apikey revoke < key.txt`,
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{}
			switch len(args) {
			case 0:
				key, err := interruptible(cmd.Context(), func() (string, error) { return readKey(cmd.InOrStdin()) })
				if err != nil {
					return err
				}
				in["key"] = key
			case 1:
				in["id"] = args[0]
			default:
				return exactly("ID")(cmd, args)
			}
			server, err := to.connect(cmd.Context())
			if err != nil {
				return err
			}
			if err := server.call(cmd.Context(), http.MethodPost, "/api/operator/api-keys/revoke", in, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "The key is useless now.")
			return err
		},
	}
	targetFlags(cmd, &to)
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
