// Package archive keeps a copy of the log elsewhere that can be believed: segments of
// events with their hashes, each of which names the Merkle tree of all before it, and the
// newest signed checkpoint. From it a log can be made again.
//
// Objects are never changed. The last segment is replaced by a longer one as the log
// grows, until it is full: the longer one is there and was read back before the shorter
// one goes. So whenever the process ends, what is there can be believed.
package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"truebond/events"
	"truebond/events/merkle"
)

// A Store keeps objects, whole or not at all.
type Store interface {
	// PutIfAbsent puts an object. Its error wraps fs.ErrExist when there is one of that name.
	PutIfAbsent(ctx context.Context, name string, content []byte) error
	Get(ctx context.Context, name string) ([]byte, error)
	List(ctx context.Context, prefix string) ([]string, error)
	Delete(ctx context.Context, name string) error
	String() string
}

// Why an archive is not believed, beside events.ErrGap for a segment that is missing.
var (
	// ErrDamaged says that an object is not what was once written.
	ErrDamaged = errors.New("the archive is damaged")
	// ErrOther says that the log and the archive have different events at one position.
	ErrOther = errors.New("the archive is of another log, or the log was changed")
	// ErrAhead says that the archive has events which the log has not.
	ErrAhead = errors.New("the archive has more than the log: the log has lost events, or is another one")
	// ErrGone says that what was put last is not there any more: another keeper has replaced it, or
	// somebody has taken it away.
	ErrGone = errors.New("the archive is not what it was")
)

// An Archive is what a store had when it was looked at.
type Archive struct {
	store      Store
	pack       *zstd.Encoder
	unpack     *zstd.Decoder
	segments   []name   // each begins where the one before ends; the first with event 1
	superseded []string // what others have replaced
	checkpoint string   // name of the newest one; empty if there is none
	signed     uint64   // its size
}

// Open looks at what a store has. It reads names alone. Its error wraps events.ErrGap
// when a segment is missing between others, or before the end of the checkpoint.
func Open(ctx context.Context, store Store) (*Archive, error) {
	names, err := store.List(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("open the archive: %w", err)
	}
	a := &Archive{store: store}
	if a.pack, a.unpack, err = codecs(); err != nil {
		return nil, fmt.Errorf("open the archive: %w", err)
	}
	var found []name
	var signing []string
	for _, text := range names {
		if n, ok := parseName(text); ok {
			found = append(found, n)
		} else if _, _, ok := parseCheckpointName(text); ok && strings.HasSuffix(text, signingEnding) {
			signing = append(signing, text)
		} else if ok {
			a.take(text) // names come in the order of sizes
		}
	}
	if err := a.choose(found); err != nil {
		return nil, fmt.Errorf("open the archive in %s: %w", store, err)
	}
	for _, text := range signing {
		if size, _, _ := parseCheckpointName(text); a.signed < size && size <= a.Last() {
			a.take(text)
		} else {
			a.superseded = append(a.superseded, text)
		}
	}
	return a, nil
}

// take takes a checkpoint for the newest one.
func (a *Archive) take(text string) {
	if a.checkpoint != "" {
		a.superseded = append(a.superseded, a.checkpoint)
	}
	a.checkpoint = text
	a.signed, _, _ = parseCheckpointName(text)
}

// choose takes from all segments those that follow one on another: of two that begin at
// one position, the longer.
func (a *Archive) choose(found []name) error {
	slices.SortStableFunc(found, func(x, y name) int {
		return cmp.Or(cmp.Compare(x.first, y.first), cmp.Compare(y.last, x.last))
	})
	for _, n := range found {
		switch end := a.Last(); {
		case n.last <= end:
			a.superseded = append(a.superseded, n.text)
		case n.first == end+1:
			a.segments = append(a.segments, n)
		default:
			return fmt.Errorf("%w: no segment begins with event %d, and there is one with event %d",
				events.ErrGap, end+1, n.last)
		}
	}
	if a.signed > a.Last() {
		return fmt.Errorf("%w: it ends at %d, and its checkpoint was signed for %d events",
			events.ErrGap, a.Last(), a.signed)
	}
	return nil
}

// Last is the position of the last event; 0 if there is none.
func (a *Archive) Last() uint64 {
	if len(a.segments) == 0 {
		return 0
	}
	return a.segments[len(a.segments)-1].last
}

// Checkpoint is the newest signed checkpoint that is kept; nil if there is none. Whose
// signature it has is for the caller to check.
func (a *Archive) Checkpoint(ctx context.Context) ([]byte, error) {
	if a.checkpoint == "" {
		return nil, nil
	}
	signed, err := a.store.Get(ctx, a.checkpoint)
	if err != nil {
		return nil, fmt.Errorf("read the archive's checkpoint: %w", err)
	}
	if size, hash, _ := parseCheckpointName(a.checkpoint); hashOf(signed) != hash {
		return nil, fmt.Errorf("%s: %w", a.checkpoint, ErrDamaged)
	} else if c, err := merkle.ParseCheckpoint(signed); err != nil || c.Size != size {
		return nil, fmt.Errorf("%s: %w: it is not the checkpoint of %d events", a.checkpoint, ErrDamaged, size)
	}
	return signed, nil
}

func (a *Archive) get(ctx context.Context, n name) (Segment, error) {
	object, err := a.store.Get(ctx, n.text)
	if err != nil {
		return Segment{}, fmt.Errorf("read the archive: %w", err)
	}
	return decode(n, object, a.unpack)
}

// Body reads the exact bytes of one event, and its whole segment for it.
func (a *Archive) Body(ctx context.Context, position uint64) ([]byte, error) {
	for _, n := range a.segments {
		if position < n.first || position > n.last {
			continue
		}
		s, err := a.get(ctx, n)
		if err != nil {
			return nil, err
		}
		return s.Bodies[position-n.first], nil
	}
	return nil, fmt.Errorf("event %d: %w", position, events.ErrGap)
}

// Walk reads all segments in their order. Each is checked before it is yielded: by its
// own hash, and by the tree of all before it. The next one is fetched meanwhile.
//
// Errors: ErrDamaged, what the store says, what yield returns.
func (a *Archive) Walk(ctx context.Context, yield func(Segment) error) error {
	return a.walk(ctx, nil, nil, yield)
}

// walk is Walk. Instead of a segment that is damaged it takes the log's events, if there is a log that has
// them. That they are those is proved by the next segment, or at the archive's end by a checkpoint, which
// the caller checks; where there is neither, the archive is damaged.
func (a *Archive) walk(ctx context.Context, log BodyLog, checkpoints []merkle.Checkpoint,
	yield func(Segment) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type fetched struct {
		Segment
		err error
	}
	ready := make(chan fetched) // one is in hand while one is fetched: some 20 MB in all
	go func() {
		defer close(ready)
		for i, n := range a.segments {
			s, err := a.get(ctx, n)
			proved := i+1 < len(a.segments) ||
				slices.ContainsFunc(checkpoints, func(c merkle.Checkpoint) bool { return c.Size == n.last })
			if errors.Is(err, ErrDamaged) && log != nil && proved {
				s, err = fromLog(ctx, log, n, err)
			}
			select {
			case ready <- fetched{s, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	var tree edge
	for s := range ready {
		if s.err != nil {
			return s.err
		}
		if s.damage == nil && !slices.Equal(s.edge, tree.nodes()) {
			return fmt.Errorf("%w: the segment of event %d does not go on from the one before", ErrDamaged, s.First)
		}
		for _, body := range s.Bodies {
			tree.add(body)
		}
		if err := yield(s.Segment); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// fromLog is a segment as the log has it, since it is damaged in the archive.
func fromLog(ctx context.Context, log BodyLog, n name, damage error) (Segment, error) {
	s := Segment{First: n.first, damage: damage}
	err := inRows(n.first-1, n.last, func(after uint64, count int) error {
		bodies, err := log.ReadBodies(ctx, after, count)
		s.Bodies = append(s.Bodies, bodies...)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("%w; nor has the log these events: %w", damage, err)
	}
	return s, nil
}

// An edge is a Merkle tree whose right edge can be told.
type edge struct {
	tree  merkle.Tree
	roots [64]merkle.Hash // of the newest perfect subtree of each level
}

// resumeEdge is an edge of so many leaves, from what nodes has told.
func resumeEdge(size uint64, nodes []merkle.Hash) (*edge, error) {
	tree, err := merkle.Resume(size, nodes)
	if err != nil {
		return nil, err
	}
	e := &edge{tree: tree}
	for i, n := range merkle.EdgeOf(size) {
		e.roots[n.Level] = nodes[i]
	}
	return e, nil
}

func (e *edge) add(body []byte) {
	e.tree.Add(merkle.LeafHash(body), func(n merkle.Node) { e.roots[n.Level] = n.Hash })
}

// nodes are the roots of the perfect subtrees, the greatest first.
func (e *edge) nodes() []merkle.Hash {
	nodes := []merkle.Hash{}
	for _, n := range merkle.EdgeOf(e.tree.Size()) {
		nodes = append(nodes, e.roots[n.Level])
	}
	return nodes
}
