package projections_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"truebond/events"
	"truebond/projections"
)

// charges are charges of a thousand users, as the log keeps them.
func charges(b *testing.B, n int) (*events.Codec, [][]byte) {
	b.Helper()
	codec, err := events.NewCodec()
	if err != nil {
		b.Fatal(err)
	}
	bodies := make([][]byte, n)
	for i := range bodies {
		user := fmt.Sprintf("usr_%032d", i%1000)
		at := time.UnixMilli(int64(i)).UTC()
		bodies[i], err = codec.Encode(events.Event{
			Key: fmt.Sprintf("api/app/key_bench/%032d", i), Time: at, Effective: at,
			Actor: events.Actor{Kind: events.ActorApp, ID: "key_bench"}, Request: make([]byte, 32),
			Moves: []events.Move{{
				From: events.LotOf(user, "lot_1"), To: events.Spent(events.Promotional, "other"),
				Asset: events.Credit, Amount: 1,
			}},
			Data: events.CreditsDeducted{User: user, Credits: 1, Reason: "bench"},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return codec, bodies
}

// A decodingLog decodes when it is read, as the real one does.
type decodingLog struct {
	codec  *events.Codec
	bodies [][]byte
}

func (l *decodingLog) Last(context.Context) (uint64, error) { return l.Known(), nil }

func (l *decodingLog) Known() uint64 { return uint64(len(l.bodies)) }

func (l *decodingLog) Follow(
	ctx context.Context, after uint64, most int, yield func([]events.Record) error,
) error {
	for after < uint64(len(l.bodies)) {
		bodies := l.bodies[after:min(uint64(len(l.bodies)), after+uint64(most))]
		records := make([]events.Record, len(bodies))
		for i, body := range bodies {
			after++
			e, err := l.codec.Decode(after, body)
			if err != nil {
				return err
			}
			records[i] = events.Record{Event: e, Body: body}
		}
		if err := yield(records); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// BenchmarkProjector folds charges into all views. One op is one event.
func BenchmarkProjector(b *testing.B) {
	codec, bodies := charges(b, b.N)
	w := &world{t: b, store: openStore(b), views: projections.Catalogue()}
	p := projections.NewProjector(w.store, &decodingLog{codec, bodies}, w.views, quiet())
	if err := p.Prepare(b.Context()); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	ended := make(chan error, 1)
	b.ResetTimer()
	go func() { ended <- p.Run(ctx) }()
	if err := p.Wait(ctx, uint64(b.N)); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
