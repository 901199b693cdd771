package queries

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/invopop/validation"

	"truebond/events/merkle"
	"truebond/ledger"
)

// A Tree is the log's Merkle tree, which grows with it. See events/checkpoints.
type Tree interface {
	// Key is what signatures are checked with.
	Key() string
	// Signed is the last checkpoint; nil while the tree is built.
	Signed() *merkle.Signed
	// Await returns when a checkpoint covers so many events.
	Await(ctx context.Context, size uint64) error
	// At is the checkpoint of a size that Signed covers.
	At(size uint64) (*merkle.Signed, error)
	Inclusion(index uint64, in merkle.Checkpoint) (leaf merkle.Hash, path []merkle.Hash, err error)
	Consistency(earlier, later uint64) ([]merkle.Hash, error)
	Tile(level int, index uint64, width int) ([]byte, error)
}

// Bodies are the exact bytes of the log's events.
type Bodies interface {
	Last(ctx context.Context) (uint64, error)
	Body(ctx context.Context, position uint64) ([]byte, error)
	ReadBodies(ctx context.Context, after uint64, count int) ([][]byte, error)
}

// A Raw is an answer that is sent as it is.
type Raw struct {
	Body    []byte
	ForEver bool // it never changes, and all may see it
}

// Raw is what is sent, and whether anybody may keep it for ever.
func (r Raw) Raw() (body []byte, forEver bool) { return r.Body, r.ForEver }

const (
	// treeWaitMax is how long a proof waits for an event that the log has just got. A
	// checkpoint covers it within a second.
	treeWaitMax = 2 * time.Second

	codeTreeBuilding     = "tree_building"
	codeBeyondCheckpoint = "beyond_checkpoint"
	codeEntryTooLong     = "entry_too_long"
)

// AuditKey is the key that checkpoints are signed with, as C2SP's signed-note writes it.
func (s *Service) AuditKey(context.Context, Nothing) (Raw, error) {
	return Raw{Body: []byte(s.Tree.Key() + "\n")}, nil
}

// CheckpointFor asks for a checkpoint.
type CheckpointFor struct {
	// A position that it must cover. Without one, it is the last that was signed.
	Position uint64 `header:"Ledger-Position" minimum:"0" description:"Wait until the checkpoint covers this position."`
}

// Checkpoint is the signed note of the last checkpoint.
func (s *Service) Checkpoint(ctx context.Context, in CheckpointFor) (Raw, error) {
	signed, err := s.covering(ctx, in.Position)
	var beyond *beyondError
	if errors.As(err, &beyond) {
		err = beyond.refusal("Ledger-Position")
	}
	if err != nil {
		return Raw{}, err
	}
	return Raw{Body: signed.Note}, nil
}

func (s *Service) signed() (*merkle.Signed, error) {
	if signed := s.Tree.Signed(); signed != nil {
		return signed, nil
	}
	return nil, ledger.Refuse(codeTreeBuilding, "The Merkle tree is being built from the log. Try again soon.")
}

// AuditPosition names an event.
type AuditPosition struct {
	Position uint64 `param:"position" minimum:"1"` // in the log: 1, 2, 3 …
}

var oneOrMore = validation.Required.Error("must be 1 or more")

func (in AuditPosition) Validate() error {
	return validation.ValidateStruct(&in, validation.Field(&in.Position, oneOrMore))
}

// AuditEvent is the exact bytes of an event.
func (s *Service) AuditEvent(ctx context.Context, in AuditPosition) (Raw, error) {
	last, err := s.end(ctx)
	if err != nil {
		return Raw{}, err
	}
	if in.Position > last {
		return Raw{}, noEvent(in.Position, last)
	}
	body, err := s.Bodies.Body(ctx, in.Position)
	return Raw{Body: body}, ledger.Unavailable(ctx, err)
}

// end is where the log ends at least. Its servers may tell an older end than the views have shown:
// those that were cut off until just now.
func (s *Service) end(ctx context.Context) (uint64, error) {
	last, err := s.Bodies.Last(ctx)
	return max(last, s.Position()), ledger.Unavailable(ctx, err)
}

func noEvent(position, last uint64) error {
	return ledger.Refuse(ledger.CodeNotFound, "The log ends at position %d; there is no %d.", last, position).
		About("position")
}

// ProofOf asks for a proof that an event is in the log.
type ProofOf struct {
	Position uint64  `param:"position" minimum:"1"`              // in the log: 1, 2, 3 …
	Size     *uint64 `query:"size" nullable:"false" minimum:"1"` // of the log; the last checkpoint's if not given
}

func (in ProofOf) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.Position, oneOrMore),
		validation.Field(&in.Size, validation.NilOrNotEmpty.Error("must be 1 or more")))
}

// A Proof leads from an event to a checkpoint (RFC 6962). Hashes are in base64.
type Proof struct {
	Index      uint64   `json:"index"` // of the leaf: the event's position less one
	Size       uint64   `json:"size"`  // of the log in the checkpoint
	LeafHash   []byte   `json:"leaf_hash"`
	Path       [][]byte `json:"path"`
	Checkpoint string   `json:"checkpoint"` // a signed note
}

// Proof proves that an event is in the log.
func (s *Service) Proof(ctx context.Context, in ProofOf) (Proof, error) {
	size := in.Position
	if in.Size != nil {
		size = *in.Size
	}
	signed, err := s.covering(ctx, size)
	var beyond *beyondError
	switch {
	case errors.As(err, &beyond) && in.Size != nil:
		return Proof{}, beyond.refusal("size")
	case errors.As(err, &beyond):
		return Proof{}, noEvent(in.Position, beyond.last)
	case err != nil:
		return Proof{}, err
	case in.Position > size:
		return Proof{}, ledger.Refuse(codeBeyondCheckpoint, "A log of %d events has no position %d.",
			size, in.Position).About("position")
	}
	if in.Size != nil {
		if signed, err = s.Tree.At(size); err != nil {
			return Proof{}, ledger.Unavailable(ctx, err)
		}
	}
	leaf, path, err := s.Tree.Inclusion(in.Position-1, signed.Checkpoint)
	return Proof{Index: in.Position - 1, Size: signed.Size, LeafHash: leaf[:], Path: bytesOf(path),
		Checkpoint: string(signed.Note)}, ledger.Unavailable(ctx, err)
}

// beyondError says that the log has not so many events.
type beyondError struct{ size, last uint64 }

func (e *beyondError) Error() string {
	return fmt.Sprintf("the log has %d events and not %d", e.last, e.size)
}

func (e *beyondError) refusal(field string) error {
	return ledger.Refuse(codeBeyondCheckpoint, "The log has %d events and not %d.", e.last, e.size).About(field)
}

// covering is the last checkpoint once it covers so many events, which takes a moment
// after an append. It fails with a beyondError.
func (s *Service) covering(ctx context.Context, size uint64) (*merkle.Signed, error) {
	signed, err := s.signed()
	if err != nil || signed.Size >= size {
		return signed, err
	}
	last, err := s.end(ctx)
	if err != nil {
		return nil, err
	}
	if size > last {
		return nil, &beyondError{size: size, last: last}
	}
	bounded, cancel := context.WithTimeout(ctx, treeWaitMax)
	defer cancel()
	if err := s.Tree.Await(bounded, size); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, ledger.Refuse(codeTreeBuilding, "No checkpoint covers position %d yet. Try again soon.", size)
	}
	return s.signed()
}

// A Receipt shows that an event is in the log, to whoever has the key and nothing else.
type Receipt struct {
	Position uint64 `json:"position"`
	Event    []byte `json:"event"` // the exact bytes, in base64
	Proof
}

// Receipt makes an event's receipt.
func (s *Service) Receipt(ctx context.Context, in AuditPosition) (Receipt, error) {
	proof, err := s.Proof(ctx, ProofOf{Position: in.Position})
	if err != nil {
		return Receipt{}, err
	}
	body, err := s.Bodies.Body(ctx, in.Position)
	if err != nil {
		return Receipt{}, ledger.Unavailable(ctx, err)
	}
	if merkle.LeafHash(body) != merkle.Hash(proof.LeafHash) {
		return Receipt{}, fmt.Errorf("event %d is not the one that was hashed: the log was changed", in.Position)
	}
	return Receipt{Position: in.Position, Event: body, Proof: proof}, nil
}

// Sizes are of a log, earlier and later.
type Sizes struct {
	From uint64 `query:"from" required:"true" minimum:"1"` // events of the earlier log
	To   uint64 `query:"to" required:"true" minimum:"1"`   // events of the later one
}

func (in Sizes) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.From, oneOrMore,
			validation.When(in.To > 0, // else it is to that is wrong
				validation.Max(in.To).Error(fmt.Sprintf("must be no more than to, which is %d", in.To)))),
		validation.Field(&in.To, oneOrMore))
}

// A Consistency leads from an earlier log to a later one (RFC 6962). Hashes are in base64.
type Consistency struct {
	From uint64   `json:"from"`
	To   uint64   `json:"to"`
	Path [][]byte `json:"path"`
}

// Consistency proves that a log begins with all that it had before.
func (s *Service) Consistency(ctx context.Context, in Sizes) (Consistency, error) {
	_, err := s.covering(ctx, in.To)
	var beyond *beyondError
	if errors.As(err, &beyond) {
		err = beyond.refusal("to")
	}
	if err != nil {
		return Consistency{}, err
	}
	path, err := s.Tree.Consistency(in.From, in.To)
	return Consistency{From: in.From, To: in.To, Path: bytesOf(path)}, ledger.Unavailable(ctx, err)
}

func bytesOf(hashes []merkle.Hash) [][]byte {
	list := make([][]byte, len(hashes))
	for i := range hashes {
		list[i] = hashes[i][:]
	}
	return list
}
