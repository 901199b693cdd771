package projections_test

import (
	"reflect"
	"testing"
	"time"

	"truebond/events"
	"truebond/projections"
)

// folded is what a history makes of one view, by id.
func folded[D any](fold events.Fold[D], history []events.Event) map[string]D {
	docs := map[string]D{}
	for i, e := range history {
		e.Position = uint64(i) + 1
		for _, id := range fold.Keys(e) {
			after, keep := fold.Evolve(docs[id], id, e)
			docs[id] = after
			if !keep {
				delete(docs, id)
			}
		}
	}
	return docs
}

// thenDocs demands exactly these documents.
func thenDocs[D any](t *testing.T, got, want map[string]D) {
	t.Helper()
	for id := range want {
		if !reflect.DeepEqual(got[id], want[id]) {
			t.Errorf("%s is %+v, want %+v", id, got[id], want[id])
		}
	}
	for id := range got {
		if _, ok := want[id]; !ok {
			t.Errorf("%s should not be: %+v", id, got[id])
		}
	}
}

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// happened is an event at noon, and minutes later.
func happened(minutes int, key string, data events.Payload, moves ...events.Move) events.Event {
	at := noon.Add(time.Duration(minutes) * time.Minute)
	return events.Event{Key: key, Time: at, Effective: at, Actor: events.System, Data: data, Moves: moves}
}

func credits(from, to events.Account, n int64) events.Move {
	return events.Move{From: from, To: to, Asset: events.Credit, Amount: n}
}

var (
	annsLot  = events.LotOf("usr_ann", "lot_1")
	annsHeld = events.HeldOf("usr_ann", "lot_1")
	bonus    = happened(0, "signup", events.UserSignedUp{User: "usr_ann", Bonus: &events.Lot{ID: "lot_1", Credits: 10},
		Available: 10}, credits("issued/promotional", annsLot, 10))
	charge = happened(1, "charge", events.CreditsDeducted{User: "usr_ann", Credits: 3, Reason: "a rose", Available: 7},
		credits(annsLot, "spent/promotional/other", 3))
	reserved = happened(2, "reserve", events.CreditsReserved{User: "usr_ann", Hold: "h", Credits: 4, Use: "calls",
		Available: 3}, credits(annsLot, annsHeld, 4))
	captured = happened(3, "capture", events.HoldCaptured{User: "usr_ann", Hold: "h", Credits: 1, Available: 6},
		credits(annsHeld, "spent/promotional/calls", 1), credits(annsHeld, annsLot, 3))
	intended = happened(4, "intend", events.PaymentIntended{User: "usr_ann", Intent: "pi_1"})
	noBonus  = happened(5, "again", events.UserSignedUp{User: "usr_bob"})
)

func TestTheStatementHasALineForEachChangeOfFreeCredits(t *testing.T) {
	at := func(minutes int) int64 { return projections.Millis(noon.Add(time.Duration(minutes) * time.Minute)) }
	given := []events.Event{bonus, charge, reserved, captured, intended, noBonus}
	thenDocs(t, folded(projections.History, given), map[string]projections.HistoryEntry{
		"usr_ann/0000000000000001": {Position: 1, Type: "user.signed_up", Credits: 10, Available: 10,
			Reason: "signing-up bonus", Key: "signup", At: at(0)},
		"usr_ann/0000000000000002": {Position: 2, Type: "credits.deducted", Credits: -3, Available: 7,
			Reason: "a rose", Key: "charge", At: at(1)},
		"usr_ann/0000000000000003": {Position: 3, Type: "credits.reserved", Credits: -4, Available: 3,
			Reason: "credits reserved", Key: "reserve", At: at(2)},
		"usr_ann/0000000000000004": {Position: 4, Type: "hold.captured", Credits: 3, Available: 6,
			Reason: "hold captured", Key: "capture", At: at(3)},
	})
}
