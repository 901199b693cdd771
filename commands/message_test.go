package commands

import (
	"reflect"
	"testing"

	"truebond/events"
	"truebond/ledger"
)

func TestAMessageIsAnsweredAsItWasSent(t *testing.T) {
	o := newOffice(t)
	ann, bob := o.signsUp("ann@example.com"), o.signsUp("bob@example.com")
	got, err := o.SendMessage(as(t, ann), SendMessage{To: bob.User.ID, Body: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	want := SentMessage{Charged: 1, Available: 9, Receipt: got.Receipt}
	want.Message.ID = got.Message.ID
	want.Message.ConversationID = ledger.ConversationID(ann.User.ID, bob.User.ID)
	want.Message.From, want.Message.To = ann.User.ID, bob.User.ID
	want.Message.Body, want.Message.SentAt = "hello", morning
	if !reflect.DeepEqual(got, want) || got.Message.ID == "" || got.Position != o.clerk.last {
		t.Errorf("it is answered with %+v, want %+v", got, want)
	}
}

func TestACallIsAnsweredAsItRings(t *testing.T) {
	o := newOffice(t)
	ann, bob := o.signsUp("ann@example.com"), o.signsUp("bob@example.com")
	got, err := o.InitiateCall(as(t, ann), InitiateCall{To: bob.User.ID, Kind: events.VideoCall})
	if err != nil {
		t.Fatal(err)
	}
	want := Call{ID: got.Call.ID, Kind: events.VideoCall, State: ledger.CallRinging, From: ann.User.ID, To: bob.User.ID,
		PricePerMinute: 10}
	if got.Call != want || want.ID == "" || got.Position != o.clerk.last {
		t.Errorf("it is answered with %+v, want %+v", got, want)
	}
}
