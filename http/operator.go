package http

import (
	"context"
	"errors"
	"time"

	"github.com/invopop/validation"

	"truebond/commands"
	"truebond/events"
	"truebond/queries"
)

// Operator is what the server itself does for an operator, beyond the ledger's commands.
type Operator interface {
	// Rebuild builds views again beside the old ones; all of them if none is named.
	Rebuild(ctx context.Context, views []string, progress func(view string, done, total uint64)) error
	// Compare holds views against the log; all of them if none is named.
	Compare(ctx context.Context, views []string, show func(CompareLine)) error
	// Follow shows events after a position, and those to come.
	Follow(ctx context.Context, after uint64, show func(events.Record) error) error
	// Advance moves the test clock, and returns when all that came due has settled.
	Advance(ctx context.Context, by time.Duration) (now time.Time, err error)
	// Archive brings the log's archive up to now.
	Archive(ctx context.Context) (Archived, error)
	// TestClock tells whether there is a test clock.
	TestClock() bool
}

func operatorRoutes(do *commands.Service, read *queries.Service, run Operator) []Route {
	o := operatorHandlers{run}
	routes := []Route{
		post("/api/operator/staff", do.CreateStaff, "Make an admin's or finance's account", operator, created, keyless),
		post("/api/operator/api-keys", do.CreateAPIKey, "Make an API key", operator, created, keyless),
		get("/api/operator/api-keys", read.APIKeys, "List API keys", operator),
		post("/api/operator/api-keys/revoke", do.RevokeAPIKey, "Make an API key useless", operator, keyless,
			refuses(404)),
		post("/api/operator/erase", do.Erase, "Make a person's data unreadable", operator, refuses(404)),
		post("/api/operator/rebuild", o.rebuild, "Build views again", operator, keyless),
		post("/api/operator/compare", o.compare, "Compare views with the log", operator, keyless),
		post("/api/operator/archive", o.archive, "Archive the log up to now", operator, keyless),
		get("/api/operator/intents/{id}", read.AnyIntent, "Read somebody's payment", operator),
		get("/api/operator/tail", o.tail, "Follow the log", operator),
	}
	if run.TestClock() {
		routes = append(routes, post("/api/test-clock/advance", o.advance, "Move the test clock", public, unlimited, keyless))
	}
	return routes
}

type operatorHandlers struct{ run Operator }

// Advance asks to move the test clock.
type Advance struct {
	Seconds int64 `json:"seconds"`
}

// advanceMax bounds one move of the test clock: a leap year and a day.
const advanceMax = 367 * 24 * time.Hour

func (in Advance) Validate() error {
	return validation.ValidateStruct(&in, validation.Field(&in.Seconds,
		validation.Required.Error("must be no less than 1"),
		validation.Min(int64(1)), validation.Max(int64(advanceMax/time.Second))))
}

// Advanced is where the test clock stands.
type Advanced struct {
	Now time.Time `json:"now"`
}

func (o operatorHandlers) advance(ctx context.Context, in Advance) (Advanced, error) {
	now, err := o.run.Advance(ctx, time.Duration(in.Seconds)*time.Second)
	return Advanced{Now: now}, err
}

// Archived is how far the archive is.
type Archived struct {
	Position uint64 `json:"position"` // of the last event that is archived for certain
	Place    string `json:"place"`    // where the archive is
}

func (o operatorHandlers) archive(ctx context.Context, _ commands.Nothing) (Archived, error) {
	return o.run.Archive(ctx)
}

// RebuildViews asks to build views again.
type RebuildViews struct {
	Views []string `json:"views,omitempty"` // empty: all
}

// RebuildLine tells how far the building of a view is.
type RebuildLine struct {
	View  string `json:"view"`
	Done  uint64 `json:"done"`  // events folded
	Total uint64 `json:"total"` // events in the log
}

type stream struct {
	ctx context.Context
	run func(ctx context.Context, write func(line any) error) error
}

// Lines writes the stream's lines.
func (s stream) Lines(write func(line any) error) error { return s.run(s.ctx, write) }

// watched is a stream of what somebody looks on at: when nobody does any more, its work ends.
func watched(ctx context.Context, work func(ctx context.Context, show func(line any)) error) stream {
	return stream{ctx, func(ctx context.Context, write func(any) error) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		err := work(ctx, func(line any) {
			if err := write(line); err != nil {
				cancel(err)
			}
		})
		return errors.Join(err, context.Cause(ctx))
	}}
}

func (o operatorHandlers) rebuild(ctx context.Context, in RebuildViews) (stream, error) {
	return watched(ctx, func(ctx context.Context, show func(any)) error {
		return o.run.Rebuild(ctx, in.Views, func(view string, done, total uint64) {
			show(RebuildLine{view, done, total})
		})
	}), nil
}

// CompareViews asks to compare views.
type CompareViews struct {
	Views []string `json:"views,omitempty"` // empty: all
}

// CompareLine tells how far a view is built anew, and at the end what comparing came to.
type CompareLine struct {
	View   string    `json:"view"`
	Done   uint64    `json:"done"`  // events folded
	Total  uint64    `json:"total"` // events in the log
	Result *Compared `json:"result,omitempty"`
}

// Compared is what comparing a view came to.
type Compared struct {
	Position    uint64       `json:"position"`  // of the log, up to which it was compared
	Documents   uint64       `json:"documents"` // that were compared
	Drift       uint64       `json:"drift"`     // of those, the ones that differ
	Differences []Difference `json:"differences,omitempty"`
}

// A Difference is a document that is not what follows from the log.
type Difference struct {
	ID     string `json:"id"`
	What   string `json:"what"`   // differs, lost or extra
	Stored uint64 `json:"stored"` // its position as it is stored; 0 if it is lost
	Built  uint64 `json:"built"`  // its position as it follows from the log; 0 if it is extra
}

func (o operatorHandlers) compare(ctx context.Context, in CompareViews) (stream, error) {
	return watched(ctx, func(ctx context.Context, show func(any)) error {
		return o.run.Compare(ctx, in.Views, func(line CompareLine) { show(line) })
	}), nil
}

// TailFrom says where to begin.
type TailFrom struct {
	After uint64 `query:"after"` // a position; 0: from the first event
}

// TailLine is an event as the log has it.
type TailLine struct {
	Position uint64 `json:"position"`
	Event    any    `json:"event"`
}

func (o operatorHandlers) tail(ctx context.Context, in TailFrom) (stream, error) {
	return stream{ctx, func(ctx context.Context, write func(any) error) error {
		return o.run.Follow(ctx, in.After, func(r events.Record) error {
			return write(TailLine{r.Position, rawJSON(r.Body)})
		})
	}}, nil
}

// rawJSON is JSON that is written as it is.
type rawJSON []byte

// MarshalJSON writes it as it is.
func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }
