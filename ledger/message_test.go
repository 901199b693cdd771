package ledger

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"truebond/events"
)

func hello(id, from, to string) Decision {
	return SendMessage(NewMessage{Message: id, From: from, To: to, Body: sealed("hello")})
}

// wrote is a message that was sent.
func wrote(id, from, to string) step { return did(hello(id, from, to)) }

func TestAMessageAndItsChargeAreOneEvent(t *testing.T) {
	given(t, open, signedUp("ann", "bob")).when(hello("m1", "ann", "bob")).
		moving(events.Move{
			From: "user/ann/ann-bonus", To: "spent/promotional/messages", Asset: events.Credit, Amount: 1,
		}).
		then(events.MessageSent{
			Message: "m1", Conversation: ConversationID("ann", "bob"), From: "ann", To: "bob",
			Body: sealed("hello"), Charged: 1, Available: 9,
		}).has("ann", 9).has("bob", 10)
}

func TestAMessageCostsTodaysPrice(t *testing.T) {
	dearer := menu
	dearer.Version, dearer.Message = 2, 7
	given(t, open, signedUp("ann", "bob"), did(SetPrices(dearer)), wrote("m1", "ann", "bob")).has("ann", 3)
}

func TestAMessageIsNotSent(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob", "cat"), erased("cat"))
	t.Run("to nobody", func(t *testing.T) {
		s.when(hello("m1", "ann", "dan")).refused(CodeUnknownUser, "to")
		s.when(hello("m1", "ann", "cat")).refused(CodeUnknownUser, "to")
		s.when(hello("m1", "cat", "ann")).refused(CodeUnknownUser)
	})
	t.Run("to oneself", func(t *testing.T) {
		s.when(hello("m1", "ann", "ann")).refused(CodeInvalidRequest, "to")
	})
	t.Run("when either has blocked the other", func(t *testing.T) {
		s := given(t, open, signedUp("ann", "bob"), blocked("ann", "bob"))
		s.when(hello("m1", "ann", "bob")).refused(CodeBlocked)
		s.when(hello("m1", "bob", "ann")).refused(CodeBlocked)
		s.and(did(Unblock("ann", "bob")), wrote("m1", "bob", "ann"))
	})
	t.Run("by who cannot pay", func(t *testing.T) {
		s := given(t, open, signedUp("ann", "bob"), spentAllBut("ann", 1), wrote("m1", "ann", "bob"))
		s.when(hello("m2", "ann", "bob")).refused(CodeInsufficientCredits)
	})
	t.Run("before there are prices", func(t *testing.T) {
		s := given(t, open, signedUp("ann", "bob"))
		delete(s.docs, Ref{Prices.Name, Current})
		s.when(hello("m1", "ann", "bob")).refused(CodePricesUnset)
	})
}

func TestAConversationIsOfTwoWhoeverBegins(t *testing.T) {
	if ConversationID("ann", "bob") != ConversationID("bob", "ann") {
		t.Error("it depends on who begins")
	}
	seen := map[string]string{}
	for _, pair := range [][2]string{
		{"ann", "bob"}, {"ann", "cat"}, {"annb", "ob"}, {"an", "nbob"}, {"", "annbob"},
	} {
		id := ConversationID(pair[0], pair[1])
		if other := seen[id]; other != "" {
			t.Errorf("%v have the conversation of %s", pair, other)
		}
		seen[id] = fmt.Sprint(pair)
		if !strings.HasPrefix(id, "conv_") || strings.Contains(id, "ann") {
			t.Errorf("%v have the conversation %s", pair, id)
		}
	}
}

func TestAMessageIsDeliveredOnceToWhomItWasSent(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob", "cat"), wrote("m1", "ann", "bob"))
	after := s.when(MarkDelivered("m1", "bob")).moving().
		then(events.MessageDelivered{Message: "m1", From: "ann", To: "bob"})
	after.when(MarkDelivered("m1", "bob")).refused(CodeNothingToDo)
	s.when(MarkDelivered("m1", "ann")).refused(CodeNotFound)
	s.when(MarkDelivered("m1", "cat")).refused(CodeNotFound)
	s.when(MarkDelivered("m2", "bob")).refused(CodeNotFound)
	s.when(MarkDelivered("m2", "")).refused(CodeNotFound)
}

func TestWhatWasReadWasDelivered(t *testing.T) {
	given(t, open, signedUp("ann", "bob"), wrote("m1", "ann", "bob"), did(MarkRead("bob", []string{"m1"}))).
		when(MarkDelivered("m1", "bob")).refused(CodeNothingToDo)
}

func TestMessagesAreReadOnceByWhomTheyWereSentTo(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob", "cat"),
		wrote("m1", "ann", "bob"), wrote("m2", "ann", "bob"), wrote("m3", "ann", "bob"), wrote("m4", "cat", "bob"))
	conversation := ConversationID("ann", "bob")
	after := s.when(MarkRead("bob", []string{"m2", "m1", "m2"})).moving().
		then(events.MessagesRead{Reader: "bob", Conversation: conversation, Messages: []string{"m2", "m1"}})
	after.when(MarkRead("bob", []string{"m1", "m3"})).
		then(events.MessagesRead{Reader: "bob", Conversation: conversation, Messages: []string{"m3"}})
	after.when(MarkRead("bob", []string{"m1", "m2"})).refused(CodeNothingToDo)

	after.when(MarkRead("cat", []string{"m1", "m2"})).refused(CodeNotFound)
	s.when(MarkRead("bob", make([]string, 100))).refused(CodeNotFound)

	s.when(MarkRead("ann", []string{"m1"})).refused(CodeNotFound)
	s.when(MarkRead("bob", []string{"m1", "m5"})).refused(CodeNotFound)
	s.when(MarkRead("", []string{"m5"})).refused(CodeNotFound)
	s.when(MarkRead("bob", []string{"m1", "m4"})).refused(CodeInvalidRequest, "message_ids")
	s.when(MarkRead("bob", nil)).refused(CodeInvalidRequest, "message_ids")
	s.when(MarkRead("bob", make([]string, 101))).refused(CodeInvalidRequest, "message_ids")
}

func TestADeletedMessageHasNoBody(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), wrote("m1", "ann", "bob"), later(time.Minute),
		did(MarkDelivered("m1", "bob")), later(time.Minute), did(MarkRead("bob", []string{"m1"})))
	want := Message{
		ID: "m1", Position: s.last - 2, From: "ann", To: "bob", Conversation: ConversationID("ann", "bob"),
		Body: sealed("hello"), SentAt: morning, DeliveredAt: morning.Add(time.Minute),
		ReadAt: morning.Add(2 * time.Minute),
	}
	if got := doc(s, Messages, "m1"); !reflect.DeepEqual(got, want) {
		t.Errorf("the message is %+v\nwant           %+v", got, want)
	}
	want.Deleted, want.Body = true, events.Sealed{}
	if got := doc(s.and(did(DeleteMessage("m1", "ann"))), Messages, "m1"); !reflect.DeepEqual(got, want) {
		t.Errorf("the message is %+v\nwant           %+v", got, want)
	}
}

func TestOnlyTheSenderDeletesAMessage(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob", "cat"), wrote("m1", "ann", "bob"))
	deleted := events.MessageDeleted{
		Message: "m1", Conversation: ConversationID("ann", "bob"), By: "ann", To: "bob", Unread: true,
	}
	after := s.when(DeleteMessage("m1", "ann")).moving().then(deleted).has("ann", 9)
	after.when(DeleteMessage("m1", "ann")).refused(CodeNothingToDo)
	after.when(MarkDelivered("m1", "bob")).refused(CodeNotFound)
	after.when(MarkRead("bob", []string{"m1"})).refused(CodeNothingToDo)

	s.when(DeleteMessage("m1", "bob")).refused(CodeNotYours)
	s.when(DeleteMessage("m1", "cat")).refused(CodeNotFound)
	s.when(DeleteMessage("m2", "ann")).refused(CodeNotFound)
	s.when(DeleteMessage("m2", "")).refused(CodeNotFound)

	deleted.Unread = false
	s.and(did(MarkRead("bob", []string{"m1"}))).when(DeleteMessage("m1", "ann")).then(deleted)
}
