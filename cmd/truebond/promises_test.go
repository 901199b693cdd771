package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"truebond/cmd/truebond/server"
	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
	"truebond/projections/projectiontest"
)

// A verdict is what a log, and the views, came to when they were held against what was
// acknowledged.
type verdict struct {
	acknowledged int
	lost         []string // was acknowledged, and is not in the log where it was said to be
	doubled      []string // is in the log twice
	wrong        []string // is in the log and is not what was said, or not whole, or not as the views have it
}

func (v verdict) all() []string {
	return append(append(append([]string{}, v.lost...), v.doubled...), v.wrong...)
}

// judge holds a log against what was acknowledged.
func (l *load) judge(history []events.Event) verdict {
	v := verdict{acknowledged: len(l.acked), wrong: l.odd}
	at := map[string]events.Event{}
	account := map[string]ledger.Account{}
	for i, e := range history {
		if e.Position != uint64(i+1) {
			v.wrong = append(v.wrong, fmt.Sprintf("the event behind position %d stands at %d", i, e.Position))
		}
		for _, key := range []string{e.Key, asked(e)} {
			if first, twice := at[key]; twice && first.Position != e.Position {
				v.doubled = append(v.doubled, fmt.Sprintf("%s stands at %d and at %d", key, first.Position, e.Position))
			}
			at[key] = e
		}
		for _, user := range ledger.Accounts.Keys(e) {
			account[user], _ = ledger.Accounts.Evolve(account[user], user, e)
			if left := account[user].Available(e.Time); left < 0 {
				v.wrong = append(v.wrong, fmt.Sprintf("at %d %s has %d credits", e.Position, user, left))
			}
		}
	}
	for key, promised := range l.acked {
		e, ok := at[key]
		if !ok || e.Position != promised.position {
			v.lost = append(v.lost, fmt.Sprintf("%s was acknowledged at %d and is in the log at %d",
				key, promised.position, e.Position))
			continue
		}
		if change, ok := e.Data.(events.BalanceChange); ok && promised.left != "" {
			if _, left := change.Leaves(); promised.left != strconv.FormatInt(left, 10) {
				v.wrong = append(v.wrong, fmt.Sprintf("%s left %d credits, the answer said %s", key, left, promised.left))
			}
		}
	}
	return v
}

// asked is the key that an event was asked for under: Stripe's event, or the end of its
// key, before which stands who asked.
func asked(e events.Event) string {
	if end := e.Key[strings.LastIndexByte(e.Key, '/')+1:]; strings.HasPrefix(end, "load-") {
		return end
	}
	return e.Key
}

// judgeAll holds a log, and the views of it, against what was acknowledged.
func (l *load) judgeAll(ctx context.Context, log recordsLog, store projections.Store) (verdict, error) {
	history, err := readHistory(ctx, log)
	if err != nil {
		return verdict{}, err
	}
	v := l.judge(history)
	differences, err := projectiontest.Differences(ctx, store, projections.Catalogue(), history)
	v.wrong = append(v.wrong, differences...)
	return v, err
}

// checkPromises holds the log against what was acknowledged, and the views against it.
func checkPromises(t *testing.T, data string, l *load) {
	t.Helper()
	stopped := openParts(t, server.Options{Data: data, Listen: "127.0.0.1:0"})
	v, err := l.judgeAll(t.Context(), stopped.Log, stopped.Store)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range v.all() {
		t.Error(problem)
	}
}

// recordsLog is the part of a log that history is read from.
type recordsLog interface {
	Last(ctx context.Context) (uint64, error)
	ReadRange(ctx context.Context, after uint64, max int) ([]events.Record, error)
}

// readHistory reads all events. It fails at one that is missing or not whole.
func readHistory(ctx context.Context, log recordsLog) ([]events.Event, error) {
	last, err := log.Last(ctx)
	if err != nil {
		return nil, err
	}
	var all []events.Event
	for uint64(len(all)) < last {
		records, err := log.ReadRange(ctx, uint64(len(all)), 1000)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			all = append(all, r.Event)
		}
	}
	return all, nil
}

// openParts opens a data folder, and lets the views catch up.
func openParts(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	r, err := server.Start(t.Context(), o)
	if err != nil {
		t.Fatalf("the server does not start: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := r.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}
