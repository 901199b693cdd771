package projections_test

import (
	"testing"

	"truebond/events"
	"truebond/projections"
)

func sealed(text string) events.Sealed {
	return events.Sealed{Owner: "usr_ann", Ref: text, Box: []byte(text)}
}

func sent(minutes int, message string) events.Event {
	return happened(minutes, message, events.MessageSent{Message: message, Conversation: "conv", From: "usr_ann",
		To: "usr_bob", Body: sealed(message), Charged: 1})
}

var (
	first, second = sent(0, "msg_1"), sent(1, "msg_2")
	read          = happened(2, "read", events.MessagesRead{Reader: "usr_bob", Conversation: "conv",
		Messages: []string{"msg_1"}})
	deletedUnread = happened(3, "del", events.MessageDeleted{Message: "msg_2", Conversation: "conv", By: "usr_ann",
		To: "usr_bob", Unread: true})
	deletedRead = happened(4, "del2", events.MessageDeleted{Message: "msg_1", Conversation: "conv", By: "usr_ann",
		To: "usr_bob"})
)

// sides are both sides' sight of the conversation after its second message.
func sides(unread int64, body events.Sealed) map[string]projections.Conversation {
	c := projections.Conversation{Conversation: "conv", LastMessage: "msg_2", LastFrom: "usr_ann", LastBody: body,
		LastAt: projections.Millis(second.Time), LastPosition: 2}
	anns, bobs := c, c
	anns.User, anns.Partner = "usr_ann", "usr_bob"
	bobs.User, bobs.Partner, bobs.Unread = "usr_bob", "usr_ann", unread
	return map[string]projections.Conversation{"usr_ann/conv": anns, "usr_bob/conv": bobs}
}

func TestAConversationShowsItsLastMessageAndWhatIsUnread(t *testing.T) {
	c := projections.Conversations
	thenDocs(t, folded(c, []events.Event{first, second}), sides(2, sealed("msg_2")))
	thenDocs(t, folded(c, []events.Event{first, second, read}), sides(1, sealed("msg_2")))
	thenDocs(t, folded(c, []events.Event{first, second, read, deletedUnread}), sides(0, events.Sealed{}))
	thenDocs(t, folded(c, []events.Event{first, second, read, deletedRead}), sides(1, sealed("msg_2")))
}

func TestMessagesAreCountedForEachSide(t *testing.T) {
	thenDocs(t, folded(projections.Stats, []events.Event{first, second, read, deletedUnread, deletedRead}),
		map[string]projections.MessageStats{
			"usr_ann": {Sent: 2, Deleted: 2, Charged: 2},
			"usr_bob": {Received: 2},
		})
	thenDocs(t, folded(projections.Stats, []events.Event{first, second}), map[string]projections.MessageStats{
		"usr_ann": {Sent: 2, Charged: 2},
		"usr_bob": {Received: 2, Unread: 2},
	})
}
