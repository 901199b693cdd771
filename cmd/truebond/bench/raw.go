package bench

import (
	"context"
	"strconv"
	"time"

	"truebond/events"
	"truebond/events/jetstream"
	"truebond/ledger"
)

// A rawBench publishes to the stream itself, messages of the size that a charge has.
type rawBench struct {
	log      *jetstream.Log
	codec    *events.Codec
	position uint64
}

func openRaw(ctx context.Context, folder string) (*rawBench, error) {
	codec, err := events.NewCodec()
	if err != nil {
		return nil, err
	}
	log, err := jetstream.Open(ctx, jetstream.Options{Dir: folder, Codec: codec})
	return &rawBench{log: log, codec: codec}, err
}

// begin publishes batches for as long as a round takes. They are made ahead, a few at a
// time, and that time does not count.
func (r *rawBench) begin(_ context.Context, callers int) (round, error) {
	size := min(callers, events.BatchMax)
	return func(ctx context.Context, length time.Duration) (m measured, err error) {
		for m.took < length {
			batches := make([]*jetstream.RawBatch, max(1, 2000/size))
			for i := range batches {
				if batches[i], err = r.prepare(size); err != nil {
					return m, err
				}
			}
			for _, batch := range batches {
				begun := time.Now()
				if err := batch.Publish(ctx); err != nil {
					return m, err
				}
				took := time.Since(begun)
				m.events, m.took, m.waits = m.events+size, m.took+took, append(m.waits, took)
			}
		}
		return m, nil
	}, nil
}

func (r *rawBench) prepare(size int) (*jetstream.RawBatch, error) {
	records, err := sampleCharges(r.codec, benchAccounts, r.position, size)
	r.position += uint64(size)
	return r.log.NewRawBatch(records), err
}

// sampleCharges are charges that follow a position.
func sampleCharges(codec *events.Codec, accounts int, after uint64, count int) ([]events.Record, error) {
	records := make([]events.Record, count)
	for i := range records {
		var err error
		if records[i], err = sampleCharge(codec, accounts, after+uint64(i)+1); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// sampleCharge is an event as a charge makes it.
func sampleCharge(codec *events.Codec, accounts int, position uint64) (events.Record, error) {
	user, lot := benchUser(int(position)%accounts), benchLot(int(position)%accounts)
	now := time.Now().UTC().Truncate(time.Millisecond)
	e := events.Event{
		Position: position, Key: benchKey(position), Time: now, Effective: now,
		Actor: events.Actor{Kind: events.ActorApp, ID: "key_bench"}, Request: make([]byte, 32),
		Moves: []events.Move{{
			From: events.LotOf(user, lot), To: events.Spent(events.Promotional, ledger.UseOther),
			Asset: events.Credit, Amount: 1,
		}},
		Data: events.CreditsDeducted{User: user, Credits: 1, Reason: "bench", Available: benchFunds - int64(position)},
	}
	body, err := codec.Encode(e)
	return events.Record{Event: e, Body: body}, err
}

func benchUser(i int) string   { return numbered("usr_", uint64(i)) } // #nosec G115 -- it counts up from 0
func benchLot(i int) string    { return numbered("lot_", uint64(i)) } // #nosec G115 -- likewise
func benchKey(n uint64) string { return numbered("api/app/key_bench/", n) }

// numbered is a name with a number of 32 digits. It is a part of what is measured, so it is quick.
func numbered(prefix string, n uint64) string {
	const zeros = "00000000000000000000000000000000"
	digits := strconv.FormatUint(n, 10)
	return prefix + zeros[len(digits):] + digits
}
