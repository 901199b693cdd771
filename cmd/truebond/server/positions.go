package server

import (
	"context"
	"time"

	"truebond/commands/redis"
	"truebond/events/jetstream"
	"truebond/ledger"
)

// showIn is how long a command waits for the views when Redis cannot remember it.
const showIn = 5 * time.Second

// sharedPositions are callers' last positions for all processes of a cluster. Either Redis
// remembers a position, or the views show it before the command is answered; and who
// cannot ask the leader's Redis waits for all that is in the log. So a read shows its caller's own
// writes, whichever process answers it, also while Redis is away.
type sharedPositions struct {
	redis  *redis.Positions
	shown  *shown
	log    *jetstream.Log
	mark   func() string // that the leader says it has left in Redis; empty: it does not say
	showIn time.Duration // how long a command waits for the views when Redis is away
}

// Note is http.Positions'.
func (s sharedPositions) Note(ctx context.Context, position uint64, who ...string) error {
	if len(who) == 0 {
		return nil
	}
	// Also what is shown already: others look at the stored positions now and then only.
	noted := s.redis.Note(ctx, position, who...)
	if noted == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.showIn)
	defer cancel()
	if err := s.shown.Wait(ctx, position); err != nil {
		return ledger.Refuse("views_behind", "It is done, at position %d, and not shown yet. Ask again with the "+
			"same Idempotency-Key.", position)
	}
	return nil
}

// Of is http.Positions'.
func (s sharedPositions) Of(ctx context.Context, who string) (uint64, error) {
	if who == "" {
		return 0, nil
	}
	stored := s.shown.Position()
	position, err := s.redis.Of(ctx, who, s.mark())
	if err != nil {
		if position, err = s.log.Last(ctx); err != nil {
			return 0, ledger.Unavailable(ctx, err)
		}
	}
	if position <= stored {
		return 0, nil
	}
	return position, nil
}

// Newest is http.Positions'.
func (s sharedPositions) Newest(ctx context.Context) (uint64, error) {
	last, err := s.log.Last(ctx)
	return last, ledger.Unavailable(ctx, err)
}

// vouch keeps the positions in Redis trustworthy while this process leads: after Redis has
// forgotten, the views must show all that was written before it is asked again. So must they when the one
// before has led with another Redis. It says which mark this Redis has, and nothing while it does not know.
func (s sharedPositions) vouch(ctx context.Context, last func() uint64, say func(mark string)) error {
	const every = time.Second
	var mine, said string
	tell := func(mark string) {
		if mark != said {
			say(mark)
			said = mark
		}
	}
	defer tell("")
	for ctx.Err() == nil {
		there, err := s.redis.Mark(ctx)
		if err == nil && (there == "" || there != mine) {
			tell("")
			mine, err = s.redis.Vouch(ctx, func(ctx context.Context) error { return s.shown.Wait(ctx, last()) })
		}
		if err != nil {
			tell("")
		} else {
			tell(mine)
		}
		sleep(ctx, every)
	}
	return nil
}
