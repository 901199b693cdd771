package queries

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sort"
	"time"

	"github.com/invopop/validation"

	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
)

// AuditFilter asks for events; all filters that are given must fit.
type AuditFilter struct {
	Page
	Type    string `query:"type" description:"Such as message.sent."`
	Actor   string `query:"actor" description:"Who did it: user/usr_…, app/…, stripe/evt_…, operator, system."`
	Subject string `query:"subject" description:"Whom it is about: usr_…, pi_…, call_…"`
	Account string `query:"account" description:"One of its moves' accounts, in full."`
	From    string `query:"from" description:"Not before this time (RFC 3339)."`
	Until   string `query:"until" description:"Before this time (RFC 3339)."`
}

func (f AuditFilter) Validate() error {
	if err := f.Page.Validate(); err != nil {
		return err
	}
	const textMax = 400
	return validation.ValidateStruct(&f,
		validation.Field(&f.Type, validation.Length(0, textMax)),
		validation.Field(&f.Actor, validation.Length(0, textMax)),
		validation.Field(&f.Subject, validation.Length(0, textMax)),
		validation.Field(&f.Account, validation.Length(0, textMax)),
		validation.Field(&f.From, aTime),
		validation.Field(&f.Until, aTime),
	)
}

var aTime = validation.Date(time.RFC3339Nano).Error("must be a time like 2026-01-31T12:00:00Z")

// AuditLine is one event. Personal text in Data stays sealed: it shows whose it is, not
// what it says.
type AuditLine struct {
	Position  uint64          `json:"position"`
	Key       string          `json:"key"`
	Type      string          `json:"type"`
	Actor     string          `json:"actor"`
	Cause     uint64          `json:"cause,omitempty"`
	At        time.Time       `json:"at"`
	Effective time.Time       `json:"effective"`
	Subjects  []string        `json:"subjects"`
	Moves     []events.Move   `json:"moves"`
	Data      json.RawMessage `json:"data"`
}

// Audit shows events, the newest first.
func (s *Service) Audit(ctx context.Context, in AuditFilter) (List[AuditLine], error) {
	shown := listing[projections.AuditEntry, AuditLine]{
		view: projections.Audit.Name, query: projections.Query{Desc: true},
		after: byID[projections.AuditEntry], show: singly(auditLine),
	}
	// The index that tells most is used; the other filters are applied to what it finds.
	var others []func(projections.AuditEntry) bool
	for _, f := range []struct {
		index, value string
		of           func(projections.AuditEntry) []string
	}{
		{projections.AuditByAccount, in.Account, func(e projections.AuditEntry) []string { return e.Accounts }},
		{projections.AuditBySubject, in.Subject, func(e projections.AuditEntry) []string { return e.Subjects }},
		{projections.AuditByActor, in.Actor, func(e projections.AuditEntry) []string { return []string{e.Actor} }},
		{projections.AuditByType, in.Type, func(e projections.AuditEntry) []string { return []string{e.Type} }},
	} {
		switch {
		case f.value == "":
		case shown.query.Index == "":
			shown.query.Index, shown.query.Equal, shown.after = f.index, []any{f.value}, byPosition
		default:
			shown.with = append(shown.with, f.index, f.value)
			others = append(others, func(e projections.AuditEntry) bool { return slices.Contains(f.of(e), f.value) })
		}
	}
	shown.fits = func(e projections.AuditEntry) bool {
		return !slices.ContainsFunc(others, func(fits func(projections.AuditEntry) bool) bool { return !fits(e) })
	}
	shown.with = append(shown.with, in.From, in.Until)
	var err error
	if shown.within, err = s.positionsBetween(ctx, in.From, in.Until, shown.query.Index != ""); err != nil {
		return List[AuditLine]{}, err
	}
	return shown.page(ctx, s.Views, in.Page)
}

func byPosition(f projections.Found[projections.AuditEntry]) []any {
	return []any{int64(f.Doc.Position)}
}

func auditLine(e projections.AuditEntry) AuditLine {
	return AuditLine{
		Position: e.Position, Key: e.Key, Type: e.Type, Actor: e.Actor, Cause: e.Cause,
		At: projections.FromMillis(e.At), Effective: projections.FromMillis(e.Effective),
		Subjects: notNil(e.Subjects), Moves: notNil(e.Moves), Data: withoutBoxes(e.Data),
	}
}

// positionsBetween turns a stretch of time into one of positions, since an event's time
// never falls below that of the one before it.
func (s *Service) positionsBetween(ctx context.Context, from, until string, numbers bool) (projections.Range, error) {
	return between(from, until, func(at time.Time) (any, error) {
		position, err := s.firstAt(ctx, at)
		if numbers {
			return int64(position), err
		}
		return projections.PositionID(position), err
	})
}

// between reads times that Validate has found good, as bounds that an index has; an empty
// one is open.
func between(from, until string, bound func(at time.Time) (any, error)) (r projections.Range, err error) {
	read := func(text string) (any, error) {
		if text == "" {
			return nil, nil
		}
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, err
		}
		return bound(at)
	}
	if r.From, err = read(from); err != nil {
		return r, err
	}
	r.Until, err = read(until)
	return r, err
}

// firstAt is the position of the first event at a time or after it, one beyond the last
// if there is none.
func (s *Service) firstAt(ctx context.Context, at time.Time) (position uint64, err error) {
	last := s.Position()
	found := sort.Search(int(last), func(i int) bool {
		if err != nil {
			return false
		}
		var entry projections.AuditEntry
		entry, _, err = projections.OneAs[projections.AuditEntry](ctx, s.Views, projections.Audit.Name,
			projections.PositionID(uint64(i)+1))
		return entry.At >= millisFrom(at)
	})
	return uint64(found) + 1, err
}

// withoutBoxes leaves out of a payload's JSON what is sealed, and says that it is.
func withoutBoxes(data json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return data
	}
	for name, value := range fields {
		var sealed struct {
			Owner string `json:"owner"`
			Box   string `json:"box"`
		}
		if json.Unmarshal(value, &sealed) == nil && sealed.Box != "" {
			fields[name], _ = json.Marshal(map[string]any{"sealed": true, "owner": sealed.Owner})
		}
	}
	shown, err := json.Marshal(fields)
	if err != nil {
		return data
	}
	return shown
}

// EachErased goes through all users who were ever erased, some hundred at a time.
func (s *Service) EachErased(ctx context.Context, do func(ctx context.Context, users []string) error) error {
	const atOnce = 500
	var failed error
	var users []string
	q := projections.Query{Index: projections.AuditByType, Equal: []any{events.UserErased{}.Type()}}
	err := each(ctx, s.Views, projections.Audit.Name, q, byPosition, func(e projections.AuditEntry) {
		users = append(users, e.Subjects...)
		if len(users) >= atOnce && failed == nil {
			failed, users = do(ctx, users), nil
		}
	})
	if err := errors.Join(err, failed); err != nil || len(users) == 0 {
		return err
	}
	return do(ctx, users)
}

// NewestPeople are those who have come last, without who was erased: of max users and max staff at most.
func (s *Service) NewestPeople(ctx context.Context, max int) ([]string, error) {
	var came []string
	for _, kind := range []string{events.UserSignedUp{}.Type(), events.StaffCreated{}.Type()} {
		found, err := projections.FindAs[projections.AuditEntry](ctx, s.Views, projections.Audit.Name,
			projections.Query{Index: projections.AuditByType, Equal: []any{kind}, Desc: true, Limit: max})
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			came = append(came, f.Doc.Subjects...)
		}
	}
	users, err := projections.GetAs[ledger.User](ctx, s.Views, ledger.Users.Name, came...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(came, func(id string) bool { return !users[id].Doc.Active() }), nil
}
