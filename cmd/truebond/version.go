package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/server"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which version this is",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), server.Version())
			return err
		},
	}
}
