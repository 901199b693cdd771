package writer

import (
	"context"
	"fmt"
	"time"

	"truebond/ledger"
)

// A fetched is documents that commands lacked, as the store has them.
type fetched struct {
	refs     []ledger.Ref
	epoch    uint64 // when they were asked for
	found    map[ledger.Ref]StoredDocument
	storedAt uint64 // what is not in found does not exist as of this position
	err      error
}

const (
	// queryMax is how many documents one query asks for.
	queryMax = 1000
	// fetchesMax is how many fetches are under way at a time. What is missed meanwhile
	// waits for the next one, all together.
	fetchesMax = 2
	// fetchTimeout is what a store may take before it counts as failed.
	fetchTimeout = 5 * time.Second
)

// fetchWanted has the documents that are wanted fetched outside the loop; they come back
// through fetched.
func (l *loop) fetchWanted(ctx context.Context) {
	if len(l.wanted) == 0 || l.fetches >= fetchesMax {
		return
	}
	l.fetches++
	refs, epoch := l.wanted, l.epoch
	l.wanted = nil
	go func() {
		f := l.fetch(ctx, refs)
		f.epoch = epoch
		select {
		case l.fetched <- f:
		case <-l.stopped:
		}
	}()
}

// fetch reads stored documents, a query a fold.
func (w *Writer) fetch(ctx context.Context, refs []ledger.Ref) fetched {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	// The position comes first: what does not exist when it is asked for later did not
	// exist at this position either, since the writer's folds delete nothing.
	f := fetched{refs: refs, storedAt: w.stored.Stored(), found: map[ledger.Ref]StoredDocument{}}
	keys := map[string][]string{}
	for _, ref := range refs {
		keys[ref.Fold] = append(keys[ref.Fold], ref.Key)
	}
	for fold, wanted := range keys {
		for len(wanted) > 0 {
			some := wanted[:min(len(wanted), queryMax)]
			wanted = wanted[len(some):]
			docs, err := w.stored.Fetch(ctx, fold, some)
			if err != nil {
				f.err = fmt.Errorf("fetch %d documents of %s: %w", len(some), fold, err)
				return f
			}
			for key, doc := range docs {
				f.found[ledger.Ref{Fold: fold, Key: key}] = doc
			}
		}
	}
	return f
}

// receive takes documents into memory, and makes those ready that lack no other.
func (l *loop) receive(ctx context.Context, f fetched) {
	l.fetches--
	if f.epoch != l.epoch {
		// The log was read again meanwhile; what was fetched may be older than that.
		l.wanted = append(l.wanted, f.refs...)
		return
	}
	if f.err != nil {
		l.logger.ErrorContext(ctx, "documents that commands need cannot be read", "error", f.err)
	}
	for _, ref := range f.refs {
		err := f.err
		if err == nil {
			doc, exists := f.found[ref]
			l.seen = max(l.seen, doc.Position)
			if err = l.memory.install(ref, doc, exists, f.storedAt); err != nil {
				l.logger.ErrorContext(ctx, "a stored document cannot be read", "fold", ref.Fold, "error", err)
			}
		}
		waiters := l.fetching[ref]
		delete(l.fetching, ref)
		for _, c := range waiters {
			if c.failed = c.failed || err != nil; !c.failed {
				l.memory.pin(c, ref)
			}
			if c.lacks--; c.lacks > 0 {
				continue
			}
			if c.failed {
				l.settleAlone(c, ledger.ErrUnavailable)
			} else {
				l.ready = append(l.ready, c)
			}
		}
	}
}
