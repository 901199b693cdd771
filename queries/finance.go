package queries

import (
	"context"
	"time"

	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
)

// AsOf asks for the books as they stood at a time.
type AsOf struct {
	AsOf string `query:"as_of" description:"A date: its end, UTC. A time (RFC 3339): what is before it. All if not given."`
}

// TrialBalance is what each class of accounts holds, by when things happened
// (Effective). Assets, expenses and users' credits are zero or more; liabilities,
// revenue and what was issued are zero or less; in each asset all sum to zero.
type TrialBalance struct {
	AsOf     time.Time          `json:"as_of"` // what happened before this time is in
	Position uint64             `json:"position"`
	Accounts []TrialBalanceLine `json:"accounts"`
	Totals   []TrialTotal       `json:"totals"`
}

// A TrialBalanceLine is one class of accounts in one asset. Amounts are credits, or
// minor units of a currency.
type TrialBalanceLine struct {
	Account string       `json:"account"`
	Asset   events.Asset `json:"asset"`
	Debit   int64        `json:"debit"`   // what came in
	Credit  int64        `json:"credit"`  // what went out
	Balance int64        `json:"balance"` // Debit − Credit
}

// A TrialTotal is the sum over all accounts in one asset. Its balance is zero, or the
// books are wrong.
type TrialTotal struct {
	Asset   events.Asset `json:"asset"`
	Debit   int64        `json:"debit"`
	Credit  int64        `json:"credit"`
	Balance int64        `json:"balance"`
}

// TrialBalance sums the books up as of a time.
func (s *Service) TrialBalance(ctx context.Context, in AsOf) (TrialBalance, error) {
	until, err := asOf(in.AsOf)
	if err != nil {
		return TrialBalance{}, err
	}
	position := s.Position()
	sum, err := s.turnoverUntil(ctx, until)
	if err != nil {
		return TrialBalance{}, err
	}
	if in.AsOf == "" {
		until = s.Now()
	}
	b := TrialBalance{AsOf: until, Position: position, Accounts: []TrialBalanceLine{}, Totals: []TrialTotal{}}
	totals := map[events.Asset]*TrialTotal{}
	for _, l := range sum.Lines {
		b.Accounts = append(b.Accounts, TrialBalanceLine{
			Account: l.Class, Asset: l.Asset, Debit: l.In, Credit: l.Out, Balance: l.In - l.Out,
		})
		if totals[l.Asset] == nil {
			totals[l.Asset] = &TrialTotal{Asset: l.Asset}
		}
		t := totals[l.Asset]
		t.Debit, t.Credit, t.Balance = t.Debit+l.In, t.Credit+l.Out, t.Balance+l.In-l.Out
	}
	for _, asset := range append([]events.Asset{events.Credit}, events.Currencies...) {
		if t := totals[asset]; t != nil {
			b.Totals = append(b.Totals, *t)
		}
	}
	return b, nil
}

// JournalFilter asks for entries of the journal.
type JournalFilter struct {
	Page
	Account string `query:"account" description:"One of the entry's accounts, in full."`
	From    string `query:"from" description:"Effective not before this time (RFC 3339)."`
	Until   string `query:"until" description:"Effective before this time (RFC 3339)."`
}

func (f JournalFilter) Validate() error {
	return AuditFilter{Page: f.Page, Account: f.Account, From: f.From, Until: f.Until}.Validate()
}

// JournalEntry is an event that moved something. In each asset its moves sum to zero.
type JournalEntry struct {
	Position  uint64        `json:"position"`
	Key       string        `json:"key"`
	Type      string        `json:"type"`
	At        time.Time     `json:"at"`
	Effective time.Time     `json:"effective"`
	Moves     []events.Move `json:"moves"`
}

// Journal shows what was moved, by when it happened, the oldest first; one account's
// entries by their positions.
func (s *Service) Journal(ctx context.Context, in JournalFilter) (List[JournalEntry], error) {
	booked, err := between(in.From, in.Until, func(at time.Time) (any, error) { return millisFrom(at), nil })
	if err != nil {
		return List[JournalEntry]{}, err
	}
	shown := listing[projections.AuditEntry, JournalEntry]{
		view: projections.Audit.Name, query: projections.Query{Index: projections.AuditByBooked, Range: booked},
		after: byBooked, show: singly(journalEntry),
	}
	if in.Account != "" {
		shown.query = projections.Query{Index: projections.AuditByAccount, Equal: []any{in.Account}}
		shown.after, shown.with = byPosition, []string{in.From, in.Until}
		shown.fits = func(e projections.AuditEntry) bool {
			return (booked.From == nil || e.Effective >= booked.From.(int64)) &&
				(booked.Until == nil || e.Effective < booked.Until.(int64))
		}
	}
	return shown.page(ctx, s.Views, in.Page)
}

// farFuture is after all that can have happened: no webhook is taken that tells of a later year.
var farFuture = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)

// asOf reads a date or a time. A date means its end; nothing means all that is known,
// also what is effective later than the ledger's clock says.
func asOf(text string) (until time.Time, err error) {
	if text == "" {
		return farFuture, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		if day = day.AddDate(0, 0, 1); day.After(farFuture) {
			day = farFuture
		}
		return day, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	at = at.UTC()
	switch {
	case err != nil || at.Year() < 0:
		return at, ledger.Refuse(ledger.CodeInvalidRequest,
			"as_of must be a date like 2026-01-31 or a time like 2026-01-31T12:00:00Z.").About("as_of")
	case at.After(farFuture):
		return farFuture, nil
	}
	return at, nil
}

// millisFrom is the first of the times that documents hold, which are whole milliseconds,
// that is not before a time.
func millisFrom(at time.Time) int64 { return projections.Millis(at.Add(time.Millisecond - 1)) }

// turnoverUntil sums what happened before a time: whole days, then whole minutes, then
// the journal's entries of the minute that is not over.
func (s *Service) turnoverUntil(ctx context.Context, until time.Time) (sum projections.Turnover, err error) {
	minute := until.UTC().Truncate(time.Minute)
	midnight := minute.Truncate(24 * time.Hour)
	for _, r := range []projections.Range{
		{From: "day/", Until: projections.DayID(midnight)},
		{From: projections.MinuteID(midnight), Until: projections.MinuteID(minute)},
	} {
		err = each(ctx, s.Views, projections.Balances.Name, projections.Query{Range: r}, byID[projections.Turnover],
			func(part projections.Turnover) { sum = sum.Add(part) })
		if err != nil {
			return sum, err
		}
	}
	q := projections.Query{
		Index: projections.AuditByBooked,
		Range: projections.Range{From: projections.Millis(minute), Until: millisFrom(until)},
	}
	err = each(ctx, s.Views, projections.Audit.Name, q, byBooked,
		func(entry projections.AuditEntry) { sum = sum.AddMoves(entry.Moves) })
	return sum, err
}

func byBooked(f projections.Found[projections.AuditEntry]) []any { return []any{f.Doc.Effective} }

func journalEntry(e projections.AuditEntry) JournalEntry {
	return JournalEntry{
		Position: e.Position, Key: e.Key, Type: e.Type, At: projections.FromMillis(e.At),
		Effective: projections.FromMillis(e.Effective), Moves: e.Moves,
	}
}
