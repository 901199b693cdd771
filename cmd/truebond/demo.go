package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"text/template"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/logging"
	"truebond/cmd/truebond/server"
	"truebond/cmd/truebond/settings"
)

func demoCommand() *cobra.Command {
	listen := "127.0.0.1:8080"
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it on data that is thrown away",
		Long: `Serves on throw-away data with people, purchases, messages, calls and a dispute in it,
and prints what to open and what to try. Everything is embedded; nothing is kept.

The settings in the environment are not used: a demo never touches your servers.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), listen, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", listen, "address to serve on; a free port if it is taken")
	return cmd
}

// demo serves throw-away data until ctx ends.
func demo(ctx context.Context, listen string, out, logs io.Writer) (err error) {
	if err := validateAddress(listen); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "truebond-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if taken(listen) {
		listen = "127.0.0.1:0"
	}
	// Whatever the environment is set up for, a demo is kept away from it.
	o := server.Options{
		Data: folder, Listen: listen, TestClock: true, Settings: &settings.Settings{},
		Logger: logging.New(logs, slog.LevelError, isTerminal(logs)),
	}
	return server.Serve(ctx, o, func(s *server.Server) error {
		told, err := tellStory(ctx, s)
		if err != nil {
			return fmt.Errorf("fill the demo: %w", err)
		}
		told.Data = folder
		return page.Execute(out, told)
	})
}

// taken tells whether somebody listens on an address.
func taken(address string) bool {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return errors.Is(err, syscall.EADDRINUSE)
	}
	return l.Close() != nil
}

// page is what a demo prints.
var page = template.Must(template.New("demo").Parse(`
TrueBond serves on {{.URL}}, on throw-away data. Ctrl-C ends it and forgets all.
Checkpoints of its log are signed by {{.AuditKey}}

What has happened
{{range .Done}}  {{.}}
{{end}}
Open in a browser
  {{.URL}}/docs            every route, to try
  {{.URL}}/metrics         for Prometheus

Log in: everybody's password is  {{.Password}}
{{range .People}}  {{printf "%-20s" .Email}} {{.What}}
{{end}}
Try (paste as it stands)

  # what Ann has, and what has changed it
  ANN={{.Ann.Token}}
  curl -s {{.URL}}/api/credits/balance -H "Authorization: Bearer $ANN"
  curl -s {{.URL}}/api/credits/history -H "Authorization: Bearer $ANN"

  # Ann writes to Bob: the message and its charge are one event
  curl -s {{.URL}}/api/v2/messages/send -H "Authorization: Bearer $ANN" -H "Idempotency-Key: m1" \
    -H "Content-Type: application/json" -d '{"to":"{{.Bob.ID}}","body":"Hello again"}'

  # Ann calls Bob, Bob accepts, three minutes pass on the test clock
  BOB={{.Bob.Token}}
  CALL=$(curl -s {{.URL}}/api/calls/initiate -H "Authorization: Bearer $ANN" \
    -H "Content-Type: application/json" -d '{"to":"{{.Bob.ID}}","kind":"audio"}' |
    sed 's/.*"id":"\(call_[^"]*\)".*/\1/')
  curl -s {{.URL}}/api/calls/accept -H "Authorization: Bearer $BOB" \
    -H "Content-Type: application/json" -d "{\"call_id\":\"$CALL\"}"
  curl -s {{.URL}}/api/test-clock/advance -H "Content-Type: application/json" -d '{"seconds":180}'
  curl -s {{.URL}}/api/calls/history -H "Authorization: Bearer $ANN"

  # a server of the app's charges Ann
  curl -s {{.URL}}/api/credits/deduct -H "Authorization: Bearer {{.Key}}" -H "Idempotency-Key: gift-1" \
    -H "Content-Type: application/json" -d '{"user_id":"{{.Ann.ID}}","credits":2,"reason":"a gift"}'

  # the books, as finance sees them, and the audit trail, as an admin does
  curl -s {{.URL}}/api/finance/trial-balance -H "Authorization: Bearer {{.Finance.Token}}"
  curl -s "{{.URL}}/api/admin/audit?limit=3" -H "Authorization: Bearer {{.Admin.Token}}"

  # a receipt for an event, which anybody who has the key can check without the server
  curl -s {{.URL}}/api/audit/receipt/3 -H "Authorization: Bearer {{.Finance.Token}}" > receipt.json
  {{.Program}} verify receipt receipt.json --key {{.AuditKey}}

  # Ann's purchase that is still open is paid, as Stripe would say it
  {{.Program}} trigger payment_intent.succeeded --data {{.Data}} --intent {{.OpenIntent}} \
    --secret {{.Secret}}

  # every event as it stands in the log
  {{.Program}} tail --data {{.Data}}
`))
