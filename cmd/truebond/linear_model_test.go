package main

import (
	"fmt"
	"maps"

	"github.com/anishathalye/porcupine"
)

// What is promised of one user's credits, whoever asks for them: each command has its
// effect at one moment between the request and the answer, in the order of the log; a
// balance is read as it is at one such moment.

// A deed is what a caller asks for.
type deed struct {
	user    string
	what    doing
	key     string // what makes it happen once
	intent  string // of a payment
	credits int64
}

type doing string

const (
	grants doing = "grants" // a payment's webhook
	spends doing = "spends" // a charge or a message
	reads  doing = "reads"  // the balance
)

// An outcome is what the caller was told.
type outcome struct {
	unknown   bool // nothing: it may have happened, or may happen yet, or never
	refused   bool // too few credits
	replayed  bool
	position  uint64
	available int64 // not told of payments
}

// credit is a user's account, as the model knows it.
type credit struct {
	available int64
	position  uint64              // of what has happened last, as far as anybody was told
	happened  map[string]happened // by key
	paid      map[string]bool     // intents
}

// happened is what the first answer to a key was, or would have been.
type happened struct {
	position  uint64 // 0: nobody was told
	available int64
}

// creditModel is an account that begins with what signing up gives.
func creditModel(begin int64) porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byUser := map[string][]porcupine.Operation{}
			for _, o := range history {
				user := o.Input.(deed).user
				byUser[user] = append(byUser[user], o)
			}
			var parts [][]porcupine.Operation
			for _, part := range byUser {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() any { return credit{available: begin} },
		Step: func(state, input, output any) (bool, any) {
			return state.(credit).step(input.(deed), output.(outcome))
		},
		Equal: func(a, b any) bool { return a.(credit).equal(b.(credit)) },
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%+v: %+v", input, output)
		},
	}
}

func (c credit) equal(d credit) bool {
	return c.available == d.available && c.position == d.position &&
		maps.Equal(c.happened, d.happened) && maps.Equal(c.paid, d.paid)
}

// step tells whether an outcome is possible as the account is, and what it is then.
func (c credit) step(in deed, out outcome) (possible bool, after credit) {
	if in.what == reads {
		// Nothing that comes later stands in the log before what the reader was shown.
		after = c
		after.position = max(c.position, out.position)
		return out.available == c.available, after
	}
	first, again := c.happened[in.key]
	enough := in.what == grants || c.available >= in.credits
	switch {
	case out.unknown && (again || !enough):
		return true, c
	case out.unknown:
		return true, c.with(in, 0)
	case out.refused:
		return !again && !enough && out.available == c.available, c
	case again:
		same := (first.position == 0 || first.position == out.position) &&
			(in.what == grants || first.available == out.available)
		return out.replayed && same, c
	}
	after = c.with(in, out.position)
	right := in.what == grants || out.available == after.available
	return enough && right && !out.replayed && out.position > c.position, after
}

// with is the account after a deed at a position. An intent is credited once, whichever
// of Stripe's events tells of it.
func (c credit) with(in deed, position uint64) credit {
	after := credit{position: max(c.position, position), available: c.available - in.credits,
		happened: maps.Clone(c.happened), paid: c.paid}
	if in.what == grants {
		after.available = c.available
		if !c.paid[in.intent] {
			after.available += in.credits
			after.paid = maps.Clone(c.paid)
			if after.paid == nil {
				after.paid = map[string]bool{}
			}
			after.paid[in.intent] = true
		}
	}
	if after.happened == nil {
		after.happened = map[string]happened{}
	}
	after.happened[in.key] = happened{position, after.available}
	return after
}
