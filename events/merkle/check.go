package merkle

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Why a log is not the one that a checkpoint speaks of.
var (
	// ErrShort says that a log ends before the checkpoint does.
	ErrShort = errors.New("the log is cut: it ends before the checkpoint")
	// ErrRoot says that one of the events that a checkpoint covers is another one now.
	ErrRoot = errors.New("the log is not the one that the checkpoint was signed for")
)

// A Checker compares bodies, which it is shown in the log's order, with checkpoints.
// It holds some 60 hashes, however long the log is.
type Checker struct {
	Told func(Node) // is told of each perfect subtree that is complete; may be nil

	tree Tree
	due  []Checkpoint // in the order of their sizes
	good uint64       // size of the last checkpoint that was found right
}

// NewChecker checks against checkpoints of one log, in the order of their sizes.
func NewChecker(checkpoints ...Checkpoint) (*Checker, error) {
	for i, c := range checkpoints {
		if i > 0 && c.Size < checkpoints[i-1].Size {
			return nil, fmt.Errorf("a checkpoint of %d events comes after one of %d", c.Size, checkpoints[i-1].Size)
		}
	}
	return &Checker{due: checkpoints}, nil
}

// Add takes the next event's body. Its error wraps ErrRoot, and tells between which
// positions the event is that differs.
func (c *Checker) Add(body []byte) error { return c.AddLeaf(LeafHash(body)) }

// AddLeaf is Add for who has the body's hash already.
func (c *Checker) AddLeaf(leaf Hash) error {
	if err := c.compare(); err != nil { // checkpoints of an empty log
		return err
	}
	c.tree.Add(leaf, c.Told)
	return c.compare()
}

func (c *Checker) compare() error {
	for len(c.due) > 0 && c.due[0].Size == c.tree.Size() {
		if root := c.tree.Root(); root != c.due[0].Root {
			return fmt.Errorf("%w: %s (the root of %d events is %v, and %v was signed)",
				ErrRoot, c.between(), c.due[0].Size, root, c.due[0].Root)
		}
		c.good, c.due = c.due[0].Size, c.due[1:]
	}
	return nil
}

// between tells where the event is for which the next checkpoint is wrong.
func (c *Checker) between() string {
	if size := c.due[0].Size; size > c.good {
		return fmt.Sprintf("of the events %d to %d one was changed, dropped or swapped", c.good+1, size)
	}
	return "the same number of other events was signed, too"
}

// Done ends the check. Its error wraps ErrShort when a checkpoint covers more events
// than there were.
func (c *Checker) Done() error {
	if err := c.compare(); err != nil {
		return err
	}
	if len(c.due) > 0 {
		return fmt.Errorf("%w: it has %d events, and %d were signed", ErrShort, c.tree.Size(), c.due[len(c.due)-1].Size)
	}
	return nil
}

// Tree is the tree of all bodies so far.
func (c *Checker) Tree() *Tree { return &c.tree }

// CheckInclusion checks that a leaf stands at an index in the log of a checkpoint. It
// fails with ErrRoot.
func CheckInclusion(c Checkpoint, index uint64, leaf Hash, path []Hash) error {
	if index >= c.Size {
		return fmt.Errorf("%w: it covers %d events, and this is event %d", ErrRoot, c.Size, index+1)
	}
	if err := tlog.CheckRecord(path, int64(c.Size), c.Root, int64(index), leaf); err != nil {
		return fmt.Errorf("%w: event %d is not proved", ErrRoot, index+1)
	}
	return nil
}

// CheckConsistency checks that a log of a later checkpoint begins with the events of an
// earlier one. It fails with ErrRoot.
func CheckConsistency(earlier, later Checkpoint, path []Hash) error {
	if earlier.Size > later.Size || earlier.Size == 0 {
		return fmt.Errorf("%w: %d events cannot begin with %d", ErrRoot, later.Size, earlier.Size)
	}
	if err := tlog.CheckTree(path, int64(later.Size), later.Root, int64(earlier.Size), earlier.Root); err != nil {
		return fmt.Errorf("%w: it does not begin with what was signed at %d", ErrRoot, earlier.Size)
	}
	return nil
}
