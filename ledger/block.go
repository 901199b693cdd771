package ledger

import (
	"slices"

	"truebond/events"
)

// blocksMax bounds whom one user can block, and so a document's size.
const blocksMax = 10_000

// A BlockList is whom a user has blocked.
type BlockList struct {
	Blocked []string `json:"blocked,omitempty"` // in order
}

// Has tells whether a user is on the list.
func (l BlockList) Has(user string) bool {
	_, found := slices.BinarySearch(l.Blocked, user)
	return found
}

// Blocks are the lists of all users, by the id of who blocks.
var Blocks = events.Fold[BlockList]{
	Name:    "blocks",
	Version: 1,
	Keys: func(e events.Event) []string {
		switch d := e.Data.(type) {
		case events.UserBlocked:
			return []string{d.User}
		case events.UserUnblocked:
			return []string{d.User}
		}
		return nil
	},
	Evolve: func(l BlockList, _ string, e events.Event) (BlockList, bool) {
		switch d := e.Data.(type) {
		case events.UserBlocked:
			if at, found := slices.BinarySearch(l.Blocked, d.Blocked); !found {
				l.Blocked = slices.Insert(slices.Clone(l.Blocked), at, d.Blocked)
			}
		case events.UserUnblocked:
			at, found := slices.BinarySearch(l.Blocked, d.Blocked)
			switch {
			case found && len(l.Blocked) == 1:
				l.Blocked = nil // as a stored list comes back
			case found:
				l.Blocked = slices.Delete(slices.Clone(l.Blocked), at, at+1)
			}
		}
		return l, true
	},
}

// Block keeps another user from writing to this one and calling them, and this one from
// the same. It refuses oneself (`invalid_request`), who is not there (`unknown_user`),
// who is blocked already (`nothing_to_do`), and too many (`too_many_blocks`).
func Block(user, blocked string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if user == blocked {
			return nil, nil, Refuse(CodeInvalidRequest, "Nobody can block themselves.").About("id")
		}
		if err := checkUser(tx, blocked, "id"); err != nil {
			return nil, nil, err
		}
		list := Load(tx, Blocks, user)
		switch {
		case list.Has(blocked):
			return nil, nil, Refuse(CodeNothingToDo, "This user is blocked already.")
		case len(list.Blocked) >= blocksMax:
			return nil, nil, Refuse(CodeTooManyBlocks, "No more than %d users can be blocked.", blocksMax)
		}
		return events.UserBlocked{User: user, Blocked: blocked}, nil, nil
	}
}

// Unblock takes a block back, also that of a user who is erased. Who is not blocked is
// refused with `nothing_to_do`.
func Unblock(user, blocked string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if !Load(tx, Blocks, user).Has(blocked) {
			return nil, nil, Refuse(CodeNothingToDo, "This user is not blocked.")
		}
		return events.UserUnblocked{User: user, Blocked: blocked}, nil, nil
	}
}

// checkReach refuses what one user wants to send another: oneself (`invalid_request`),
// who is not there (`unknown_user`), and when either has blocked the other (`blocked`).
func checkReach(tx *Tx, from, to string) error {
	if from == to {
		return Refuse(CodeInvalidRequest, "This must be another user.").About("to")
	}
	if err := checkUser(tx, from, ""); err != nil {
		return err
	}
	if err := checkUser(tx, to, "to"); err != nil {
		return err
	}
	return checkNotBlocked(tx, from, to)
}

// checkNotBlocked does not tell who has blocked whom.
func checkNotBlocked(tx *Tx, from, to string) error {
	if Load(tx, Blocks, to).Has(from) || Load(tx, Blocks, from).Has(to) {
		return Refuse(CodeBlocked, "This user cannot be reached.")
	}
	return nil
}
