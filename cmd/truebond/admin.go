package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"truebond/ledger"
)

// staffRoles are the roles that nobody gets by signing up.
var staffRoles = []string{ledger.RoleAdmin, ledger.RoleFinance}

func adminCommand() *cobra.Command {
	return holding("admin", "Make admins and finance people", adminCreateCommand())
}

func adminCreateCommand() *cobra.Command {
	var to target
	var email, name, role string
	cmd := &cobra.Command{
		Use:   "create --email E --role ROLE",
		Short: "Make an admin or a finance person; the password comes from standard input",
		Long: `Make an admin or a finance person. The password comes from standard input: one line.
On a terminal it is asked for twice, and not shown.`,
		Example: `  truebond admin create --email eve@example.com --role admin
  truebond admin create --email fin@example.com --role finance --name "Fin Ance" < password.txt`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := demand(cmd, "email", "role"); err != nil {
				return err
			}
			if !slices.Contains(staffRoles, role) {
				return misused("--role is %s", strings.Join(staffRoles, " or "))
			}
			if name == "" {
				name, _, _ = strings.Cut(email, "@")
			}
			server, err := to.connect(cmd.Context())
			if err != nil {
				return err
			}
			password, err := readPassword(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			in := map[string]string{"email": email, "name": name, "password": password, "role": role}
			if err := server.call(cmd.Context(), http.MethodPost, "/api/operator/staff", in, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s may now log in, with the role %s.\n", email, role)
			return err
		},
	}
	targetFlags(cmd, &to)
	cmd.Flags().StringVar(&email, "email", "", "e-mail address to log in with")
	cmd.Flags().StringVar(&role, "role", "", "what they may do: "+strings.Join(staffRoles, " or "))
	cmd.Flags().StringVar(&name, "name", "", "name to show (default: what stands before the @)")
	return cmd
}
