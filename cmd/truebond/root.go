package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"truebond/cmd/truebond/server"
)

// rootCommand is the program's command line: one line a subcommand.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "truebond",
		Short: "The backend of a dating app in which people pay with credits",
		Long: `TrueBond keeps a ledger of credits: people buy them through Stripe, and spend them
on messages and calls. Everything that happens is an event in a log that is never
changed; balances, histories and audits are views of that log.

One command starts all of it. Nothing else needs to be installed or set up.`,
		Example: `  truebond demo                          try it, on data that is thrown away
  truebond serve --data ./data           run it for real
  truebond admin create --email eve@example.com --role admin < password.txt
  truebond trigger payment_intent.succeeded --intent pi_123
  truebond tail                          read the log
  truebond verify --data ./data          check the log, while no server runs`,
		Version:           server.Version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return refuseEmpty(cmd) },
		RunE:              only,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return plainly(err) })
	group := func(id, title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: id, Title: title})
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group("run", "Run it:", serveCommand(), demoCommand())
	group("people", "People and keys:", adminCommand(), apikeyCommand(), eraseCommand())
	group("look", "Look and mend:", tailCommand(), compareCommand(), rebuildCommand(), triggerCommand(), benchCommand())
	group("keep", "Keep the log safe:", archiveCommand(), restoreCommand(), verifyCommand(), vaultCommand())
	group("about", "About it:", versionCommand())
	root.SetHelpCommand(helpCommand())
	root.SetHelpCommandGroupID("about")
	return root
}

// helpCommand shows the help of a command, and refuses one that there is not.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return &misuseError{err}
			}
			about.InitDefaultHelpFlag() // which it shows
			about.InitDefaultVersionFlag()
			return only(about, rest)
		},
	}
}

// plainly says what a flag takes, where a value is none. Go's own words are about how it was read.
func plainly(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return &misuseError{err}
	}
	flag := invalid.GetFlag()
	takes, known := map[string]string{
		"bool":       "true or false",
		"duration":   "a time such as 90s or 24h",
		"int":        "a whole number",
		"int64":      "a whole number",
		"uint64":     "a whole number, 0 or more",
		replicasType: fmt.Sprintf("1 to %d", replicasMax),
	}[flag.Value.Type()]
	if !known {
		takes = flag.Usage
	}
	return misused("--%s takes %s, not %s", flag.Name, takes, invalid.GetValue())
}

// exactly demands so many arguments, and names them when they are missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return misused("%s is missing", names[len(args)])
		case len(args) > len(names):
			return misused("%q is one argument too many", args[len(names)])
		}
		return nil
	}
}

// demand refuses flags that were left empty.
func demand(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if value := cmd.Flag(name).Value.String(); value == "" || value == "[]" {
			return misused("--%s is missing", name)
		}
	}
	return nil
}

// refuseEmpty refuses flags that were given with nothing in them, as a shell does it with a
// variable that is not set. Taken for absent, they would have something else checked,
// restored or served than was meant.
func refuseEmpty(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.String() == "" && err == nil {
			err = misused("--%s is empty", f.Name)
		}
	})
	return err
}

// holding is a command that does nothing but hold others.
func holding(use, short string, others ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: only}
	cmd.AddCommand(others...)
	return cmd
}

// only shows the help of a command, and refuses arguments: no subcommand is called so.
func only(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	hint := ""
	cmd.SuggestionsMinimumDistance = 2 // as many typos
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return misused("there is no subcommand %q%s", args[0], hint)
}
