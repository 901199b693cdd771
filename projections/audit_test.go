package projections_test

import (
	"slices"
	"strings"
	"testing"

	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
)

func TestTheAuditHasAnEntryForEachEvent(t *testing.T) {
	docs := folded(projections.Audit, []events.Event{bonus, intended, first})
	if len(docs) != 3 {
		t.Fatalf("three events make %d entries", len(docs))
	}
	entry := docs["0000000000000001"]
	if entry.Position != 1 || entry.Type != "user.signed_up" || entry.Actor != "system" || entry.Key != "signup" ||
		entry.Booked == nil || *entry.Booked != projections.Millis(noon) ||
		!slices.Equal(entry.Accounts, []string{"issued/promotional", string(annsLot)}) ||
		!slices.Contains(entry.Subjects, "usr_ann") {
		t.Errorf("the bonus is %+v", entry)
	}
	if unmoved := docs["0000000000000002"]; unmoved.Booked != nil || unmoved.Accounts != nil {
		t.Errorf("what moves nothing is in the journal: %+v", unmoved)
	}
	if message := docs["0000000000000003"]; !strings.Contains(string(message.Data), `"box"`) {
		t.Errorf("a message is not sealed: %s", message.Data)
	}
}

func TestEachViewOfTheCatalogueHasItsOwnNameAndItsIndexes(t *testing.T) {
	names := map[string]bool{}
	for _, v := range projections.Catalogue() {
		if names[v.Name] || v.Name == "" || v.Version < 1 {
			t.Errorf("the view %q (%d) is there twice, or has no name or version", v.Name, v.Version)
		}
		names[v.Name] = true
		for _, x := range v.Indexes {
			if x.Name == "" || len(x.Fields) == 0 {
				t.Errorf("an index of %s is %+v", v.Name, x)
			}
		}
	}
	for _, f := range ledger.Folds() {
		if !names[f.Name] {
			t.Errorf("the writer's documents %s are not stored", f.Name)
		}
	}
}
