package writer

import "context"

// An Outcome is what one of many commands came to.
type Outcome struct {
	Done
	Err error // as Do returns it
}

// DoAll is Do for many commands at once, each of them decided by itself: one that is
// refused keeps none of the others back, and one whose documents are not at hand may be
// decided after those behind it. They take their places in the queue in one go, which
// costs less than as many calls of Do. An error says that there was no room for all of
// them: then none was taken.
func (w *Writer) DoAll(ctx context.Context, all []Command) ([]Outcome, error) {
	outcomes := make([]Outcome, len(all))
	waits, err := w.enqueueAll(all, outcomes)
	if err != nil {
		return nil, err
	}
	for i := range waits {
		c := &waits[i]
		if c.done == nil {
			continue // it was not taken
		}
		if err := c.wait(ctx); err != nil {
			c.leave()
			outcomes[i].Err = err
			continue
		}
		outcomes[i].Done, outcomes[i].Err = w.answer(ctx, all[i], c, false)
	}
	return outcomes, nil
}

// enqueueAll puts commands into the queue, all but those whose key is under way.
func (w *Writer) enqueueAll(all []Command, outcomes []Outcome) ([]waiting, error) {
	waits := make([]waiting, len(all))
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopping {
		return nil, ErrStopping
	}
	if len(all) > 0 {
		if err := w.admit(len(all), all[0].Actor.Kind); err != nil {
			return nil, err
		}
	}
	for i, c := range all {
		if w.underWay[c.Key] != nil {
			outcomes[i].Err = ErrKeyBusy
			continue
		}
		waits[i].Command = c
		w.push(&waits[i])
	}
	return waits, nil
}
