package writer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"truebond/events"
	"truebond/events/jetstream"
	"truebond/ledger"
)

// BenchmarkWriter is how many commands a second the writer takes from so many callers,
// each of whom waits for each answer. BenchmarkLog is what the log itself can do.
func BenchmarkWriter(b *testing.B) {
	for _, callers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			log := &countingLog{Log: openLog(b, b.TempDir())}
			w := New(log, log, newCodec(b), time.Now, DefaultLimits, slog.New(slog.DiscardHandler))
			running(b, w)
			var next atomic.Int64
			var wait sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range callers {
				wait.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						key := fmt.Sprintf("api/app_1/%d", i)
						c := Command{Key: key, Actor: events.System, Decide: noted(key)}
						if _, err := w.Do(b.Context(), c); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wait.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
			b.ReportMetric(float64(b.N)/float64(log.appends.Load()), "events/append")
		})
	}
}

// A countingLog counts appends, and takes all that was appended for stored. Nobody asks
// for a document again here, so none needs to be found.
type countingLog struct {
	Log
	appends atomic.Int64
	stored  atomic.Uint64
}

func (l *countingLog) Append(ctx context.Context, after uint64, records []events.Record) error {
	l.appends.Add(1)
	if err := l.Log.Append(ctx, after, records); err != nil {
		return err
	}
	l.stored.Store(after + uint64(len(records)))
	return nil
}

func (l *countingLog) Stored() uint64 { return l.stored.Load() }

func (l *countingLog) Fetch(context.Context, string, []string) (map[string]StoredDocument, error) {
	return nil, nil
}

func (l *countingLog) Keys(context.Context, string, string, int) ([]string, error) { return nil, nil }

func BenchmarkLog(b *testing.B) {
	for _, size := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			log, codec := openLog(b, b.TempDir()), newCodec(b)
			now := time.Now().UTC().Truncate(time.Millisecond)
			records := make([]events.Record, b.N)
			for i := range records {
				key := fmt.Sprintf("api/app_1/%d", i)
				payload, moves, err := noted(key)(nil)
				if err != nil {
					b.Fatal(err)
				}
				e := events.Event{
					Position: uint64(i + 1), Key: key, Time: now, Effective: now, Actor: events.System,
					Data: payload, Moves: moves,
				}
				body, err := codec.Encode(e)
				if err != nil {
					b.Fatal(err)
				}
				records[i] = events.Record{Event: e, Body: body}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += size {
				if err := log.Append(b.Context(), uint64(i), records[i:min(i+size, b.N)]); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// noted charges an account of its own, whatever it has.
func noted(key string) ledger.Decision {
	return func(tx *ledger.Tx) (events.Payload, []events.Move, error) {
		user := "usr_" + key[len("api/app_1/"):]
		if tx != nil {
			_ = ledger.Load(tx, ledger.Accounts, user)
		}
		return events.CreditsDeducted{User: user, Credits: 1, Reason: "a gift", Available: 9},
			[]events.Move{{
				From: events.LotOf(user, "lot_1"), To: events.Spent(events.Promotional, "other"),
				Asset: events.Credit, Amount: 1,
			}}, nil
	}
}

var _ Log = (*jetstream.Log)(nil)
