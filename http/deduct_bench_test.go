package http

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"truebond/commands"
	"truebond/commands/token"
	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
	"truebond/queries"
)

// What http and commands do about a charge, without the connection that it comes over, and
// without the writer.
func BenchmarkDeduct(b *testing.B) {
	body := `{"user_id":"usr_00000000000000000000000000000001","credits":1,"reason":"bench"}`
	ask := charging(b, "/api/credits/deduct", body, nethttp.StatusCreated)
	for b.Loop() {
		ask()
	}
}

// The same for each of a thousand charges in one call.
func BenchmarkDeductMany(b *testing.B) {
	const items = 1000
	var body strings.Builder
	for i := range items {
		fmt.Fprintf(&body, `,{"idempotency_key":"bench-%d","user_id":"usr_%032d","credits":1,"reason":"bench"}`, i, i)
	}
	ask := charging(b, "/api/credits/deduct/bulk", `{"items":[`+body.String()[1:]+`]}`, nethttp.StatusOK)
	for i := 0; b.Loop(); i++ {
		if i%items == 0 {
			ask()
		}
	}
}

// charging asks a server whose writer takes no time.
func charging(b *testing.B, path, body string, wants int) (ask func()) {
	b.Helper()
	hash := func(route string, body []byte) []byte {
		sum := sha256.Sum256(append([]byte(route), body...))
		return sum[:]
	}
	do := commands.NewService(commands.Parts{Writer: &chargesAll{}, HashRequest: hash})
	server, err := New(Config{
		Routes: creditRoutes(do, &queries.Service{}), Tokens: token.New("a secret", time.Now),
		APIKeys: memoryKeys{"tb_bench": {ledger.ScopeDeduct}}, Redis: redis.NewClient(&redis.Options{}),
		Log: slog.New(slog.DiscardHandler), HashRequest: hash, Stored: func() uint64 { return 0 },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return func() {
		request := httptest.NewRequest(nethttp.MethodPost, path, strings.NewReader(body))
		request.Header = nethttp.Header{"Authorization": {"Bearer tb_bench"}, "Content-Type": {jsonType},
			headerIdempotencyKey: {"bench"}}
		answer := httptest.NewRecorder()
		server.Handler().ServeHTTP(answer, request)
		if answer.Code != wants {
			b.Fatalf("answered %d: %s", answer.Code, answer.Body)
		}
	}
}

// chargesAll is a writer that makes every charge at once.
type chargesAll struct {
	writer.Decider

	position atomic.Uint64
}

func (w *chargesAll) Do(context.Context, writer.Command) (writer.Done, error) {
	return writer.Done{Event: events.Event{Position: w.position.Add(1),
		Data: events.CreditsDeducted{User: "usr_00000000000000000000000000000001", Credits: 1, Available: 9}}}, nil
}

func (w *chargesAll) DoAll(ctx context.Context, all []writer.Command) ([]writer.Outcome, error) {
	outcomes := make([]writer.Outcome, len(all))
	for i, c := range all {
		outcomes[i].Done, outcomes[i].Err = w.Do(ctx, c)
	}
	return outcomes, nil
}
