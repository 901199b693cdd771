package ledger

import (
	"fmt"
	"testing"

	"truebond/events"
)

// blocked is a user who wants nothing of another.
func blocked(user, other string) step { return did(Block(user, other)) }

func TestBlockingSomebodyTwiceIsNothingNew(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"))
	after := s.when(Block("ann", "bob")).moving().then(events.UserBlocked{User: "ann", Blocked: "bob"})
	after.when(Block("ann", "bob")).refused(CodeNothingToDo)
	if !doc(after, Blocks, "ann").Has("bob") || doc(after, Blocks, "bob").Has("ann") {
		t.Error("ann has blocked bob, and not bob ann")
	}
}

func TestWhoCannotBeBlocked(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), erased("bob"))
	s.when(Block("ann", "ann")).refused(CodeInvalidRequest, "id")
	s.when(Block("ann", "bob")).refused(CodeUnknownUser, "id")
	s.when(Block("ann", "nobody")).refused(CodeUnknownUser, "id")
}

func TestABlockCanBeTakenBack(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob", "cat"), blocked("ann", "cat"), blocked("ann", "bob"))
	after := s.when(Unblock("ann", "bob")).then(events.UserUnblocked{User: "ann", Blocked: "bob"})
	if list := doc(after, Blocks, "ann"); list.Has("bob") || !list.Has("cat") {
		t.Errorf("ann blocks %v", list.Blocked)
	}
	after.when(Unblock("ann", "bob")).refused(CodeNothingToDo)
	after.when(Unblock("ann", "nobody")).refused(CodeNothingToDo)
}

func TestABlockOfAnErasedUserCanBeTakenBack(t *testing.T) {
	given(t, open, signedUp("ann", "bob"), blocked("ann", "bob"), erased("bob")).
		when(Unblock("ann", "bob")).then(events.UserUnblocked{User: "ann", Blocked: "bob"})
}

func TestAListOfBlocksHasAnEnd(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"))
	var full BlockList
	for i := range blocksMax {
		full.Blocked = append(full.Blocked, fmt.Sprintf("troll-%05d", i))
	}
	s.docs[Ref{Blocks.Name, "ann"}] = full
	s.when(Block("ann", "bob")).refused(CodeTooManyBlocks)
	s.and(did(Unblock("ann", "troll-00007")), blocked("ann", "bob"))
	if got := len(doc(s, Blocks, "ann").Blocked); got != blocksMax {
		t.Errorf("%d are blocked", got)
	}
}
